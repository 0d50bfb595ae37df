//! Links that are slow or carry nothing for a while, and a disk that takes no more: the bits stay those of
//! one process.

#![allow(clippy::unwrap_used)]

mod common;

use common::link::Link;
use common::{ADAM, MLP, Running, Spec, mixnn, with_wrapper};
use std::time::Duration;

fn spec() -> Spec {
    let spec = Spec { layers: MLP, optimizer: ADAM, suite: "X25519", ..Spec::default() };
    Spec { train: 6000, hops: 2, ..spec }
}

/// A run whose first process of this program is behind a link. No process is taken for frozen.
fn behind(program: &str, stall: &str) -> (Running, Link, tempfile::TempDir) {
    let (link, marks) = (Link::start(), tempfile::tempdir().unwrap());
    let bin = with_wrapper(program, &link.script(marks.path()));
    let running = run(&bin, &["--liveness", "300", "--stall", stall]);
    assert!(link.passed() > 0, "nothing goes over the link");
    (running, link, bin)
}

fn run(bin: &tempfile::TempDir, more: &[&str]) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let file = spec().write(folder.path());
    let mut command = mixnn(folder.path());
    command.env("MIXNN_BIN_DIR", bin.path());
    command.args(["run", "--compare", "-f", file.to_str().unwrap()]).args(more);
    Running::spawn(command, folder)
}

fn ends_with_the_same_bits(running: Running) -> String {
    let (code, said) = running.ended(&[]);
    assert_eq!(code, Some(0), "{said}");
    said
}

#[test]
fn a_relay_that_is_cut_off_and_comes_back() {
    let (running, link, _bin) = behind("mixnn-relay", "3");
    link.cut(true);
    running.wait_for("recovery", || running.said().contains("steps again"));
    link.cut(false);
    ends_with_the_same_bits(running);
}

/// Its state is nowhere else than in the checkpoint: training waits until it is there again.
#[test]
fn a_layer_that_is_cut_off_and_comes_back() {
    let (running, link, _bin) = behind("mixnn-layer", "3");
    link.cut(true);
    running.wait_for("fault", || running.said().contains("nothing came for"));
    link.cut(false);
    ends_with_the_same_bits(running);
}

#[test]
fn a_slow_link_costs_time_and_no_step() {
    let (running, link, _bin) = behind("mixnn-relay", "300");
    link.delay(Duration::from_millis(20));
    let said = ends_with_the_same_bits(running);
    assert!(!said.contains("steps again"), "{said}");
}

/// The designer may write no file as large as the largest shard, but the weights.
#[test]
fn a_disk_that_takes_no_more_costs_checkpoints_and_is_named() {
    let bin = with_wrapper("mixnn-designer", "trap '' XFSZ; ulimit -f 600; exec REAL \"$@\"");
    let said = ends_with_the_same_bits(run(&bin, &["--checkpoint-every", "50"]));
    assert!(
        said.contains("no checkpoint after step 50") && said.contains("File too large"),
        "{said}"
    );
}
