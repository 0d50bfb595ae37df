//! One trial: senders, the crossing relay under a regime, taps, and the truth.

use crate::chance::{between, exponential, permutation};
use crate::crossing::{Desk, Fault, Run, Sent};
use crate::workload::{Lane, Ms, Workload};
use mixnn_protocol::rand_core::Rng;

/// From slot to slot of a covered lane's sender, in microseconds.
pub const PERIOD: u32 = 8000;
/// The most cells of a message on a covered lane: a model that has more to say trains slower.
const COVERED_CELLS: usize = 2;
/// The same on demand.
const FREE_CELLS: usize = 8;
/// For the last cells of a run to leave.
const AFTER: Ms = 100.0;

/// When the crossing relay lets cells go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Regime {
    /// At once: `coverTraffic: None`. The product's relay.
    None,
    /// Each cell after a delay of its own, exponential with this mean: a stop-and-go mix. Simulated: the
    /// product has no such mode.
    Poisson(Ms),
    /// All that came in an interval of this length, together. Simulated.
    Timed(Ms),
    /// One cell a slot on every lane: `coverTraffic: ConstantRate`. The product's relay.
    Constant,
    /// The same senders, but a relay that is broken: a control.
    Broken(Fault),
}

impl Regime {
    /// For tables and the picture.
    pub fn name(self) -> String {
        match self {
            Self::None => "none".into(),
            Self::Poisson(mean) => format!("Poisson {mean:.0} ms"),
            Self::Timed(interval) => format!("timed {interval:.0} ms"),
            Self::Constant | Self::Broken(Fault::None) => "constant rate".into(),
            Self::Broken(Fault::Forwards) => "broken: crossing forwards".into(),
            Self::Broken(Fault::RealCellsLate(late)) => {
                format!("broken: real cells {:.0} us late", late * 1000.0)
            }
        }
    }

    /// About how long a cell stays, as an adversary knows.
    pub fn delay(self) -> Ms {
        match self {
            Self::None | Self::Broken(Fault::Forwards) => 0.3,
            Self::Poisson(mean) => mean,
            Self::Timed(interval) => interval / 2.0,
            Self::Constant | Self::Broken(_) => 2.0 * f64::from(PERIOD) / 1000.0,
        }
    }

    const fn period(self) -> Option<u32> {
        match self {
            Self::None | Self::Poisson(_) | Self::Timed(_) => None,
            Self::Constant | Self::Broken(_) => Some(PERIOD),
        }
    }

    const fn fault(self) -> Fault {
        match self {
            Self::Broken(fault) => fault,
            _ => Fault::None,
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
    /// Sends rubbish beside the first lane's cells in every other interval of this length.
    Flood(Ms),
    /// Cuts every lane but the first.
    OnlyFirst,
}

impl Tamper {
    fn is_on(self, at: Ms) -> bool {
        match self {
            Self::Delay(window) | Self::Drop(window) | Self::Flood(window) => {
                (at / window) as u64 % 2 == 1
            }
            Self::Watch | Self::OnlyFirst => false,
        }
    }
}

/// What the adversary sees: for each lane, when its cells passed.
#[derive(Clone)]
pub struct Taps {
    /// On the senders' own links.
    pub entry: Vec<Vec<Ms>>,
    /// Into the crossing relay, as tampered with, but without rubbish.
    pub input: Vec<Vec<Ms>>,
    /// Out of it; in another order.
    pub output: Vec<Vec<Ms>>,
    /// On the links into the receivers, in the order of `output`.
    pub exit: Vec<Vec<Ms>>,
    /// What each lane of `input` carries: an attacker may be told, who knows every shape and every time.
    pub says: Vec<Lane>,
    /// The longest step of any model.
    pub step: Ms,
    /// The regime, which is no secret.
    pub regime: Regime,
}

/// Which output belongs to which input. The attackers never get it.
#[derive(Clone)]
pub struct Truth(pub(crate) Vec<usize>);

impl Truth {
    /// Whether the first lane, the trial's target, was found.
    pub fn target_found(&self, guess: &[usize]) -> bool {
        guess[0] == self.0[0]
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
        Self {
            entry: cut(&self.entry),
            input: cut(&self.input),
            output: cut(&self.output),
            exit: cut(&self.exit),
            says: self.says.iter().map(|lane| lane.until(until)).collect(),
            ..*self
        }
    }

    /// For an adversary with no relay but the first and the last of the lanes.
    #[must_use]
    pub fn entry_and_exit(&self) -> Self {
        Self { input: self.entry.clone(), output: self.exit.clone(), ..self.clone() }
    }
}

/// Runs one trial.
///
/// # Errors
/// The product's relay cannot be set up.
pub fn trial(
    desk: &Desk,
    rng: &mut impl Rng,
    regime: Regime,
    k: usize,
    steps: usize,
    tamper: Tamper,
) -> anyhow::Result<(Taps, Truth)> {
    let most = if regime.period().is_some() { COVERED_CELLS } else { FREE_CELLS };
    let Workload { lanes, step } = Workload::draw(rng, k, steps, most);
    let until = step * steps as f64;
    let sent: Vec<Vec<Sent>> = (0..k)
        .map(|i| {
            let leaves = match regime.period() {
                Some(period) => covered(rng, &lanes[i], f64::from(period) / 1000.0, until),
                None => on_demand(rng, &lanes[i]),
            };
            tampered(carried(rng, leaves), i == 0, tamper)
        })
        .collect();
    let rubbish = rubbish(rng, tamper, until);
    let arrived = |l: &Vec<Sent>| l.iter().filter(|s| !s.dropped).map(|s| s.arrives).collect();
    let entry = sent.iter().map(|l| l.iter().map(|s| s.left).collect()).collect();
    let input: Vec<Vec<Ms>> = sent.iter().map(arrived).collect();
    let left = match regime {
        Regime::Poisson(_) | Regime::Timed(_) => {
            input.iter().map(|cells| mixed(rng, cells, regime)).collect()
        }
        Regime::None | Regime::Constant | Regime::Broken(_) => {
            let run = Run {
                desk,
                period: regime.period(),
                fault: regime.fault(),
                lanes: &lanes,
                sent: &sent,
                rubbish: &rubbish,
                until: until + AFTER,
                keep: None,
            };
            run.go(rng)?.cells
        }
    };
    let order = permutation(rng, k);
    let mut output = vec![Vec::new(); k];
    left.into_iter().zip(&order).for_each(|(cells, &place)| output[place] = cells);
    let exit = output.iter().map(|cells| jittered(rng, cells)).collect();
    Ok((Taps { entry, input, output, exit, says: lanes, step, regime }, Truth(order)))
}

/// When a sender takes what waits, and when the cell really leaves.
type Leaves = (Ms, Ms);

/// A sender without cover: a message's cells leave back to back.
fn on_demand(rng: &mut impl Rng, lane: &Lane) -> Vec<Leaves> {
    let mut free = 0.0;
    let mut out = Vec::new();
    for message in &lane.messages {
        free = message.at.max(free);
        for _ in 0..message.cells {
            out.push((free, free));
            free += between(rng, 0.03, 0.08);
        }
    }
    out
}

/// A sender under cover: its clock drifts, and it wakes late, later while its layer computes. So what
/// it has to say does show in its timing, before the crossing.
pub(crate) fn covered(rng: &mut impl Rng, lane: &Lane, period: Ms, until: Ms) -> Vec<Leaves> {
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
        out.push((last, last));
    }
    out
}

/// The link, and the relay before the crossing, which forwards at once.
pub(crate) fn carried(rng: &mut impl Rng, leaves: Vec<Leaves>) -> Vec<Sent> {
    let times: Vec<Ms> = leaves.iter().map(|l| l.1).collect();
    let arrive = jittered(rng, &times);
    leaves
        .into_iter()
        .zip(arrive)
        .map(|((due, left), arrives)| Sent { due, left, arrives, dropped: false })
        .collect()
}

/// After a link and a relay that forwards at once.
pub(crate) fn jittered(rng: &mut impl Rng, times: &[Ms]) -> Vec<Ms> {
    let base = between(rng, 0.1, 0.6);
    let mut last = 0.0f64;
    let arrive = |at: &Ms| {
        last = (at + base + exponential(rng, 0.1)).max(last);
        last
    };
    times.iter().map(arrive).collect()
}

fn tampered(mut cells: Vec<Sent>, target: bool, tamper: Tamper) -> Vec<Sent> {
    for cell in &mut cells {
        let on = target && tamper.is_on(cell.arrives);
        match tamper {
            Tamper::OnlyFirst => cell.dropped = !target,
            Tamper::Drop(_) => cell.dropped = on,
            Tamper::Delay(window) if on => cell.arrives = (cell.arrives / window).ceil() * window,
            Tamper::Delay(_) | Tamper::Flood(_) | Tamper::Watch => {}
        }
    }
    cells
}

/// Thousands of cells a second: most of what the relay's thread can take.
fn rubbish(rng: &mut impl Rng, tamper: Tamper, until: Ms) -> Vec<Ms> {
    if !matches!(tamper, Tamper::Flood(_)) {
        return Vec::new();
    }
    let mut at = 0.0;
    let mut all = Vec::new();
    while at < until {
        at += exponential(rng, 0.02);
        all.push(at);
    }
    all.retain(|at| tamper.is_on(*at));
    all
}

/// A mix that delays, without cover.
fn mixed(rng: &mut impl Rng, cells: &[Ms], regime: Regime) -> Vec<Ms> {
    let leave = |&at: &Ms| {
        let delay = match regime {
            Regime::Poisson(mean) => exponential(rng, mean),
            Regime::Timed(interval) => interval - at % interval,
            Regime::None | Regime::Constant | Regime::Broken(_) => 0.0,
        };
        at + delay + between(rng, 0.01, 0.05)
    };
    let mut out: Vec<Ms> = cells.iter().map(leave).collect();
    out.sort_by(f64::total_cmp);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::chance::stream;

    fn run(regime: Regime, tamper: Tamper) -> (Taps, Truth) {
        trial(&Desk::new(8).unwrap(), &mut stream(1), regime, 8, 3, tamper).unwrap()
    }

    #[test]
    fn under_cover_counts_are_equal_and_nothing_tampered_shows() {
        let flood = Tamper::Flood(50.0);
        for tamper in [Tamper::Watch, Tamper::OnlyFirst, Tamper::Drop(50.0), flood] {
            let (taps, _) = run(Regime::Constant, tamper);
            let counts: Vec<usize> = taps.output.iter().map(Vec::len).collect();
            assert!(counts[0] > 50, "{counts:?}");
            assert!(counts.iter().all(|n| *n == counts[0]), "{counts:?}");
        }
    }

    #[test]
    fn without_cover_every_cell_leaves_once() {
        for regime in [Regime::None, Regime::Poisson(15.0), Regime::Timed(100.0)] {
            let (taps, truth) = run(regime, Tamper::Watch);
            for (i, lane) in taps.input.iter().enumerate() {
                assert_eq!(lane.len(), taps.output[truth.0[i]].len());
            }
        }
    }

    #[test]
    fn a_crossing_that_forwards_is_no_crossing() {
        let (taps, truth) = run(Regime::Broken(Fault::Forwards), Tamper::Drop(50.0));
        let counts: Vec<usize> = taps.output.iter().map(Vec::len).collect();
        assert!(counts[truth.0[0]] < counts[truth.0[1]], "{counts:?}");
    }
}
