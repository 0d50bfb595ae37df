//! `torch.nn.Conv1d` and `torch.nn.Conv2d` with square kernels and zero padding.

use super::{Operation, Window, one, size, size_or_none, yes};
use crate::parameter::weight_and_bias;
use crate::{Parameter, Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! convolutions {
    ($($(#[$doc:meta])* $name:ident over $sides:literal, $expected:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            /// Channels of the input.
            #[serde(rename = "in")]
            #[schemars(range(min = 1, max = 16_777_216))]
            pub inputs: u32,
            /// Channels of the output.
            #[serde(rename = "out")]
            #[schemars(range(min = 1, max = 16_777_216))]
            pub outputs: u32,
            /// Side of the kernel.
            #[schemars(range(min = 1, max = 16_777_216))]
            pub kernel: u32,
            /// How far the kernel moves at a time.
            #[serde(default = "one")]
            #[schemars(range(min = 1, max = 16_777_216))]
            pub stride: u32,
            /// Zeros added at every end.
            #[serde(default)]
            #[schemars(range(max = 16_777_216))]
            pub padding: u32,
            /// Distance between the kernel's points.
            #[serde(default = "one")]
            #[schemars(range(min = 1, max = 16_777_216))]
            pub dilation: u32,
            /// Parts into which channels are cut; each output sees the inputs of its part only.
            #[serde(default = "one")]
            #[schemars(range(min = 1, max = 16_777_216))]
            pub groups: u32,
            /// Whether a learned bias is added to every channel.
            #[serde(default = "yes")]
            pub bias: bool,
        }

        impl $name {
            fn weight(&self) -> Vec<i64> {
                let inputs = i64::from(self.inputs) / i64::from(self.groups.max(1));
                let mut shape = vec![i64::from(self.outputs), inputs];
                shape.extend([i64::from(self.kernel); $sides]);
                shape
            }
        }

        impl Operation for $name {
            fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
                let outputs = channels(self.inputs, self.outputs, self.groups)?;
                let window = Window {
                    kernel: size("kernel", self.kernel)?,
                    stride: size("stride", self.stride)?,
                    padding: size_or_none("padding", self.padding)?,
                    dilation: size("dilation", self.dilation)?,
                };
                let sizes: [usize; $sides + 1] = input.dimensions($expected)?;
                expect_channels(self.inputs, input)?;
                Shape::new(self.weight().iter().map(|&s| s as usize).collect::<Vec<_>>())?;
                let sides = sizes[1..].iter().map(|&side| window.over(side));
                let output: Result<Vec<_>, _> = std::iter::once(Ok(outputs)).chain(sides).collect();
                Shape::new(output?)
            }

            fn parameters(&self) -> Vec<Parameter> {
                weight_and_bias(self.weight(), self.bias.then_some(i64::from(self.outputs)))
            }

            fn flops(&self, input: &Shape) -> u64 {
                let products = self.weight()[1..].iter().product::<i64>() as u64;
                let per_output = 2 * products + u64::from(self.bias);
                self.output(input).map_or(0, |out| (out.elements() as u64).saturating_mul(per_output))
            }
        }
    )*};
}

convolutions! {
    /// A 1-d convolution with weights of shape [out, in / groups, kernel].
    Conv1d over 1, "[channels, length]";
    /// A 2-d convolution with weights of shape [out, in / groups, kernel, kernel].
    Conv2d over 2, "[channels, height, width]";
}

/// Checks the channels of a convolution; gives those of the output.
pub(super) fn channels(inputs: u32, outputs: u32, groups: u32) -> Result<usize, ShapeError> {
    size("in", inputs)?;
    let outputs_ = size("out", outputs)?;
    size("groups", groups)?;
    if inputs.is_multiple_of(groups) && outputs.is_multiple_of(groups) {
        return Ok(outputs_);
    }
    Err(ShapeError(format!("groups is {groups}; it must divide in ({inputs}) and out ({outputs})")))
}

pub(super) fn expect_channels(inputs: u32, input: &Shape) -> Result<(), ShapeError> {
    let found = input.sizes()[0];
    if found == inputs as usize {
        return Ok(());
    }
    Err(ShapeError(format!(
        "expects {inputs} channels, its input has shape {input}: set in to {found}"
    )))
}
