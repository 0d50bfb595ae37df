//! The bodies of all fuzz targets: bytes in, a panic if a promise is broken.
//!
//! libFuzzer runs them without end (`scripts/fuzz.sh`); `protocol/tests/fuzz_bounded.rs` runs the same
//! bodies for a moment in every test run.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../protocol/tests/common/forge.rs"]
#[allow(dead_code)]
mod forge;
mod lanes;
mod letters;
mod parsers;
pub mod seeds;

/// One target: its name, its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 10] = [
    ("frame", parsers::frame),
    ("hop_setup", parsers::hop_setup),
    ("pod_setup", parsers::pod_setup),
    ("tensor", parsers::tensor),
    ("control", parsers::control),
    ("registration", parsers::registration),
    ("admission_key", parsers::admission_key),
    ("letter", letters::letter),
    ("relay", lanes::relay),
    ("receiver", lanes::receiver),
];

/// Runs the target of this name.
pub fn run(name: &str, data: &[u8]) {
    let (_, body) = TARGETS.iter().find(|(n, _)| *n == name).expect("a target of this name");
    body(data);
}
