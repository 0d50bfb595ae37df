//! Processes killed and frozen at random, from a printed seed: the bits stay those of one process.
//!
//! `MIXNN_CHAOS_SEED=N` repeats the faults of a run; `make soak FAULTS=N` makes as many as asked.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use common::{ADAM, MLP, Running, Spec};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rustix::process::{Signal, kill_process};
use std::time::{Duration, Instant};

/// One fault: what is done to which slots, and how long after the one before.
#[derive(Debug)]
struct Fault {
    after: Duration,
    slots: Vec<&'static str>,
    /// Frozen for so long; killed if none.
    frozen: Option<Duration>,
}

const SLOTS: [&str; 7] =
    ["layer-1", "layer-2", "layer-3", "relay-1", "relay-2", "relay-3", "designer"];

/// The faults of a seed: the same seed, the same faults.
struct Faults(ChaCha20Rng);

impl Faults {
    fn below(&mut self, bound: u32) -> u32 {
        self.0.next_u32() % bound
    }
}

impl Iterator for Faults {
    type Item = Fault;

    fn next(&mut self) -> Option<Fault> {
        let after = Duration::from_millis(u64::from(self.below(1500)));
        let count = 1 + self.below(3);
        let mut slots: Vec<&str> =
            (0..count).map(|_| SLOTS[self.below(SLOTS.len() as u32) as usize]).collect();
        slots.sort_unstable();
        slots.dedup();
        let freeze = self.below(5) == 0;
        let frozen = Duration::from_millis(u64::from(50 + self.below(500)));
        Some(Fault { after, slots, frozen: freeze.then_some(frozen) })
    }
}

/// Faults unless `MIXNN_CHAOS_FAULTS` says otherwise, and the most in one run.
const FAULTS: usize = 200;
const AT_ONCE: usize = 100;

fn spec() -> Spec {
    let spec = Spec { layers: MLP, optimizer: ADAM, suite: "X25519", ..Spec::default() };
    Spec { train: 8000, hops: 2, ..spec }
}

/// One run under at most `most` faults. Gives how many there were.
fn run(seed: u64, most: usize) -> usize {
    let running = Running::start_with(
        &spec(),
        &["--compare", "--stall", "3", "--liveness", "5", "--checkpoint-every", "20"],
    );
    let mut done = 0;
    for fault in Faults(ChaCha20Rng::seed_from_u64(seed)) {
        std::thread::sleep(fault.after);
        let is_over = running.said().contains("one process:") || running.has_ended();
        if is_over || done >= most {
            break;
        }
        for slot in &fault.slots {
            done += usize::from(strike(&running, slot, fault.frozen));
        }
    }
    let start = Instant::now();
    let (code, said) = running.ended(&[]);
    assert_eq!(code, Some(0), "seed {seed}, {:?} after the last fault:\n{said}", start.elapsed());
    done
}

fn strike(running: &Running, slot: &str, frozen: Option<Duration>) -> bool {
    // It may be between two processes.
    let Some(pid) = running.try_pid_of(slot) else { return false };
    let signal = |signal| kill_process(pid, signal).is_ok();
    let Some(frozen) = frozen else { return signal(Signal::KILL) };
    let struck = signal(Signal::STOP);
    std::thread::sleep(frozen);
    struck && signal(Signal::CONT)
}

#[test]
fn whatever_is_killed_the_bits_stay() {
    let given = std::env::var("MIXNN_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("MIXNN_CHAOS_SEED={seed}");
    let wanted = std::env::var("MIXNN_CHAOS_FAULTS").ok().and_then(|n| n.parse().ok());
    let (wanted, mut faults, mut runs) = (wanted.unwrap_or(FAULTS), 0, 0);
    while faults < wanted {
        faults += run(seed + runs, AT_ONCE.min(wanted - faults));
        runs += 1;
    }
    eprintln!("{faults} faults in {runs} runs");
}
