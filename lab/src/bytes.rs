//! Attacker 2: bytes that are seen on both sides of the crossing.

use crate::chance::stream;
use crate::crossing::{Bytes, Desk, Fault, Run};
use crate::sim::{PERIOD, carried, covered};
use crate::workload::Workload;
use std::collections::HashSet;

/// How many windows of 8 bytes are seen both going in and coming out, over all lanes, while every frame
/// is zeros; and how many cells were looked at.
///
/// # Errors
/// The product's relay cannot be set up.
pub fn common_windows(desk: &Desk, seed: u64, k: usize) -> anyhow::Result<(u64, u64)> {
    let rng = &mut stream(seed);
    let Workload { lanes, step } = Workload::draw(rng, k, 4, 2);
    let mut bytes = Bytes::default();
    let sent: Vec<_> = lanes
        .iter()
        .map(|lane| {
            let leaves = covered(rng, lane, f64::from(PERIOD) / 1000.0, 4.0 * step);
            carried(rng, leaves)
        })
        .collect();
    let run = Run {
        desk,
        period: Some(PERIOD),
        fault: Fault::None,
        lanes: &lanes,
        sent: &sent,
        rubbish: &[],
        until: 4.0 * step,
        keep: Some(&mut bytes),
    };
    run.go(rng)?;
    let window = |w: &[u8]| u64::from_le_bytes(w.try_into().unwrap_or_default());
    let windows = bytes.input.iter().flat_map(|c| c.windows(8).map(window));
    let seen: HashSet<u64> = windows.collect();
    let common =
        bytes.output.iter().flat_map(|c| c.windows(8)).filter(|w| seen.contains(&window(w)));
    Ok((common.count() as u64, (bytes.input.len() + bytes.output.len()) as u64))
}
