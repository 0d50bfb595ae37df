//! Checkpoints in a real object store that refuses, is slow, or breaks off.

#![allow(clippy::unwrap_used)]

mod common;

use common::s3::{Mood, Proxy, Server, put, settings};
use common::{ADAM, MLP, Running, Spec, mixnn, stderr};
use std::sync::atomic::Ordering;
use std::time::Duration;

const STORE: &str = "s3://bucket/some/prefix";

fn spec() -> Spec {
    let spec = Spec { layers: MLP, optimizer: ADAM, suite: "X25519", ..Spec::default() };
    Spec { train: 6000, hops: 2, ..spec }
}

/// A run whose store misbehaves from its beginning until `enough`. Its last checkpoint must be whole.
fn run_over(mood: Mood, enough: impl Fn(&Running, &Proxy) -> bool) -> String {
    let server = Server::start();
    put(server.port, "/bucket", b"");
    let proxy = Proxy::start(server.port, "/checkpoints/");
    proxy.set(mood);
    let folder = tempfile::tempdir().unwrap();
    let file = spec().write(folder.path());
    let mut command = mixnn(folder.path());
    command.args(["run", "--compare", "--checkpoint-every", "20", "--checkpoints", STORE]);
    command.args(["-f", file.to_str().unwrap()]).envs(settings(proxy.port));
    let running = Running::spawn(command, folder);
    running.wait_for("enough", || enough(&running, &proxy));
    proxy.set(Mood::Good);
    let (code, said, folder) = running.ended_with_folder();
    assert_eq!(code, Some(0), "{said}");
    assert!(proxy.struck.load(Ordering::Relaxed) > 0);
    let verified = mixnn(folder.path())
        .args(["checkpoints", "verify", "run/secret-name-1", "--checkpoints", STORE])
        .envs(settings(server.port))
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", stderr(&verified));
    assert!(String::from_utf8_lossy(&verified.stdout).contains("300"), "the last step's");
    said
}

#[test]
fn a_store_that_refuses_costs_checkpoints_and_nothing_else() {
    let said = run_over(Mood::Refuse, |running, _| running.said().contains("no checkpoint after"));
    assert!(said.contains("training goes on"), "{said}");
}

#[test]
fn a_slow_store_makes_checkpoints_rarer() {
    run_over(Mood::Slow(Duration::from_secs(1)), |_, proxy| {
        proxy.struck.load(Ordering::Relaxed) >= 3
    });
}

#[test]
fn writes_that_break_off_are_written_again() {
    run_over(Mood::CutOff, |_, proxy| proxy.struck.load(Ordering::Relaxed) >= 3);
}
