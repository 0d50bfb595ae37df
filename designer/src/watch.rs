//! Times of steps, and sums of tests.

use mixnn_events::{Outcome, Tested};
use std::time::{Duration, Instant};

/// Times every step.
pub(crate) struct StepWatch {
    last: Instant,
    steps: Vec<Duration>,
}

impl StepWatch {
    pub(crate) fn new() -> Self {
        Self { last: Instant::now(), steps: Vec::new() }
    }

    /// Training goes on after a pause.
    pub(crate) fn resume(&mut self) {
        self.last = Instant::now();
    }

    /// A step has been committed; gives its milliseconds.
    pub(crate) fn lap(&mut self) -> f64 {
        let now = Instant::now();
        let lap = now - self.last;
        self.last = now;
        self.steps.push(lap);
        lap.as_secs_f64() * 1e3
    }

    pub(crate) fn outcome(mut self, tested: Tested, digest: &[u8; 32]) -> Outcome {
        let total: Duration = self.steps.iter().sum();
        self.steps.sort_unstable();
        let median = self.steps.get(self.steps.len() / 2).copied().unwrap_or_default();
        Outcome {
            tested,
            steps: self.steps.len() as u64,
            median_step_ms: median.as_secs_f64() * 1e3,
            train_seconds: total.as_secs_f64(),
            digest: hex::encode(digest),
        }
    }
}

/// Sums the batches of a test.
pub(crate) struct TestSum(Tested);

impl TestSum {
    pub(crate) const fn new(epoch: u32) -> Self {
        Self(Tested { epoch, loss: 0.0, correct: 0, samples: 0 })
    }

    /// Adds a batch with its mean loss.
    pub(crate) fn add(&mut self, loss: f64, correct: u32, samples: usize) {
        self.0.loss += loss * samples as f64;
        self.0.correct += u64::from(correct);
        self.0.samples += samples as u64;
    }

    pub(crate) fn finish(mut self) -> Tested {
        self.0.loss /= self.0.samples.max(1) as f64;
        self.0
    }
}
