//! Shapes of one sample, without the batch dimension.

use crate::limits;
use std::fmt;

/// The shape of one sample: `[6, 14, 14]`. Every size is at least 1, the product is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// A shape of these sizes.
    ///
    /// # Errors
    /// A size is 0, or the tensor would have more than [`limits::ELEMENTS`] elements.
    pub fn new(sizes: impl Into<Vec<usize>>) -> Result<Self, ShapeError> {
        let sizes = sizes.into();
        let elements = sizes.iter().try_fold(1_usize, |n, &s| n.checked_mul(s));
        match elements {
            Some(0) => Err(ShapeError(format!("shape {sizes:?} is empty"))),
            Some(n) if n <= limits::ELEMENTS => Ok(Self(sizes)),
            _ => Err(ShapeError(format!(
                "shape {sizes:?} has more than {} elements",
                limits::ELEMENTS
            ))),
        }
    }

    /// The sizes.
    pub fn sizes(&self) -> &[usize] {
        &self.0
    }

    /// How many elements a sample has.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// Channels, height and width, if this is the shape of a picture.
    ///
    /// # Errors
    /// It has another number of dimensions.
    pub fn picture(&self) -> Result<[usize; 3], ShapeError> {
        <[usize; 3]>::try_from(self.0.as_slice()).map_err(|_| {
            ShapeError(format!("expects [channels, height, width], its input has shape {self}"))
        })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Why an operation cannot take its input: a clause that follows "layer x, op 0 (linear): ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(pub String);
