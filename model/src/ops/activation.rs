//! Functions of single numbers, and softmax: any shape in, the same out.

use super::{Operation, dimension, positive};
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
    /// x / (1 + exp(-x)), also called swish. It has no settings.
    Silu;
    /// Hyperbolic tangent. It has no settings.
    Tanh;
    /// 1 / (1 + exp(-x)). It has no settings.
    Sigmoid;
}

/// x Φ(x), with the normal distribution's Φ (arXiv 1606.08415).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gelu {
    /// How Φ is computed.
    #[serde(default)]
    pub approximate: GeluApproximation,
}

/// How the normal distribution's Φ is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GeluApproximation {
    /// By the error function.
    #[default]
    None,
    /// By a hyperbolic tangent, as GPT-2 does.
    Tanh,
}

impl Operation for Gelu {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Ok(input.clone())
    }
}

/// x where x > 0, else slope x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeakyRelu {
    /// By what numbers below 0 are multiplied, above 0.
    #[serde(default = "slope")]
    pub slope: f64,
}

const fn slope() -> f64 {
    0.01
}

impl Operation for LeakyRelu {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        positive("slope", self.slope)?;
        Ok(input.clone())
    }
}

/// exp(x) over its sum along one dimension. Cross entropy has it built in: put none before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Softmax {
    /// The dimension of a sample, from 0; the last one if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dim: Option<u32>,
}

impl Operation for Softmax {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        if let Some(dim) = self.dim {
            dimension(dim, input)?;
        }
        Ok(input.clone())
    }
}
