//! Corrupt ends that are not neighbours: one host has the sending end of a lane, another the receiving
//! end of the next lane but one honest layer. Outside of the claim; measured so that it can be published.
//!
//! ```text
//! host 1 -> lane -> crossing relay A -> honest layer -> lane -> crossing relay B -> host 2
//! ```
//!
//! Host 1 knows when it had something to say, host 2 when something was said. The same honest relays
//! carry `k` such chains; host 2 may be at the end of any of them.

use crate::attack::{Scores, assign};
use crate::chance::{between, exponential, permutation};
use crate::crossing::{Desk, Fault, Run};
use crate::sim::{PERIOD, Truth, carried, covered, jittered};
use crate::workload::{Lane, Message, Ms, Workload};
use mixnn_protocol::rand_core::Rng;

/// Cells of a message: what a slot's rate carries.
const CELLS: usize = 2;

/// One trial. Gives whether host 2 was found at the end of the first chain.
///
/// # Errors
/// The product's relay cannot be set up.
pub fn found(desk: &Desk, rng: &mut impl Rng, k: usize, steps: usize) -> anyhow::Result<bool> {
    let Workload { lanes, step } = Workload::draw(rng, k, steps, CELLS);
    let until = step * steps as f64;
    let into = arrivals(desk, rng, &lanes, until)?;
    let next: Vec<Lane> =
        lanes.iter().zip(&into).map(|(lane, at)| computed(rng, lane, at)).collect();
    let seen = arrivals(desk, rng, &next, until)?;
    let order = permutation(rng, k);
    let mut of_host_2 = vec![Vec::new(); k];
    seen.into_iter().zip(&order).for_each(|(at, &place)| of_host_2[place] = at);
    let said: Vec<Vec<Ms>> =
        lanes.iter().map(|l| l.messages.iter().map(|m| m.at).collect()).collect();
    Ok(Truth(order).target_found(&assign(&steadiness(&said, &of_host_2))))
}

/// When each lane's messages have arrived whole.
fn arrivals(
    desk: &Desk,
    rng: &mut impl Rng,
    lanes: &[Lane],
    until: Ms,
) -> anyhow::Result<Vec<Vec<Ms>>> {
    let period = f64::from(PERIOD) / 1000.0;
    let sent: Vec<_> = lanes
        .iter()
        .map(|lane| {
            let leaves = covered(rng, lane, period, until);
            carried(rng, leaves)
        })
        .collect();
    let run = Run {
        desk,
        period: Some(PERIOD),
        fault: Fault::None,
        lanes,
        sent: &sent,
        rubbish: &[],
        until,
        keep: None,
    };
    let left = run.go(rng)?;
    Ok(left.messages.iter().map(|at| jittered(rng, at)).collect())
}

/// What the honest layer makes of it.
fn computed(rng: &mut impl Rng, lane: &Lane, arrived: &[Ms]) -> Lane {
    let time = between(rng, 1.0, 10.0);
    let mut free = 0.0f64;
    let messages = lane.messages.iter().zip(arrived).map(|(message, &at)| {
        free = at.max(free) + time + exponential(rng, 0.3);
        Message { at: free, cells: message.cells }
    });
    Lane { messages: messages.collect() }
}

/// From what was said to what was heard, two lanes and a layer later.
const DELAYS: std::ops::Range<Ms> = 5.0..150.0;

/// The steadier the time from the n-th message of one to the n-th of the other, the likelier, if it is
/// one that two lanes take.
fn steadiness(said: &[Vec<Ms>], seen: &[Vec<Ms>]) -> Scores {
    let deviation = |a: &[Ms], b: &[Ms]| {
        let apart: Vec<f64> = a.iter().zip(b).map(|(a, b)| b - a).collect();
        let n = apart.len().max(1) as f64;
        let mean = apart.iter().sum::<f64>() / n;
        let deviation = (apart.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        deviation + if DELAYS.contains(&mean) { 0.0 } else { 100.0 }
    };
    let row = |a: &Vec<Ms>| seen.iter().map(|b| -deviation(a, b)).collect();
    said.iter().map(row).collect()
}
