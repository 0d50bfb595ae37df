//! Times of steps, and sums of tests.

use mixnn_events::{Outcome, Tested};
use mixnn_model::Labels;
use mixnn_nn::Tally;
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

    pub(crate) fn outcome(&self, committed: u64, tested: Tested, digest: &[u8; 32]) -> Outcome {
        let total: Duration = self.steps.iter().sum();
        let mut sorted = self.steps.clone();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        Outcome {
            tested,
            steps: committed,
            median_step_ms: median.as_secs_f64() * 1e3,
            train_seconds: total.as_secs_f64(),
            digest: hex::encode(digest),
        }
    }
}

/// Sums the batches of a test.
pub(crate) struct TestSum {
    epoch: u32,
    loss: f64,
    tally: Tally,
    samples: u64,
}

impl TestSum {
    pub(crate) fn new(epoch: u32) -> Self {
        Self { epoch, loss: 0.0, tally: Tally::default(), samples: 0 }
    }

    /// Adds a batch with its mean loss.
    pub(crate) fn add(&mut self, (loss, tally): (f64, Tally), samples: usize) {
        self.loss += loss * samples as f64;
        self.tally += tally;
        self.samples += samples as u64;
    }

    pub(crate) fn finish(self, labels: &Labels) -> Tested {
        let loss = self.loss / self.samples.max(1) as f64;
        Tested {
            epoch: self.epoch,
            loss,
            answers: self.tally.answers,
            correct: self.tally.correct,
            top5: labels.classes().filter(|&classes| classes > 5).map(|_| self.tally.top5),
            perplexity: matches!(labels, Labels::Tokens { .. }).then(|| loss.exp()),
            samples: self.samples,
        }
    }
}
