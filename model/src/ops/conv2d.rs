//! `torch.nn.Conv2d` with square kernels.

use super::{Operation, one, size, windows, yes};
use crate::parameter::weight_and_bias;
use crate::{Parameter, Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A 2-d convolution with weights of shape [out, in, kernel, kernel] and zero padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Conv2d {
    /// Channels of the input.
    #[serde(rename = "in")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub inputs: u32,
    /// Channels of the output.
    #[serde(rename = "out")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub outputs: u32,
    /// Side of the square kernel.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub kernel: u32,
    /// How far the kernel moves at a time.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub stride: u32,
    /// Zeros added on every side.
    #[serde(default)]
    #[schemars(range(max = 16_777_216))]
    pub padding: u32,
    /// Whether a learned bias is added to every channel.
    #[serde(default = "yes")]
    pub bias: bool,
}

impl Operation for Conv2d {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let (inputs, outputs) = (size("in", self.inputs)?, size("out", self.outputs)?);
        let (kernel, stride) = (size("kernel", self.kernel)?, size("stride", self.stride)?);
        let padding = if self.padding == 0 { 0 } else { size("padding", self.padding)? };
        let [channels, height, width] = input.picture()?;
        if channels != inputs {
            return Err(ShapeError(format!(
                "expects {inputs} channels, its input has shape {input}: set in to {channels}"
            )));
        }
        let weight = [outputs, inputs, kernel, kernel];
        Shape::new(weight.as_slice())?;
        Shape::new([
            outputs,
            windows(height, kernel, stride, padding)?,
            windows(width, kernel, stride, padding)?,
        ])
    }

    fn parameters(&self) -> Vec<Parameter> {
        let kernel = i64::from(self.kernel);
        let shape = vec![i64::from(self.outputs), i64::from(self.inputs), kernel, kernel];
        weight_and_bias(shape, self.bias)
    }
}
