//! `torch.nn.Dropout`.

use super::{Operation, probability};
use crate::{Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// In training, sets each value to zero with probability `p` and scales the rest by `1 / (1 - p)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Probability that a value is set to zero: at least 0, below 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub p: f64,
}

impl Operation for Dropout {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        probability("p", self.p)?;
        Ok(input.clone())
    }

    fn is_stochastic(&self) -> bool {
        self.p > 0.0
    }
}
