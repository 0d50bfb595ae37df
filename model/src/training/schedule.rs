//! How the learning rate changes over the steps.

use super::Checks;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate changes: a linear warm-up, then a decay. Both give a factor by which the
/// optimizer's learning rate is multiplied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Steps over which the factor rises in equal parts to 1; none if 0.
    #[serde(default)]
    pub warmup_steps: u32,
    /// What comes after the warm-up.
    #[serde(default)]
    pub decay: DecaySpec,
}

/// How the learning rate falls after the warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum DecaySpec {
    /// Not at all.
    Constant(Constant),
    /// By a factor, every so many steps (`torch.optim.lr_scheduler.StepLR`).
    Step(StepDecay),
    /// Along half a cosine (`CosineAnnealingLR`; arXiv 1608.03983, without restarts).
    Cosine(FallingDecay),
    /// In a straight line (`LinearLR`).
    Linear(FallingDecay),
}

impl Default for DecaySpec {
    fn default() -> Self {
        Self::Constant(Constant {})
    }
}

/// No decay. It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Constant {}

/// Decay in stairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StepDecay {
    /// Steps on each stair.
    #[schemars(range(min = 1))]
    pub every: u32,
    /// By what each stair multiplies the one before, above 0.
    #[serde(default = "tenth")]
    pub factor: f64,
}

/// Decay from 1 down to a floor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FallingDecay {
    /// Steps until the floor, without the warm-up; all that are left if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub steps: Option<u32>,
    /// The floor, from 0 to 1.
    #[serde(default)]
    pub floor: f64,
}

const fn tenth() -> f64 {
    0.1
}

impl ScheduleSpec {
    /// The factor of a step, from 1, in a training of `total` steps.
    ///
    /// Step `s` is `last_epoch = s - 1` of PyTorch's schedulers.
    ///
    /// ```
    /// use mixnn_model::{DecaySpec, FallingDecay, ScheduleSpec};
    /// let cosine = DecaySpec::Cosine(FallingDecay { steps: None, floor: 0.1 });
    /// let schedule = ScheduleSpec { warmup_steps: 2, decay: cosine };
    /// assert_eq!(schedule.factor(1, 10), 0.5);
    /// assert_eq!(schedule.factor(3, 10), 1.0);
    /// assert_eq!(schedule.factor(7, 10), 0.55);
    /// ```
    pub fn factor(&self, step: u64, total: u64) -> f64 {
        let done = step.saturating_sub(1);
        let warmup = u64::from(self.warmup_steps);
        if done < warmup {
            return step as f64 / warmup as f64;
        }
        let (done, left) = (done - warmup, total.saturating_sub(warmup));
        match &self.decay {
            DecaySpec::Constant(_) => 1.0,
            DecaySpec::Step(d) => d.factor.powf((done / u64::from(d.every.max(1))) as f64),
            DecaySpec::Cosine(d) => {
                let angle = std::f64::consts::PI * d.progress(done, left);
                d.floor + (1.0 - d.floor) * f64::midpoint(1.0, angle.cos())
            }
            DecaySpec::Linear(d) => 1.0 - (1.0 - d.floor) * d.progress(done, left),
        }
    }

    pub(super) fn check(&self, checks: &mut Checks) {
        let share = |v: f64| (0.0..=1.0).contains(&v);
        match &self.decay {
            DecaySpec::Constant(_) => {}
            DecaySpec::Step(d) => {
                checks.require(d.every > 0, "training.schedule.decay.step.every", || {
                    "is 0; it must be at least 1".into()
                });
                checks.above_zero("training.schedule.decay.step.factor", d.factor);
            }
            DecaySpec::Cosine(d) | DecaySpec::Linear(d) => {
                let kind =
                    if matches!(self.decay, DecaySpec::Cosine(_)) { "cosine" } else { "linear" };
                let at = |field: &str| format!("training.schedule.decay.{kind}.{field}");
                checks.require(share(d.floor), at("floor"), || {
                    format!("is {}; it must be from 0 to 1", d.floor)
                });
                checks.require(d.steps != Some(0), at("steps"), || {
                    "is 0; it must be at least 1".into()
                });
            }
        }
    }
}

impl FallingDecay {
    /// How far down, from 0 to 1.
    fn progress(&self, done: u64, left: u64) -> f64 {
        let steps = self.steps.map_or(left, u64::from).max(1);
        (done as f64 / steps as f64).min(1.0)
    }
}
