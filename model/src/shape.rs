//! Shapes of one sample, without the batch dimension.

use crate::limits;
use std::fmt;

/// The shape of one sample: `[6, 14, 14]`, and what its elements are. Every size is at least 1, the
/// product is bounded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    sizes: Vec<usize>,
    element: Element,
}

/// What the elements of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// Real numbers: f32.
    Real,
    /// Tokens from 0 up to this many: i64.
    Token(usize),
}

impl Shape {
    /// A shape of these sizes, of real numbers.
    ///
    /// # Errors
    /// A size is 0, or the tensor would have more than [`limits::ELEMENTS`] elements.
    pub fn new(sizes: impl Into<Vec<usize>>) -> Result<Self, ShapeError> {
        let sizes = sizes.into();
        let elements = sizes.iter().try_fold(1_usize, |n, &s| n.checked_mul(s));
        match elements {
            Some(0) => Err(ShapeError(format!("shape {sizes:?} is empty"))),
            Some(n) if n <= limits::ELEMENTS => Ok(Self { sizes, element: Element::Real }),
            _ => Err(ShapeError(format!(
                "shape {sizes:?} has more than {} elements",
                limits::ELEMENTS
            ))),
        }
    }

    /// The shape of `length` tokens out of a vocabulary.
    ///
    /// # Errors
    /// One of them is 0, or too large.
    pub fn tokens(length: usize, vocabulary: usize) -> Result<Self, ShapeError> {
        if !(1..=limits::SIZE as usize).contains(&vocabulary) {
            let most = limits::SIZE;
            return Err(ShapeError(format!(
                "a vocabulary of {vocabulary}; it is from 1 to {most}"
            )));
        }
        Ok(Self { element: Element::Token(vocabulary), ..Self::new([length])? })
    }

    /// The sizes.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// What its elements are.
    pub const fn element(&self) -> Element {
        self.element
    }

    /// How many elements a sample has.
    pub fn elements(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Channels, height and width, if this is the shape of a picture.
    ///
    /// # Errors
    /// It has another number of dimensions.
    pub fn picture(&self) -> Result<[usize; 3], ShapeError> {
        self.dimensions("[channels, height, width]")
    }

    /// Positions and features, if this is the shape of a sequence.
    ///
    /// # Errors
    /// It has another number of dimensions.
    pub fn sequence(&self) -> Result<[usize; 2], ShapeError> {
        self.dimensions("[positions, features]")
    }

    /// The sizes, if there are `N`; `expected` is what they are called.
    pub(crate) fn dimensions<const N: usize>(
        &self,
        expected: &str,
    ) -> Result<[usize; N], ShapeError> {
        <[usize; N]>::try_from(self.sizes.as_slice())
            .map_err(|_| ShapeError(format!("expects {expected}, its input has shape {self}")))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.element {
            Element::Real => write!(f, "{:?}", self.sizes),
            Element::Token(vocabulary) => write!(f, "{:?} of {vocabulary} tokens", self.sizes),
        }
    }
}

/// Why an operation cannot take its input: a clause that follows "layer x, op 0 (linear): ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(pub String);
