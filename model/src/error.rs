//! What is wrong with a model, in the owner's terms.

use crate::ShapeError;
use std::fmt;

/// One thing that is wrong with a model.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// An operation does not fit its input.
    #[error("layer \"{layer}\", op {index} ({op}): {source}")]
    Op {
        /// The layer's name.
        layer: String,
        /// The operation's place in the layer, from 0.
        index: usize,
        /// The operation's name.
        op: &'static str,
        /// What does not fit.
        source: ShapeError,
    },
    /// A layer's name or list of operations.
    #[error("layer {place} (\"{name}\"): {problem}")]
    Layer {
        /// The layer's place in the model, from 0.
        place: usize,
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A field of the dataset.
    #[error("training.dataset.{field}: {problem}")]
    Dataset {
        /// Path of the field within it, as in `csv.files.holdOut`.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A field outside the layers.
    #[error("{field}: {problem}")]
    Field {
        /// Path of the field, as in `training.batchSize`.
        field: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// All that is wrong with a model, in order. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelErrors(pub Vec<ModelError>);

impl fmt::Display for ModelErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ModelErrors {}
