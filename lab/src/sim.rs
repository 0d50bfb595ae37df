//! One trial: senders, the crossing relay under a regime, two taps, and the truth.

use crate::chance::{between, exponential, permutation};
use crate::workload::{Lane, Ms, Workload};
use mixnn_protocol::Cover;
use mixnn_protocol::cover::Pacer;
use mixnn_protocol::rand_core::Rng;
use std::time::{Duration, Instant};

/// When the crossing relay lets cells go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Regime {
    /// At once: `coverTraffic: None`.
    None,
    /// Each cell after a delay of its own, exponential with this mean: a stop-and-go mix.
    Poisson(Ms),
    /// All that came in an interval of this length, together.
    Timed(Ms),
    /// One cell a slot of this period on every lane: `coverTraffic: ConstantRate`.
    Constant(Ms),
}

impl Regime {
    /// For tables and the picture.
    pub fn name(self) -> String {
        match self {
            Self::None => "none".into(),
            Self::Poisson(mean) => format!("Poisson {mean:.0} ms"),
            Self::Timed(interval) => format!("timed {interval:.0} ms"),
            Self::Constant(_) => "constant rate".into(),
        }
    }

    /// About how long a cell stays, as an adversary knows.
    pub fn delay(self) -> Ms {
        match self {
            Self::None => 0.3,
            Self::Poisson(mean) => mean,
            Self::Timed(interval) => interval / 2.0,
            Self::Constant(period) => 2.0 * period,
        }
    }
}

/// What the adversary does to the links into the crossing relay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tamper {
    /// Nothing.
    Watch,
    /// Holds the first lane's cells back in every other interval of this length.
    Delay(Ms),
    /// Drops the first lane's cells in every other interval of this length.
    Drop(Ms),
    /// Cuts every lane but the first.
    OnlyFirst,
}

/// What the adversary sees: for each lane, when its cells passed.
pub struct Taps {
    /// Into the crossing relay.
    pub input: Vec<Vec<Ms>>,
    /// Out of it; in another order.
    pub output: Vec<Vec<Ms>>,
    /// The longest step of any model.
    pub step: Ms,
    /// The regime, which is no secret.
    pub regime: Regime,
}

/// Which output belongs to which input. The attackers never get it.
#[derive(Clone)]
pub struct Truth(Vec<usize>);

impl Truth {
    /// Whether the first lane, the trial's target, was found.
    pub fn target_found(&self, guess: &[usize]) -> bool {
        guess[0] == self.0[0]
    }

    /// How many lanes were found.
    pub fn found(&self, guess: &[usize]) -> usize {
        self.0.iter().zip(guess).filter(|(a, b)| a == b).count()
    }

    /// For training a classifier on trials that are not counted.
    pub fn label(&self, input: usize, output: usize) -> bool {
        self.0[input] == output
    }
}

impl Taps {
    /// The first `steps` steps of it.
    #[must_use]
    pub fn first(&self, steps: usize) -> Self {
        let until = self.step * steps as f64;
        let cut = |lanes: &[Vec<Ms>]| {
            let one = |l: &Vec<Ms>| l[..l.partition_point(|t| *t < until)].to_vec();
            lanes.iter().map(one).collect()
        };
        let (input, output) = (cut(&self.input), cut(&self.output));
        Self { input, output, step: self.step, regime: self.regime }
    }
}

/// Runs one trial.
pub fn trial(
    rng: &mut impl Rng,
    regime: Regime,
    k: usize,
    steps: usize,
    tamper: Tamper,
) -> (Taps, Truth) {
    let workload = Workload::draw(rng, k, steps);
    let until = workload.step * steps as f64;
    let input: Vec<Vec<Ms>> = workload
        .lanes
        .iter()
        .enumerate()
        .map(|(i, lane)| {
            let sent = match regime {
                Regime::Constant(period) => covered(rng, lane, period, until),
                _ => on_demand(rng, lane),
            };
            tampered(carried(rng, sent), i == 0, tamper)
        })
        .collect();
    let left = match regime {
        Regime::Constant(period) => regenerated(rng, k, period, until).0,
        _ => input.iter().map(|cells| mixed(rng, cells, regime)).collect(),
    };
    let order = permutation(rng, k);
    let mut output = vec![Vec::new(); k];
    left.into_iter().zip(&order).for_each(|(cells, &place)| output[place] = cells);
    (Taps { input, output, step: workload.step, regime }, Truth(order))
}

/// A sender without cover: a message's cells leave back to back.
fn on_demand(rng: &mut impl Rng, lane: &Lane) -> Vec<Ms> {
    let mut free = 0.0;
    let mut out = Vec::new();
    for message in &lane.messages {
        free = message.at.max(free);
        for _ in 0..message.cells {
            out.push(free);
            free += between(rng, 0.03, 0.08);
        }
    }
    out
}

/// A sender under cover: its clock drifts, and it wakes late, later while its layer computes. So what
/// it has to say does show in its timing, before the crossing.
fn covered(rng: &mut impl Rng, lane: &Lane, period: Ms, until: Ms) -> Vec<Ms> {
    let drift = 1.0 + between(rng, -2e-4, 2e-4);
    let phase = between(rng, 0.0, period);
    let mut messages = lane.messages.iter().peekable();
    let mut out = Vec::new();
    let mut last = 0.0;
    for slot in 0.. {
        let due = phase + f64::from(slot) * period * drift;
        if due >= until {
            return out;
        }
        while messages.next_if(|m| m.at < due).is_some() {}
        let computes = messages.peek().is_some_and(|m| m.at - due < 4.0);
        let late = exponential(rng, if computes { 1.5 } else { 0.2 });
        last = (due + late).max(last);
        out.push(last);
    }
    out
}

/// The link, and the relay before the crossing, which forwards at once.
fn carried(rng: &mut impl Rng, sent: Vec<Ms>) -> Vec<Ms> {
    let base = between(rng, 0.1, 0.6);
    let mut last = 0.0f64;
    let arrive = |at: Ms| {
        last = (at + base + exponential(rng, 0.1)).max(last);
        last
    };
    sent.into_iter().map(arrive).collect()
}

fn tampered(cells: Vec<Ms>, target: bool, tamper: Tamper) -> Vec<Ms> {
    let held = |at: Ms, window: Ms| (at / window) as u64 % 2 == 1;
    match tamper {
        Tamper::OnlyFirst => {
            if target {
                cells
            } else {
                Vec::new()
            }
        }
        Tamper::Delay(window) if target => {
            let release =
                |at: Ms| if held(at, window) { (at / window).ceil() * window } else { at };
            cells.into_iter().map(release).collect()
        }
        Tamper::Drop(window) if target => {
            cells.into_iter().filter(|&at| !held(at, window)).collect()
        }
        Tamper::Watch | Tamper::Delay(_) | Tamper::Drop(_) => cells,
    }
}

/// The crossing relay without cover.
fn mixed(rng: &mut impl Rng, cells: &[Ms], regime: Regime) -> Vec<Ms> {
    let leave = |&at: &Ms| {
        let delay = match regime {
            Regime::Poisson(mean) => exponential(rng, mean),
            Regime::Timed(interval) => interval - at % interval,
            Regime::None | Regime::Constant(_) => 0.0,
        };
        at + delay + between(rng, 0.01, 0.05)
    };
    let mut out: Vec<Ms> = cells.iter().map(leave).collect();
    out.sort_by(f64::total_cmp);
    out
}

/// The crossing relay under cover: the product's slots. It is not told what came in, because the
/// product's does not look at it; [`crate::real`] shows that this is so.
///
/// Gives each lane's times, and the wakes at which they left.
pub fn regenerated(rng: &mut impl Rng, k: usize, period: Ms, until: Ms) -> (Vec<Vec<Ms>>, Vec<Ms>) {
    let cover = Cover { period: (period * 1000.0) as u32, start: 0, stop: 1 };
    let (zero, mut pacer) = (Instant::now(), Pacer::new(Cover::SLACK.into()));
    let at = |ms: Ms| zero + Duration::from_secs_f64(ms / 1000.0);
    (0..k).for_each(|lane| pacer.insert(lane, cover.crossing_period(), zero, at(until)));
    let mut out = vec![Vec::new(); k];
    let mut wakes = Vec::new();
    while let Some(deadline) = pacer.deadline() {
        let due = (deadline - zero).as_secs_f64() * 1000.0;
        // Woken late, by what the whole relay has to do.
        let mut wake = due + exponential(rng, 0.3);
        wakes.push(wake);
        pacer.due(at(wake), |lane| {
            out[lane].push(wake);
            wake += 0.004;
        });
    }
    (out, wakes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::stream;

    #[test]
    fn under_cover_counts_are_equal_and_nothing_tampered_shows() {
        for tamper in [Tamper::Watch, Tamper::OnlyFirst, Tamper::Drop(50.0)] {
            let (taps, _) = trial(&mut stream(1), Regime::Constant(1.0), 8, 3, tamper);
            let counts: Vec<usize> = taps.output.iter().map(Vec::len).collect();
            assert!(counts.iter().all(|n| *n == counts[0]), "{counts:?}");
        }
    }

    #[test]
    fn without_cover_every_cell_leaves_once() {
        for regime in [Regime::None, Regime::Poisson(15.0), Regime::Timed(100.0)] {
            let (taps, truth) = trial(&mut stream(2), regime, 8, 3, Tamper::Watch);
            for (i, lane) in taps.input.iter().enumerate() {
                assert_eq!(lane.len(), taps.output[truth.0[i]].len());
            }
        }
    }
}
