//! `torch.nn.Flatten`.

use super::Operation;
use crate::{Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Makes one dimension of all. It has no settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

impl Operation for Flatten {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        Shape::new([input.elements()])
    }
}
