//! `torch.nn.Linear`.

use super::{Operation, size, yes};
use crate::parameter::weight_and_bias;
use crate::{Parameter, Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `y = x W^T + b`, with `W` of shape [out, in].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Linear {
    /// Features of the input.
    #[serde(rename = "in")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub inputs: u32,
    /// Features of the output.
    #[serde(rename = "out")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub outputs: u32,
    /// Whether a learned bias is added.
    #[serde(default = "yes")]
    pub bias: bool,
}

impl Operation for Linear {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let (inputs, outputs) = (size("in", self.inputs)?, size("out", self.outputs)?);
        match *input.sizes() {
            [n] if n == inputs => {
                Shape::new([inputs.saturating_mul(outputs)])?;
                Shape::new([outputs])
            }
            [_] => Err(ShapeError(format!(
                "expects {inputs} features, its input has shape {input}: set in to {}",
                input.elements()
            ))),
            _ => Err(ShapeError(format!(
                "expects {inputs} features, its input has shape {input}: add a flatten before it{}",
                if input.elements() == inputs {
                    String::new()
                } else {
                    format!(" and set in to {}", input.elements())
                }
            ))),
        }
    }

    fn parameters(&self) -> Vec<Parameter> {
        weight_and_bias(vec![i64::from(self.outputs), i64::from(self.inputs)], self.bias)
    }
}
