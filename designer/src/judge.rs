//! When to test, and when tests end the training.

use mixnn_events::Tested;
use mixnn_model::{EarlyStopping, Metric, TrainingSpec};

/// Knows after which steps to test, and judges the tests.
pub(crate) struct Judge {
    every: u64,
    total: u64,
    stop: Option<EarlyStopping>,
    best: Option<f64>,
    /// Tests in a row that were no better than the best one.
    worse: u32,
}

impl Judge {
    pub(crate) fn new(training: &TrainingSpec, steps_per_epoch: u64) -> Self {
        Self {
            every: training.test_every.map_or(steps_per_epoch, u64::from).max(1),
            total: u64::from(training.epochs) * steps_per_epoch,
            stop: training.early_stopping.clone(),
            best: None,
            worse: 0,
        }
    }

    /// Whether to test after this step, from 1. The last one is tested always.
    pub(crate) const fn is_due(&self, step: u64) -> bool {
        step.is_multiple_of(self.every) || step == self.total
    }

    /// Takes a test; gives whether to end.
    pub(crate) fn is_enough(&mut self, tested: &Tested) -> bool {
        let Some(stop) = &self.stop else { return false };
        let score = match stop.metric {
            Metric::Loss => -tested.loss,
            Metric::Accuracy => tested.accuracy().unwrap_or(0.0),
        };
        if self.best.is_none_or(|best| score > best + stop.min_delta) {
            (self.best, self.worse) = (Some(score), 0);
        } else {
            self.worse += 1;
        }
        self.worse >= stop.patience
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn judge(more: serde_json::Value) -> Judge {
        let mut training = json!({"dataset": {"digits": {"train": 10, "test": 10}}, "batchSize": 4,
            "epochs": 3, "optimizer": {"sgd": {"lr": 0.1}}});
        training.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Judge::new(&serde_json::from_value(training).unwrap(), 5)
    }

    fn tested(loss: f64, correct: u64) -> Tested {
        Tested { epoch: 1, loss, answers: 10, correct, top5: None, perplexity: None, samples: 10 }
    }

    #[test]
    fn tests_are_due_after_epochs_or_as_often_as_asked_for_and_at_the_end() {
        let due = |judge: &Judge| (1..=15).filter(|&s| judge.is_due(s)).collect::<Vec<u64>>();
        assert_eq!(due(&judge(json!({}))), [5, 10, 15]);
        assert_eq!(due(&judge(json!({"testEvery": 4}))), [4, 8, 12, 15]);
    }

    #[test]
    fn patience_is_counted_from_the_best_test() {
        let mut by_loss = judge(json!({"earlyStopping": {"patience": 2, "minDelta": 0.1}}));
        let losses = [1.0, 0.5, 0.45, 0.3, 0.31, 0.29];
        let ends: Vec<bool> = losses.map(|l| by_loss.is_enough(&tested(l, 0))).into();
        assert_eq!(ends, [false, false, false, false, false, true]);
        let mut by_accuracy =
            judge(json!({"earlyStopping": {"patience": 1, "metric": "Accuracy"}}));
        assert!(!by_accuracy.is_enough(&tested(9.0, 5)));
        assert!(!by_accuracy.is_enough(&tested(9.0, 6)));
        assert!(by_accuracy.is_enough(&tested(0.1, 6)));
        let mut never = judge(json!({}));
        assert!((0..9).all(|_| !never.is_enough(&tested(1.0, 0))));
    }
}
