//! `torch.nn.ConvTranspose2d` with square kernels.

use super::conv::{channels, expect_channels};
use super::{Operation, one, size, size_or_none, yes};
use crate::parameter::weight_and_bias;
use crate::{Parameter, Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A 2-d transposed convolution with weights of shape [in, out / groups, kernel, kernel].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConvTranspose2d {
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
    /// How far apart the points of the input are put.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub stride: u32,
    /// By how much every side of the output is cut.
    #[serde(default)]
    #[schemars(range(max = 16_777_216))]
    pub padding: u32,
    /// Rows and columns added at one end, below the stride.
    #[serde(default)]
    #[schemars(range(max = 16_777_216))]
    pub output_padding: u32,
    /// Parts into which channels are cut.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub groups: u32,
    /// Whether a learned bias is added to every channel.
    #[serde(default = "yes")]
    pub bias: bool,
}

impl ConvTranspose2d {
    fn weight(&self) -> Vec<i64> {
        let outputs = i64::from(self.outputs) / i64::from(self.groups.max(1));
        let kernel = i64::from(self.kernel);
        vec![i64::from(self.inputs), outputs, kernel, kernel]
    }

    fn side(&self, side: usize) -> Result<usize, ShapeError> {
        let (kernel, stride) = (size("kernel", self.kernel)?, size("stride", self.stride)?);
        let padding = size_or_none("padding", self.padding)?;
        let more = size_or_none("outputPadding", self.output_padding)?;
        if more >= stride {
            return Err(ShapeError(format!(
                "outputPadding is {more}; it must be below the stride of {stride}"
            )));
        }
        let whole = (side - 1).saturating_mul(stride) + kernel + more;
        whole.checked_sub(2 * padding).filter(|&s| s > 0).ok_or_else(|| {
            ShapeError(format!("padding of {padding} leaves nothing of a side of {whole}"))
        })
    }
}

impl Operation for ConvTranspose2d {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let outputs = channels(self.inputs, self.outputs, self.groups)?;
        let [_, height, width] = input.picture()?;
        expect_channels(self.inputs, input)?;
        size("kernel", self.kernel)?;
        Shape::new(self.weight().iter().map(|&s| s as usize).collect::<Vec<_>>())?;
        Shape::new([outputs, self.side(height)?, self.side(width)?])
    }

    fn parameters(&self) -> Vec<Parameter> {
        weight_and_bias(self.weight(), self.bias.then_some(i64::from(self.outputs)))
    }

    fn flops(&self, input: &Shape) -> u64 {
        let Ok(output) = self.output(input) else { return 0 };
        let products = self.weight()[1..].iter().product::<i64>() as u64;
        let bias = if self.bias { output.elements() as u64 } else { 0 };
        (2 * input.elements() as u64).saturating_mul(products).saturating_add(bias)
    }
}
