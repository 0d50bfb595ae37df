//! What a sample is labelled with.

use std::fmt;

/// What a sample is labelled with: what a dataset gives, and a loss compares outputs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// One class. A batch's labels are i64 of shape [samples]; the model gives [classes].
    Class {
        /// How many there are.
        classes: usize,
    },
    /// One token at each position. Labels are i64 [samples, length]; the model gives
    /// [length, vocabulary].
    Tokens {
        /// Positions of a sample.
        length: usize,
        /// How many tokens there are.
        vocabulary: usize,
    },
    /// Real numbers of this shape, f32 [samples, shape ..]; the model gives the same.
    Values(Vec<usize>),
    /// Zeros and ones of this shape, f32 [samples, shape ..]; the model gives a logit for each.
    Bits(Vec<usize>),
}

impl Labels {
    /// The shape of a model's output for one sample.
    pub fn output(&self) -> Vec<usize> {
        match self {
            Self::Class { classes } => vec![*classes],
            Self::Tokens { length, vocabulary } => vec![*length, *vocabulary],
            Self::Values(shape) | Self::Bits(shape) => shape.clone(),
        }
    }

    /// How many answers a model gives for one sample that can be right or wrong.
    pub fn answers(&self) -> usize {
        match self {
            Self::Class { .. } => 1,
            Self::Tokens { length, .. } => *length,
            Self::Values(_) => 0,
            Self::Bits(shape) => shape.iter().product(),
        }
    }

    /// How many choices an answer has, if it is one of several classes.
    pub const fn classes(&self) -> Option<usize> {
        match self {
            Self::Class { classes } => Some(*classes),
            Self::Tokens { vocabulary, .. } => Some(*vocabulary),
            Self::Values(_) | Self::Bits(_) => None,
        }
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class { classes } => write!(f, "{classes} classes"),
            Self::Tokens { length, vocabulary } => {
                write!(f, "{length} positions of {vocabulary} tokens")
            }
            Self::Values(shape) => write!(f, "real numbers of shape {shape:?}"),
            Self::Bits(shape) => write!(f, "bits of shape {shape:?}"),
        }
    }
}
