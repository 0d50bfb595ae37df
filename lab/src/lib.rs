//! The adversary's laboratory.
//!
//! It measures how well an adversary tells which link into a crossing relay belongs with which link
//! out of it, while `k` lanes cross there. The adversary sees every link and controls every relay but
//! the crossing one, and neither end: so it knows the lanes of all links on both sides, their cells'
//! times and counts, and may delay, drop, add or cut what goes in. What it must guess is the permutation.
//!
//! ```text
//! workload -> senders -> [tap] -> links -> [tap] -> crossing relay -> [tap] -> links -> [tap]
//!                          |                 |                          |                 |
//!                          +-----------------+------- attackers --------+-----------------+
//!                                                          truth, held apart
//! ```
//!
//! With and without cover the crossing relay is the product's ([`mixnn_mix_relay::RelayCore`]), fed with
//! real cells of the product's senders ([`mixnn_protocol::cell::SlotSender`]); links, clocks, timers and
//! what a relay's thread takes for a cell are modelled, and time is virtual, so that no result depends on
//! this machine's load. Two crossings that are broken on purpose show that attackers would notice. Delays
//! and batches, which the product does not offer, are simulated.
//!
//! Sockets and a real machine's scheduling are not in it.

pub mod attack;
pub mod bytes;
pub mod chance;
pub mod crossing;
pub mod hosts;
pub mod learn;
pub mod page;
pub mod picture;
pub mod report;
pub mod sim;
pub mod workload;

use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `one` for `0..count` on all cores; gives what it gave, in order.
fn many<T: Send>(
    count: usize,
    one: impl Fn(usize) -> anyhow::Result<T> + Sync,
) -> anyhow::Result<Vec<T>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return done;
            }
            done.push((n, one(n)));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    anyhow::ensure!(all.len() == count, "a trial panicked");
    all.sort_by_key(|(n, _)| *n);
    all.into_iter().map(|(_, result)| result).collect()
}
