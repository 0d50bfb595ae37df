//! Processes that are killed or frozen are replaced, and the bits stay those of one process.

#![allow(clippy::unwrap_used)]

mod common;

use common::{ADAM, MLP, Running, Spec, signal};
use rustix::process::Signal;
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
