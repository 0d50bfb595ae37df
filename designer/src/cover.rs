//! Constant-rate cover for a ring: which rate, from when to when, and what it hides.

use crate::leases::{LIFE, next_stop};
use mixnn_crds::{CoverRate, CoverTraffic, RelaysSpec};
use mixnn_events::Privacy;
use mixnn_protocol::{Cover, LaneRole, WallClock};
use std::time::{Duration, Instant};

/// For all letters to be sealed and to arrive before the first slot: a relay that learns of a lane when
/// its cells have long been coming finds none of their tags.
const MARGIN: Duration = Duration::from_secs(4);
/// And for each letter.
const MARGIN_LETTER: Duration = Duration::from_millis(15);
/// Control lanes emit once while others emit so often: they carry little. But a step ends only when every
/// layer has said so on one.
const CONTROL: u32 = 4;
/// Periods that `auto` chooses from, in microseconds. Few, so that lanes of many models share one.
const CLASSES: [u32; 8] = [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000];
/// CPU that one cell of a lane takes on its whole way over three relays, in microseconds.
const CELL_MICROSECONDS: f64 = 80.0;
/// The part of the CPU that `auto` gives to cover.
const SHARE: f64 = 0.5;

/// Lanes of a class look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Activations and gradients.
    Bulk,
    /// Commands and reports.
    Control,
}

impl Class {
    pub(crate) const fn of(role: LaneRole) -> Self {
        match role {
            LaneRole::Forward | LaneRole::Backward => Self::Bulk,
            LaneRole::Command | LaneRole::Report => Self::Control,
        }
    }
}

/// The cover of a ring's lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoverPlan {
    bulk: Cover,
}

impl CoverPlan {
    /// The cover that the model asks for, if it asks for any.
    pub(crate) fn new(relays: &RelaysSpec, layers: usize, cores: Option<f64>) -> Option<Self> {
        if relays.cover_traffic == CoverTraffic::None {
            return None;
        }
        let period = match relays.rate {
            Some(CoverRate::Fixed { cells_per_second }) => 1_000_000 / cells_per_second,
            Some(CoverRate::Auto {}) | None => {
                let cores = cores.unwrap_or(f64::from(relays.replicas) + layers as f64);
                auto(layers, relays.hops, cores)
            }
        };
        Some(Self { bulk: Cover { period, start: 0, stop: LIFE } })
    }

    /// The same from the next edge that leaves time for so many letters.
    pub(crate) fn starting(&self, letters: usize, clock: WallClock) -> Self {
        let start = clock.seconds(Instant::now() + Self::margin(letters)) + 1;
        Self { bulk: Cover { start, stop: next_stop(start), ..self.bulk } }
    }

    /// The time that so many letters are given before the first slot.
    pub(crate) fn margin(letters: usize) -> Duration {
        MARGIN + MARGIN_LETTER * letters as u32
    }

    /// Half as fast: the relays or layers could not keep up. Gives the cells a second, or nothing if it
    /// is as slow as it may be.
    pub(crate) fn slow_down(&mut self) -> Option<u32> {
        let period = self.bulk.period * 2;
        if period * CONTROL > Cover::MAX_PERIOD {
            return None;
        }
        self.bulk.period = period;
        Some(self.cells_per_second(LaneRole::Forward))
    }

    /// The cover of a lane of this role.
    pub(crate) fn of(&self, role: LaneRole) -> Cover {
        match Class::of(role) {
            Class::Bulk => self.bulk,
            Class::Control => {
                let period = (self.bulk.period * CONTROL).min(Cover::MAX_PERIOD);
                Cover { period, ..self.bulk }
            }
        }
    }

    fn cells_per_second(&self, role: LaneRole) -> u32 {
        1_000_000 / self.of(role).period
    }
}

/// The shortest period of which the share of the cores carries all lanes.
fn auto(layers: usize, hops: u32, cores: f64) -> u32 {
    let lanes = (2 * layers + 1) as f64 + 2.0 * layers as f64 / f64::from(CONTROL);
    let cell = CELL_MICROSECONDS * f64::from(hops + 2) / 5.0;
    let least = lanes * cell / (SHARE * cores.max(0.1));
    let fits = |period: &&u32| f64::from(**period) >= least;
    CLASSES.iter().find(fits).copied().unwrap_or((least as u32).min(Cover::MAX_PERIOD))
}

/// What this run hides, for its owner to read.
pub(crate) fn privacy(relays: &RelaysSpec, cover: Option<&CoverPlan>, crossing: &[u32]) -> Privacy {
    let mut sorted = crossing.to_vec();
    sorted.sort_unstable();
    let k_least = sorted.first().copied().unwrap_or(1);
    let k_median = sorted.get(sorted.len() / 2).copied().unwrap_or(1);
    let cover_name = if cover.is_some() { "ConstantRate" } else { "None" };
    Privacy {
        cover: cover_name.into(),
        cells_per_second: cover.map(|c| c.cells_per_second(LaneRole::Forward)),
        control_cells_per_second: cover.map(|c| c.cells_per_second(LaneRole::Command)),
        k_least,
        k_median,
        sentence: sentence(relays, cover.is_some(), k_least, k_median),
    }
}

fn sentence(relays: &RelaysSpec, covered: bool, least: u32, median: u32) -> String {
    if !covered {
        return "contents are hidden; sizes, counts and times of messages are not: who watches the links of a few steps can tell which belong together, and guess the shapes of layers (coverTraffic: ConstantRate hides them)".into();
    }
    let among = if least == median { format!("{median}") } else { format!("{least} to {median}") };
    let crossing = match relays.hops {
        1 | 2 => "nobody but the crossing relay, which knows an end of the lane,",
        _ => "nobody but the crossing relay",
    };
    let alone = if least < 2 {
        "; a lane that crosses alone hides among none: use fewer relays or a shared pool"
    } else {
        ""
    };
    format!(
        "contents, sizes, counts and times of messages are hidden; {crossing} can tell which of the {among} lanes that cross there belong together; that a training runs, and how many pods serve it, is not hidden, nor are equal tensors from the hosts of two neighbouring layers{alone}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relays(rate: Option<CoverRate>) -> RelaysSpec {
        RelaysSpec { cover_traffic: CoverTraffic::ConstantRate, rate, ..RelaysSpec::default() }
    }

    #[test]
    fn no_cover_is_no_plan() {
        assert!(CoverPlan::new(&RelaysSpec::default(), 5, None).is_none());
    }

    #[test]
    fn a_fixed_rate_is_kept_and_control_lanes_are_slower() {
        let rate = Some(CoverRate::Fixed { cells_per_second: 400 });
        let plan = CoverPlan::new(&relays(rate), 5, None).expect("covered");
        assert_eq!(plan.of(LaneRole::Backward).period, 2500);
        assert_eq!(plan.of(LaneRole::Report).period, 10_000);
        let slowest = Some(CoverRate::Fixed { cells_per_second: 1 });
        let plan = CoverPlan::new(&relays(slowest), 5, None).expect("covered");
        assert!(LaneRole::ALL.iter().all(|role| plan.of(*role).is_valid()));
    }

    #[test]
    fn it_slows_down_to_a_bound() {
        let mut plan = CoverPlan::new(&relays(None), 5, Some(2.0)).expect("covered");
        assert_eq!(plan.slow_down(), Some(250));
        while plan.slow_down().is_some() {}
        assert!(LaneRole::ALL.iter().all(|role| plan.of(*role).is_valid()));
    }

    #[test]
    fn auto_takes_the_fastest_class_that_the_cores_carry() {
        assert_eq!(auto(5, 3, 2.0), 2000);
        assert_eq!(auto(5, 3, 16.0), 250);
        assert_eq!(auto(50, 3, 2.0), 16_000);
        assert!(auto(1024, 5, 0.1) <= Cover::MAX_PERIOD);
    }

    #[test]
    fn the_sentence_says_what_is_not_hidden() {
        let none = privacy(&RelaysSpec::default(), None, &[2, 3, 4]);
        assert!(none.sentence.contains("not"), "{}", none.sentence);
        let plan = CoverPlan::new(&relays(None), 5, None);
        let covered = privacy(&relays(None), plan.as_ref(), &[1, 3, 4]);
        assert_eq!((covered.k_least, covered.k_median), (1, 3));
        assert!(covered.sentence.contains("crosses alone"));
    }
}
