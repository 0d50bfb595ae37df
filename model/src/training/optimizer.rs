//! How parameters follow their gradients.

use super::Checks;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How parameters follow their gradients. Formulas and defaults are PyTorch's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum OptimizerSpec {
    /// Stochastic gradient descent.
    Sgd(SgdSpec),
    /// Adam (arXiv 1412.6980).
    Adam(AdamSpec),
    /// Adam with decoupled weight decay (arXiv 1711.05101).
    #[serde(rename = "adamw")]
    AdamW(AdamWSpec),
    /// RMSprop (arXiv 1308.0850).
    #[serde(rename = "rmsprop")]
    RmsProp(RmsPropSpec),
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
    /// Share of a new gradient that momentum leaves out, from 0 to 1.
    #[serde(default)]
    pub dampening: f64,
    /// Looks ahead along the momentum. Takes a momentum above 0 and no dampening.
    #[serde(default)]
    pub nesterov: bool,
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
    #[serde(default = "small")]
    pub eps: f64,
    /// L2 penalty, from 0.
    #[serde(default)]
    pub weight_decay: f64,
}

/// `torch.optim.AdamW`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdamWSpec {
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
    #[serde(default = "small")]
    pub eps: f64,
    /// Share of a parameter that a step of learning rate 1 takes away, from 0.
    #[serde(default = "adamw_decay")]
    pub weight_decay: f64,
}

/// `torch.optim.RMSprop`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RmsPropSpec {
    /// Learning rate, above 0.
    #[serde(default = "rmsprop_lr")]
    pub lr: f64,
    /// Decay of the mean of squared gradients, from 0, below 1.
    #[serde(default = "rmsprop_alpha")]
    pub alpha: f64,
    /// Added to the denominator, above 0.
    #[serde(default = "small")]
    pub eps: f64,
    /// Share of the last update that is kept, from 0.
    #[serde(default)]
    pub momentum: f64,
    /// Divides by the standard deviation of gradients instead of their root mean square.
    #[serde(default)]
    pub centered: bool,
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
const fn small() -> f64 {
    1e-8
}
const fn adamw_decay() -> f64 {
    1e-2
}
const fn rmsprop_lr() -> f64 {
    1e-2
}
const fn rmsprop_alpha() -> f64 {
    0.99
}

impl OptimizerSpec {
    /// The learning rate before any schedule.
    pub const fn lr(&self) -> f64 {
        match self {
            Self::Sgd(o) => o.lr,
            Self::Adam(o) => o.lr,
            Self::AdamW(o) => o.lr,
            Self::RmsProp(o) => o.lr,
        }
    }

    /// The weight decay of parameters that no group names.
    pub const fn weight_decay(&self) -> f64 {
        match self {
            Self::Sgd(o) => o.weight_decay,
            Self::Adam(o) => o.weight_decay,
            Self::AdamW(o) => o.weight_decay,
            Self::RmsProp(o) => o.weight_decay,
        }
    }

    /// The most tensors of a parameter's size that it keeps beside the parameter.
    pub fn moments(&self) -> usize {
        match self {
            Self::Sgd(o) => usize::from(o.momentum > 0.0),
            Self::Adam(_) | Self::AdamW(_) => 2,
            Self::RmsProp(o) => 1 + usize::from(o.momentum > 0.0) + usize::from(o.centered),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Sgd(_) => "sgd",
            Self::Adam(_) => "adam",
            Self::AdamW(_) => "adamw",
            Self::RmsProp(_) => "rmsprop",
        }
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        let at = |field: &str| format!("training.optimizer.{}.{field}", self.name());
        checks.above_zero(at("lr"), self.lr());
        checks.at_least_zero(at("weightDecay"), self.weight_decay());
        match self {
            Self::Sgd(o) => {
                checks.at_least_zero(at("momentum"), o.momentum);
                checks.require((0.0..=1.0).contains(&o.dampening), at("dampening"), || {
                    format!("is {}; it must be from 0 to 1", o.dampening)
                });
                let fits = !o.nesterov || (o.momentum > 0.0 && o.dampening == 0.0);
                checks.require(fits, at("nesterov"), || {
                    "takes a momentum above 0 and no dampening".into()
                });
            }
            Self::Adam(AdamSpec { beta1, beta2, eps, .. })
            | Self::AdamW(AdamWSpec { beta1, beta2, eps, .. }) => {
                checks.below_one(at("beta1"), *beta1);
                checks.below_one(at("beta2"), *beta2);
                checks.above_zero(at("eps"), *eps);
            }
            Self::RmsProp(o) => {
                checks.below_one(at("alpha"), o.alpha);
                checks.above_zero(at("eps"), o.eps);
                checks.at_least_zero(at("momentum"), o.momentum);
            }
        }
    }
}
