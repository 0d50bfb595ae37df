//! What of the training a layer pod has to know.

use super::{OptimizerSpec, ParameterSetting, ScheduleSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How one layer learns: what of the training its pod has to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Learning {
    /// How parameters follow their gradients.
    pub optimizer: OptimizerSpec,
    /// One for each parameter, in model order.
    pub settings: Vec<ParameterSetting>,
    /// How the learning rate changes.
    pub schedule: ScheduleSpec,
    /// Steps of the whole training.
    pub total_steps: u64,
    /// Whether a step waits for the owner's word on how to scale the gradients.
    pub clips: bool,
    /// Element type of matrix products and of what travels.
    pub precision: Precision,
    /// Whether the parameters stay as they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
}

impl Learning {
    /// The factor of the learning rate in a step, from 1.
    pub fn factor(&self, step: u64) -> f64 {
        self.schedule.factor(step, self.total_steps)
    }
}

/// Element type of matrix products and of what travels between layers. Parameters, optimizer state
/// and losses are f32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Precision {
    /// IEEE 754 binary32.
    #[default]
    F32,
    /// Brain floating point, 8 bits of exponent and 7 of fraction: half the bytes between layers.
    Bf16,
}
