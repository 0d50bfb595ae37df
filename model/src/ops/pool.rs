//! Pools: `torch.nn.MaxPool2d`, `AvgPool2d` with square windows, and the adaptive ones.

use super::{Operation, Window, size, size_or_none};
use crate::{Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! pools {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            /// Side of the square window.
            #[schemars(range(min = 1, max = 16_777_216))]
            pub kernel: u32,
            /// How far the window moves at a time; the kernel if not set.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(min = 1, max = 16_777_216))]
            pub stride: Option<u32>,
            /// Rows and columns added on every side, at most half the kernel.
            #[serde(default)]
            #[schemars(range(max = 16_777_216))]
            pub padding: u32,
        }

        impl $name {
            /// How far the window moves at a time.
            pub fn step(&self) -> u32 {
                self.stride.unwrap_or(self.kernel)
            }
        }

        impl Operation for $name {
            fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
                let window = Window {
                    kernel: size("kernel", self.kernel)?,
                    stride: size("stride", self.step())?,
                    padding: size_or_none("padding", self.padding)?,
                    dilation: 1,
                };
                if window.padding > window.kernel / 2 {
                    return Err(ShapeError(format!(
                        "padding is {}; it must be at most half the kernel of {}",
                        window.padding, window.kernel
                    )));
                }
                let [channels, height, width] = input.picture()?;
                Shape::new([channels, window.over(height)?, window.over(width)?])
            }

            fn flops(&self, input: &Shape) -> u64 {
                let window = u64::from(self.kernel).saturating_mul(u64::from(self.kernel));
                self.output(input).map_or(0, |out| (out.elements() as u64).saturating_mul(window))
            }
        }
    )*};
}

pools! {
    /// The largest value of each window; padding never is the largest.
    MaxPool2d;
    /// The mean of each window; padding counts as zeros.
    AvgPool2d;
}

macro_rules! adaptive_pools {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            /// Height of the output.
            #[schemars(range(min = 1, max = 16_777_216))]
            pub height: u32,
            /// Width of the output.
            #[schemars(range(min = 1, max = 16_777_216))]
            pub width: u32,
        }

        impl Operation for $name {
            fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
                let [channels, _, _] = input.picture()?;
                Shape::new([channels, size("height", self.height)?, size("width", self.width)?])
            }

            fn flops(&self, input: &Shape) -> u64 {
                input.elements() as u64
            }
        }
    )*};
}

adaptive_pools! {
    /// The largest value of each part of a picture.
    AdaptiveMaxPool2d;
    /// The mean of each part of a picture.
    AdaptiveAvgPool2d;
}
