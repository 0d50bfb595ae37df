//! How a model is trained: data, batches, optimizer, loss.

use crate::dataset::{DataSource, DatasetSpec};
use crate::error::ModelError;
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
    /// Samples per optimizer step. The last batch of an epoch may be smaller; it is left out if it
    /// has fewer samples than micro-batches.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub batch_size: u32,
    /// Parts into which a batch is cut, so that several layers compute at once. It is a part of the
    /// result's bits: gradients are summed micro-batch by micro-batch.
    #[serde(default = "default_micro_batches")]
    #[schemars(range(min = 1, max = 1024))]
    pub micro_batches: u32,
    /// Passes over the training data.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub epochs: u32,
    /// How parameters follow their gradients.
    pub optimizer: OptimizerSpec,
    /// What is minimised, and who computes it.
    #[serde(default)]
    pub loss: LossSpec,
    /// Where the owner's 256-bit secret is kept, from which initial weights, dropout and shuffling
    /// follow. Made at first use if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_from: Option<SeedSource>,
}

const fn default_micro_batches() -> u32 {
    4
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

/// How parameters follow their gradients. Formulas and defaults are PyTorch's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// Stochastic gradient descent.
    Sgd(SgdSpec),
    /// Adam (arXiv 1412.6980).
    Adam(AdamSpec),
}

/// `torch.optim.SGD`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SgdSpec {
    /// Learning rate, above 0.
    pub lr: f64,
    /// Share of the last update that is kept, from 0.
    #[serde(default)]
    pub momentum: f64,
    /// L2 penalty, from 0.
    #[serde(default)]
    pub weight_decay: f64,
}

/// `torch.optim.Adam`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdamSpec {
    /// Learning rate, above 0.
    #[serde(default = "adam_lr")]
    pub lr: f64,
    /// Decay of the mean of gradients, from 0, below 1.
    #[serde(default = "adam_beta1")]
    pub beta1: f64,
    /// Decay of the mean of squared gradients, from 0, below 1.
    #[serde(default = "adam_beta2")]
    pub beta2: f64,
    /// Added to the denominator, above 0.
    #[serde(default = "adam_eps")]
    pub eps: f64,
    /// L2 penalty, from 0.
    #[serde(default)]
    pub weight_decay: f64,
}

const fn adam_lr() -> f64 {
    1e-3
}
const fn adam_beta1() -> f64 {
    0.9
}
const fn adam_beta2() -> f64 {
    0.999
}
const fn adam_eps() -> f64 {
    1e-8
}

/// What is minimised, and who computes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LossSpec {
    /// The function.
    #[serde(default)]
    pub function: LossFunction,
    /// Who computes it.
    #[serde(default)]
    pub placement: LossPlacement,
}

/// The function that is minimised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LossFunction {
    /// Mean over the batch of -log softmax(output)[label].
    #[default]
    CrossEntropy,
}

/// Who computes the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LossPlacement {
    /// The owner's designer: labels never leave it (though the gradient tells them to the last layer).
    #[default]
    Designer,
    /// The last layer: labels are sent to it, and one message a micro-batch is saved.
    LastLayer,
}

impl TrainingSpec {
    pub(crate) fn problems(&self) -> Vec<ModelError> {
        let mut out = self.dataset.problems();
        let mut check = |ok: bool, field, problem: &dyn Fn() -> String| {
            if !ok {
                out.push(ModelError::Field { field, problem: problem() });
            }
        };
        let whole =
            |value: u32, most: u32| move || format!("is {value}; it must be from 1 to {most}");
        let within = |v: u32, most: u32| (1..=most).contains(&v);
        let (b, m) = (self.batch_size, self.micro_batches);
        check(within(b, 1 << 20), "training.batchSize", &whole(b, 1 << 20));
        check(within(m, 1024), "training.microBatches", &whole(m, 1024));
        check(m <= b.max(1), "training.microBatches", &|| {
            format!("is {m}, more than the {b} samples of a batch")
        });
        check(within(self.epochs, 1_000_000), "training.epochs", &whole(self.epochs, 1_000_000));
        let above = |v: f64| v.is_finite() && v > 0.0;
        let share = |v: f64| (0.0..1.0).contains(&v);
        let from_zero = |v: f64| v.is_finite() && v >= 0.0;
        let must = |v: f64, what: &'static str| move || format!("is {v}; it must be {what}");
        match &self.optimizer {
            OptimizerSpec::Sgd(o) => {
                check(above(o.lr), "training.optimizer.sgd.lr", &must(o.lr, "above 0"));
                check(
                    from_zero(o.momentum),
                    "training.optimizer.sgd.momentum",
                    &must(o.momentum, "at least 0"),
                );
                check(
                    from_zero(o.weight_decay),
                    "training.optimizer.sgd.weightDecay",
                    &must(o.weight_decay, "at least 0"),
                );
            }
            OptimizerSpec::Adam(o) => {
                check(above(o.lr), "training.optimizer.adam.lr", &must(o.lr, "above 0"));
                check(
                    share(o.beta1),
                    "training.optimizer.adam.beta1",
                    &must(o.beta1, "at least 0 and below 1"),
                );
                check(
                    share(o.beta2),
                    "training.optimizer.adam.beta2",
                    &must(o.beta2, "at least 0 and below 1"),
                );
                check(above(o.eps), "training.optimizer.adam.eps", &must(o.eps, "above 0"));
                check(
                    from_zero(o.weight_decay),
                    "training.optimizer.adam.weightDecay",
                    &must(o.weight_decay, "at least 0"),
                );
            }
        }
        out
    }
}
