//! `torch.nn.MaxPool2d` and `torch.nn.AvgPool2d` with square windows.

use super::{Operation, size, windows};
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
        }

        impl $name {
            /// How far the window moves at a time.
            pub fn step(&self) -> u32 {
                self.stride.unwrap_or(self.kernel)
            }
        }

        impl Operation for $name {
            fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
                let (kernel, stride) = (size("kernel", self.kernel)?, size("stride", self.step())?);
                let [channels, height, width] = input.picture()?;
                Shape::new([
                    channels,
                    windows(height, kernel, stride, 0)?,
                    windows(width, kernel, stride, 0)?,
                ])
            }
        }
    )*};
}

pools! {
    /// The largest value of each window.
    MaxPool2d;
    /// The mean of each window.
    AvgPool2d;
}
