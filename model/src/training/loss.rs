//! What is minimised, and who computes it.

use super::Checks;
use crate::{Labels, Shape};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is minimised, and who computes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LossSpec {
    /// The function.
    #[serde(default)]
    pub function: LossFunction,
    /// Share of the target that is spread over all classes, from 0, below 1 (cross entropy only;
    /// arXiv 1512.00567).
    #[serde(default)]
    pub label_smoothing: f64,
    /// Who computes it.
    #[serde(default)]
    pub placement: LossPlacement,
}

/// The function that is minimised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LossFunction {
    /// Mean of -log softmax(output)[label], over samples (labels: a class each) or over all
    /// positions (labels: a token each).
    #[default]
    CrossEntropy,
    /// Mean of (output - label)^2 over all numbers.
    MeanSquaredError,
    /// Mean of -label log s - (1 - label) log(1 - s) with s = sigmoid(output), over all bits.
    BinaryCrossEntropy,
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

impl LossSpec {
    pub(super) fn check(&self, checks: &mut Checks) {
        let smoothing = self.label_smoothing;
        let at = "training.loss.labelSmoothing";
        checks.below_one(at, smoothing);
        let fits = smoothing == 0.0 || self.function == LossFunction::CrossEntropy;
        checks.require(fits, at, || "goes with CrossEntropy only".into());
    }

    /// Why a model's output and its labels do not go together under this loss, if they do not.
    pub(crate) fn problem(
        &self,
        output: &Shape,
        labels: &Labels,
    ) -> Option<(&'static str, String)> {
        let function = self.function;
        let fits = matches!(
            (function, labels),
            (LossFunction::CrossEntropy, Labels::Class { .. } | Labels::Tokens { .. })
                | (LossFunction::MeanSquaredError, Labels::Values(_))
                | (LossFunction::BinaryCrossEntropy, Labels::Bits(_))
        );
        if !fits {
            let right = match labels {
                Labels::Class { .. } | Labels::Tokens { .. } => "CrossEntropy",
                Labels::Values(_) => "MeanSquaredError",
                Labels::Bits(_) => "BinaryCrossEntropy",
            };
            return Some((
                "training.loss.function",
                format!("is {function:?}; the dataset's labels are {labels}: set it to {right}"),
            ));
        }
        let wanted = labels.output();
        (output.sizes() != wanted.as_slice()).then(|| {
            let function = match function {
                LossFunction::CrossEntropy => "cross entropy",
                LossFunction::MeanSquaredError => "mean squared error",
                LossFunction::BinaryCrossEntropy => "binary cross entropy",
            };
            (
                "layers",
                format!("the last layer gives {output}; {function} over {labels} takes {wanted:?}"),
            )
        })
    }
}
