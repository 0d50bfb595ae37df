//! Operations that change the shape only, and the mean along a dimension.

use super::{Operation, dimension, size};
use crate::{Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `torch.nn.Flatten`: makes one dimension of all. It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

impl Operation for Flatten {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Shape::new([input.elements()])
    }

    fn flops(&self, _: &Shape) -> u64 {
        0
    }
}

/// `torch.nn.Unflatten` and `torch.reshape`: the same elements, row-major, in another shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reshape {
    /// The shape of a sample after it.
    #[schemars(length(min = 1, max = 7))]
    pub shape: Vec<u32>,
}

impl Operation for Reshape {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let sizes = self
            .shape
            .iter()
            .map(|&s| size("a size of shape", s))
            .collect::<Result<Vec<_>, _>>()?;
        if sizes.is_empty() || sizes.len() > 7 {
            let n = sizes.len();
            return Err(ShapeError(format!("a shape of {n} dimensions; it has from 1 to 7")));
        }
        let output = Shape::new(sizes)?;
        let (found, wanted) = (input.elements(), output.elements());
        if found == wanted {
            return Ok(output);
        }
        Err(ShapeError(format!(
            "shape {output} has {wanted} elements, its input {input} has {found}"
        )))
    }

    fn flops(&self, _: &Shape) -> u64 {
        0
    }
}

/// `torch.permute`: the same elements with dimensions in another order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Permute {
    /// Which dimension of the input, from 0, comes first, second ..
    #[schemars(length(min = 1, max = 7))]
    pub order: Vec<u32>,
}

impl Operation for Permute {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let mut seen = self.order.clone();
        seen.sort_unstable();
        if !seen.iter().copied().eq(0..input.sizes().len() as u32) {
            return Err(ShapeError(format!(
                "order is {:?}; it must name each dimension of {input} once, from 0",
                self.order
            )));
        }
        Shape::new(self.order.iter().map(|&d| input.sizes()[d as usize]).collect::<Vec<_>>())
    }

    fn flops(&self, _: &Shape) -> u64 {
        0
    }
}

/// `torch.mean`: the mean along one dimension, which goes away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mean {
    /// The dimension of a sample, from 0.
    #[serde(default)]
    pub dim: u32,
}

impl Operation for Mean {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let dim = dimension(self.dim, input)?;
        if input.sizes().len() == 1 {
            return Err(ShapeError(format!(
                "its input {input} has one dimension only: nothing would be left"
            )));
        }
        let mut sizes = input.sizes().to_vec();
        sizes.remove(dim);
        Shape::new(sizes)
    }

    fn flops(&self, input: &Shape) -> u64 {
        input.elements() as u64
    }
}
