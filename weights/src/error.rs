//! Why a file of weights was refused.

use std::fmt;

/// One thing that is wrong with a file of weights.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file itself.
    #[error("{0}")]
    File(String),
    /// A tensor of the model is not there.
    #[error("tensor '{0}' is missing")]
    Missing(String),
    /// A tensor that the model does not have.
    #[error("tensor '{0}' is not the model's")]
    Extra(String),
    /// A name that a model's file cannot hold.
    #[error(
        "a tensor is named {name:?}: names have letters, digits and . _ - / : only, 512 at most"
    )]
    Name {
        /// The beginning of it.
        name: String,
    },
    /// A tensor of another shape or element type.
    #[error("tensor '{name}' is {found}; the model takes {expected}")]
    Mismatch {
        /// Its name in the file.
        name: String,
        /// What it is.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A tensor that holds NaN or an infinity.
    #[error("tensor '{name}' holds a value that is not finite, at element {at}")]
    NotFinite {
        /// Its name in the file.
        name: String,
        /// The first such element, row-major.
        at: usize,
    },
}

/// All that is wrong with a file of weights. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightsError(pub Vec<Problem>);

/// So many problems are told; then how many more there are.
const TOLD: usize = 10;

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().take(TOLD).enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        match self.0.len().checked_sub(TOLD) {
            Some(more) if more > 0 => write!(f, "\nand {more} more"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for WeightsError {}

impl From<Problem> for WeightsError {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}
