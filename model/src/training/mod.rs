//! How a model is trained: data, batches, optimizer, schedule, loss.

mod checks;
mod groups;
mod learning;
mod loss;
mod optimizer;
mod schedule;

pub(crate) use checks::Checks;
pub use groups::{ParameterGroup, ParameterSetting};
pub use learning::{Learning, Precision};
pub use loss::{LossFunction, LossPlacement, LossSpec};
pub use optimizer::{AdamSpec, AdamWSpec, OptimizerSpec, RmsPropSpec, SgdSpec};
pub use schedule::{Constant, DecaySpec, FallingDecay, ScheduleSpec, StepDecay};

use crate::dataset::{DataSource, DatasetSpec};
use crate::error::ModelError;
use crate::limits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the model is trained and tested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrainingSpec {
    /// What it learns from.
    pub dataset: DatasetSpec,
    /// Where the files of the dataset are; `--data` stands before it. Not needed for generated data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_from: Option<DataSource>,
    /// Samples per optimizer step, divided by `accumulate`. The last batch of an epoch may be
    /// smaller; it is left out if it has fewer samples than micro-batches.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub batch_size: u32,
    /// Parts into which a batch is cut, so that several layers compute at once. It is a part of the
    /// result's bits: gradients are summed micro-batch by micro-batch.
    #[serde(default = "default_micro_batches")]
    #[schemars(range(min = 1, max = 1024))]
    pub micro_batches: u32,
    /// Batches whose gradients are summed for one optimizer step. No more than one batch is on its
    /// way at a time, so that layers need no more memory.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub accumulate: u32,
    /// Passes over the training data.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub epochs: u32,
    /// How parameters follow their gradients.
    pub optimizer: OptimizerSpec,
    /// Parameters that learn otherwise than the rest, for example without weight decay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub parameter_groups: Vec<ParameterGroup>,
    /// How the learning rate changes over the steps.
    #[serde(default)]
    pub schedule: ScheduleSpec,
    /// The largest norm of the gradient of all parameters together; a larger one is scaled down
    /// (`torch.nn.utils.clip_grad_norm_`). Costs a message to and from each layer a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// What is minimised, and who computes it.
    #[serde(default)]
    pub loss: LossSpec,
    /// Element type of matrix products and of what travels between layers.
    #[serde(default)]
    pub precision: Precision,
    /// Steps between tests; an epoch if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub test_every: Option<u32>,
    /// Ends the training when tests no longer get better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Where the owner's 256-bit secret is kept, from which initial weights, dropout and shuffling
    /// follow. Made at first use if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_from: Option<SeedSource>,
}

const fn default_micro_batches() -> u32 {
    4
}

const fn one() -> u32 {
    1
}

/// When to end before the last epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EarlyStopping {
    /// What a test is judged by.
    #[serde(default)]
    pub metric: Metric,
    /// So many tests in a row that are no better than the best one end the training.
    #[schemars(range(min = 1))]
    pub patience: u32,
    /// By how much a test must be better to count, from 0.
    #[serde(default)]
    pub min_delta: f64,
}

/// What a test is judged by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Metric {
    /// The mean loss: less is better.
    #[default]
    Loss,
    /// The share of right answers: more is better.
    Accuracy,
}

/// Where the owner's secret is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeedSource {
    /// A key of a Secret in the model's namespace.
    pub secret_key_ref: SecretKeyRef,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key within it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

impl TrainingSpec {
    /// Micro-batches of one optimizer step.
    pub const fn micro_batches_per_step(&self) -> u32 {
        self.micro_batches * self.accumulate
    }

    /// Samples of one optimizer step.
    pub const fn samples_per_step(&self) -> u32 {
        self.batch_size * self.accumulate
    }

    /// All that is wrong by itself, whatever the layers are.
    pub(crate) fn problems(&self) -> Vec<ModelError> {
        let mut checks = Checks::default();
        let (b, m) = (self.batch_size, self.micro_batches);
        checks.whole("training.batchSize", b, limits::BATCH);
        checks.whole("training.microBatches", m, limits::MICRO_BATCHES);
        checks.require(m <= b.max(1), "training.microBatches", || {
            format!("is {m}, more than the {b} samples of a batch")
        });
        checks.whole("training.accumulate", self.accumulate, limits::MICRO_BATCHES);
        let parts = m.saturating_mul(self.accumulate);
        checks.require(parts <= limits::MICRO_BATCHES, "training.accumulate", || {
            let most = limits::MICRO_BATCHES;
            format!("makes a step of {parts} micro-batches; the most is {most}")
        });
        checks.whole("training.epochs", self.epochs, 1_000_000);
        self.optimizer.check(&mut checks);
        for (i, group) in self.parameter_groups.iter().enumerate() {
            group.check(&format!("training.parameterGroups[{i}]"), &mut checks);
        }
        self.schedule.check(&mut checks);
        self.clip_norm.iter().for_each(|&norm| checks.above_zero("training.clipNorm", norm));
        self.loss.check(&mut checks);
        checks.require(self.test_every != Some(0), "training.testEvery", || {
            "is 0; it must be at least 1".into()
        });
        if let Some(stop) = &self.early_stopping {
            checks.require(stop.patience > 0, "training.earlyStopping.patience", || {
                "is 0; it must be at least 1".into()
            });
            checks.at_least_zero("training.earlyStopping.minDelta", stop.min_delta);
        }
        let mut problems = self.dataset.problems();
        problems.extend(checks.into_problems());
        problems
    }
}
