//! `torch.nn.Linear`.

use super::{Operation, size, yes};
use crate::parameter::weight_and_bias;
use crate::{Parameter, Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `y = x W^T + b` along the last dimension, with `W` of shape [out, in].
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
        match input.sizes() {
            [before @ .., last] if *last == inputs => {
                Shape::new([inputs.saturating_mul(outputs)])?;
                Shape::new([before, &[outputs]].concat())
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
        let outputs = i64::from(self.outputs);
        weight_and_bias(vec![outputs, i64::from(self.inputs)], self.bias.then_some(outputs))
    }

    fn flops(&self, input: &Shape) -> u64 {
        let per_output = 2 * u64::from(self.inputs) + u64::from(self.bias);
        self.output(input).map_or(0, |out| (out.elements() as u64).saturating_mul(per_output))
    }
}
