//! Clients of others, unchanged: tritonclient over both protocols, and schemathesis on the REST side.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use common::served::{Served, script, small, weights};

#[test]
fn tritonclient_and_schemathesis_find_what_they_expect() {
    let folder = tempfile::tempdir().unwrap();
    small().write(folder.path());
    let file = weights(folder.path(), "a");
    let more = ["--weights", file.to_str().unwrap(), "--no-merge", "--request-timeout", "10"];
    let ring = Served::start(folder.path(), "ring", &more);
    let address = ring.address.to_string();
    let Some(said) = script("serving-clients.sh", "triton.py", &[&address, "1"]) else { return };
    assert!(said.contains("triton: ok"), "{said}");
    let url = format!("http://{address}");
    script("serving-clients.sh", "schema.py", &[&url, "20"]).unwrap();
    ring.interrupt();
    let (code, said) = ring.ended();
    assert_eq!(code, Some(0), "{said}");
}
