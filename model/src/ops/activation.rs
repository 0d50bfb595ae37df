//! Element-wise functions: any shape in, the same out.

use super::Operation;
use crate::{Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! element_wise {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {}

        impl Operation for $name {
            fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
                Ok(input.clone())
            }
        }
    )*};
}

element_wise! {
    /// max(0, x). It has no settings.
    Relu;
    /// Hyperbolic tangent. It has no settings.
    Tanh;
    /// 1 / (1 + exp(-x)). It has no settings.
    Sigmoid;
}
