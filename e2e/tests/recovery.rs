//! Processes that are killed or frozen are replaced, and the bits stay those of one process.

#![allow(clippy::unwrap_used)]

mod common;

use common::{ADAM, MLP, PROGRAMS, Running, Spec, mixnn, signal, wrap};
use rustix::process::Signal;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

fn spec() -> Spec {
    let spec = Spec { layers: MLP, optimizer: ADAM, suite: "X25519", ..Spec::default() };
    Spec { train: 6000, hops: 2, ..spec }
}

#[test]
fn a_killed_layer_is_replaced_and_the_bits_are_the_same() {
    let running = Running::start_with(&spec(), &["--compare"]);
    signal(running.pid_of("layer-2"), Signal::KILL);
    running.wait_for("recovery", || running.said().contains("another pod for"));
    let (code, said) = running.ended(&[]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_killed_relay_is_replaced_and_no_step_is_lost() {
    let running = Running::start_with(&spec(), &["--compare"]);
    signal(running.pid_of("relay-1"), Signal::KILL);
    running.wait_for("recovery", || running.said().contains("0 steps again"));
    let (code, said) = running.ended(&[]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn all_layers_and_a_relay_at_once() {
    let running = Running::start_with(&spec(), &["--compare"]);
    for name in ["layer-1", "layer-2", "layer-3", "relay-2"] {
        signal(running.pid_of(name), Signal::KILL);
    }
    running.wait_for("recovery", || running.said().contains("another pod for"));
    let (code, said) = running.ended(&[]);
    assert_eq!(code, Some(0), "{said}");
}

/// A frozen process answers nobody: it is ended and replaced.
#[test]
fn a_frozen_process_is_replaced() {
    for name in ["layer-1", "relay-3"] {
        let running = Running::start_with(&spec(), &["--compare", "--liveness", "3"]);
        signal(running.pid_of(name), Signal::STOP);
        std::thread::sleep(Duration::from_millis(100));
        running.wait_for("replacement", || running.said().contains("another process takes"));
        let (code, said) = running.ended(&[]);
        assert_eq!(code, Some(0), "{said}");
    }
}

/// A frozen relay holds valid cells back, until the ring has been drawn over others; then it lets go.
#[test]
fn cells_that_are_held_back_and_released_later_change_nothing() {
    let spec = Spec { relays: 4, ..spec() };
    let more = ["--compare", "--stall", "1", "--liveness", "30"];
    let running = Running::start_with(&spec, &more);
    signal(running.pid_of("relay-1"), Signal::STOP);
    running.wait_for("another way", || running.said().contains("goes on after"));
    signal(running.pid_of("relay-1"), Signal::CONT);
    let (code, said) = running.ended(&[]);
    assert_eq!(code, Some(0), "{said}");
}

/// A library that gives a process a clock of its own.
fn clock_library() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/faketime.sh");
    let found = Command::new(script).output().unwrap();
    if found.status.success() {
        return Some(String::from_utf8(found.stdout).unwrap().trim().into());
    }
    let why = String::from_utf8_lossy(&found.stderr).into_owned();
    assert!(std::env::var_os("MIXNN_NEED_CLOCKS").is_none(), "MIXNN_NEED_CLOCKS is set, but {why}");
    // Not by eprintln: that is shown for tests that fail alone.
    let _ = writeln!(std::io::stderr(), "SKIPPED: this test needs libfaketime. {why}");
    None
}

/// Programs whose clocks are off by what the files of their names in this folder say.
fn wrong_clocks(folder: &Path, library: &Path) {
    for (program, off) in PROGRAMS.iter().zip(["+7200", "+3600", "-3600"]) {
        let file = folder.join(format!("{program}.clock"));
        std::fs::write(&file, off).unwrap();
        let script = format!(
            "export LD_PRELOAD='{}' FAKETIME_TIMESTAMP_FILE='{}' FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1; exec REAL \"$@\"",
            library.display(),
            file.display()
        );
        wrap(folder, program, &script);
    }
}

/// Every program's clock is hours off, layers' are set back while steps are made, and then one is killed.
fn run_by_wrong_clocks(spec: &Spec) {
    let Some(library) = clock_library() else { return };
    let bin = tempfile::tempdir().unwrap();
    wrong_clocks(bin.path(), &library);
    let folder = tempfile::tempdir().unwrap();
    let file = spec.write(folder.path());
    let mut command = mixnn(folder.path());
    command.env("MIXNN_BIN_DIR", bin.path());
    command.args(["run", "--compare", "-f", file.to_str().unwrap()]);
    let running = Running::spawn(command, folder);
    std::fs::write(bin.path().join("mixnn-layer.clock"), "-10800").unwrap();
    // For so long processes remember what their files said.
    std::thread::sleep(Duration::from_millis(1100));
    signal(running.pid_of("layer-2"), Signal::KILL);
    running.wait_for("recovery", || running.said().contains("another pod for"));
    let (code, said) = running.ended(&[]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn clocks_that_are_wrong_and_jump_change_nothing() {
    run_by_wrong_clocks(&Spec { train: 20_000, ..spec() });
}

/// The edges of covered lanes are told by the platform's clock.
#[test]
fn covered_lanes_do_not_mind_the_nodes_clocks() {
    let cover = r#", "coverTraffic": "ConstantRate", "rate": {"fixed": {"cellsPerSecond": 200}}"#;
    run_by_wrong_clocks(&Spec { cover, train: 1000, ..spec() });
}
