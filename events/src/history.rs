//! What a run came to, as its record tells it.

use crate::record::each;
use crate::{Event, Outcome, Plan, Recovered, Step, Tested, Times};
use std::collections::BTreeMap;
use std::io::Result;
use std::path::Path;

/// A run, told in order. Steps that were made again after a fault are there once.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was going to happen.
    pub plan: Option<Plan>,
    /// Committed steps, by number.
    pub steps: BTreeMap<u64, Step>,
    /// Where their time went, by number, as far as that was asked for and is kept.
    pub times: BTreeMap<u64, Times>,
    /// Tests, by the step after which they were.
    pub tests: BTreeMap<u64, Tested>,
    /// Faults, in words.
    pub faults: Vec<String>,
    /// What was done about them.
    pub recoveries: Vec<Recovered>,
    /// Checkpoints that were written.
    pub checkpoints: u64,
    /// How it ended, if it has.
    pub outcome: Option<Outcome>,
    /// Why it failed, if it has.
    pub failed: Option<String>,
}

/// Reads a record, also while it is written.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> Result<History> {
    let mut history = History::default();
    each(path, |line| history.take(line.event))?;
    Ok(history)
}

impl History {
    /// Takes the next event in.
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Plan(plan) => {
                // The run goes on, whatever became of it before.
                (self.outcome, self.failed) = (None, None);
                self.plan = Some(plan);
            }
            Event::Step(step) => {
                self.steps.insert(step.step, step);
            }
            Event::Times(times) => {
                self.times.insert(times.step, times);
            }
            Event::Tested(tested) => {
                self.tests.insert(self.last_step(), tested);
            }
            Event::Fault(fault) => self.faults.push(fault.message),
            Event::Recovered(recovered) => self.recoveries.push(recovered),
            Event::Checkpointed(_) => self.checkpoints += 1,
            Event::Trained(outcome) | Event::Done(outcome) => self.outcome = Some(outcome),
            Event::Failed(failed) => self.failed = Some(failed.message),
            Event::Reading(_)
            | Event::Ring(_)
            | Event::Said(_)
            | Event::Phase(_)
            | Event::CheckpointFailed(_)
            | Event::Serving(_)
            | Event::ServingEnded(_) => {}
        }
    }

    fn last_step(&self) -> u64 {
        self.steps.last_key_value().map_or(0, |(&step, _)| step)
    }

    /// The last test.
    pub fn last_test(&self) -> Option<&Tested> {
        self.tests.last_key_value().map(|(_, tested)| tested)
    }

    /// Median time of a step, in milliseconds.
    pub fn median_step_ms(&self) -> Option<f64> {
        let mut times: Vec<f64> = self.steps.values().map(|s| s.milliseconds).collect();
        times.sort_unstable_by(f64::total_cmp);
        times.get(times.len() / 2).copied()
    }

    /// Time spent in steps, in seconds, as far as the record has them.
    pub fn train_seconds(&self) -> f64 {
        self.steps.values().map(|s| s.milliseconds).sum::<f64>() / 1e3
    }
}
