//! Operations: one file each, one row in the table below.

mod activation;
mod conv2d;
mod dropout;
mod flatten;
mod linear;
mod pool;

pub use activation::{Relu, Sigmoid, Tanh};
pub use conv2d::Conv2d;
pub use dropout::Dropout;
pub use flatten::Flatten;
pub use linear::Linear;
pub use pool::{AvgPool2d, MaxPool2d};

use crate::{Parameter, Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What every operation knows of itself without a tensor.
pub trait Operation {
    /// The shape of one output sample for this input.
    ///
    /// # Errors
    /// The operation cannot take it, or its own numbers make no sense.
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError>;

    /// Its parameters, in PyTorch's order.
    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    /// Whether it draws random numbers in training.
    fn is_stochastic(&self) -> bool {
        false
    }
}

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// One operation of a layer, written as `{conv2d: {in: 1, out: 6, kernel: 5}}`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub enum Op {
            $($(#[$doc])* #[serde(rename = $name)] $variant($variant)),*
        }

        impl Op {
            /// The operation's name in YAML.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name),* }
            }

            fn inner(&self) -> &dyn Operation {
                match self { $(Self::$variant(op) => op),* }
            }
        }
    };
}

operations! {
    /// Every output is a weighted sum of all inputs. Takes [in], gives [out].
    Linear = "linear";
    /// 2-d convolution (cross-correlation, as everywhere). Takes [in, h, w], gives [out, h', w'].
    Conv2d = "conv2d";
    /// max(0, x).
    Relu = "relu";
    /// Hyperbolic tangent.
    Tanh = "tanh";
    /// 1 / (1 + exp(-x)).
    Sigmoid = "sigmoid";
    /// The largest value of each window. Takes [c, h, w].
    MaxPool2d = "maxPool2d";
    /// The mean of each window. Takes [c, h, w].
    AvgPool2d = "avgPool2d";
    /// Makes one dimension of all. Takes any shape, gives [elements].
    Flatten = "flatten";
    /// In training, sets each value to zero with probability p and scales the rest by 1 / (1 - p).
    Dropout = "dropout";
}

impl Operation for Op {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.inner().output(input)
    }
    fn parameters(&self) -> Vec<Parameter> {
        self.inner().parameters()
    }
    fn is_stochastic(&self) -> bool {
        self.inner().is_stochastic()
    }
}

/// Checks a size from the specification.
fn size(what: &str, value: u32) -> Result<usize, ShapeError> {
    match value {
        1..=crate::limits::SIZE => Ok(value as usize),
        _ => Err(ShapeError(format!(
            "{what} is {value}; it must be from 1 to {}",
            crate::limits::SIZE
        ))),
    }
}

/// The size of one side after a window of `kernel` has moved over it.
fn windows(side: usize, kernel: usize, stride: usize, padding: usize) -> Result<usize, ShapeError> {
    let padded = side + 2 * padding;
    if kernel > padded {
        return Err(ShapeError(format!(
            "a window of {kernel} does not fit on a side of {side} with padding {padding}: make the kernel smaller or the padding larger"
        )));
    }
    Ok((padded - kernel) / stride + 1)
}

const fn yes() -> bool {
    true
}

const fn one() -> u32 {
    1
}
