//! Operations: one file each, one row in the table below.

mod activation;
mod attention;
mod conv;
mod conv_transpose;
mod dropout;
mod embedding;
mod linear;
mod norm;
mod pool;
mod residual;
mod shape;
mod transformer;

pub use activation::{Gelu, GeluApproximation, LeakyRelu, Relu, Sigmoid, Silu, Softmax, Tanh};
pub use attention::Attention;
pub use conv::{Conv1d, Conv2d};
pub use conv_transpose::ConvTranspose2d;
pub use dropout::Dropout;
pub use embedding::{Embedding, PositionKind, PositionalEmbedding};
pub use linear::Linear;
pub use norm::{BatchNorm, GroupNorm, LayerNorm};
pub use pool::{AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, MaxPool2d};
pub use residual::Residual;
pub use shape::{Flatten, Mean, Permute, Reshape};
pub use transformer::{Activation, NormPlace, TransformerDecoder, TransformerEncoder};

use crate::{Buffer, Element, Parameter, Shape, ShapeError, limits};
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

    /// What it keeps beside its parameters, in PyTorch's order.
    fn buffers(&self) -> Vec<Buffer> {
        Vec::new()
    }

    /// Floating-point operations of one sample's forward pass: two for a multiplication with its
    /// addition in matrix products and convolutions, one per output element (or input element, for
    /// pools) elsewhere. 0 where the input does not fit.
    fn flops(&self, input: &Shape) -> u64 {
        self.output(input).map_or(0, |output| output.elements() as u64)
    }

    /// Whether it draws random numbers in training.
    fn is_stochastic(&self) -> bool {
        false
    }

    /// Whether it takes tokens instead of real numbers.
    fn takes_tokens(&self) -> bool {
        false
    }

    /// How deep operations are nested in it.
    fn depth(&self) -> usize {
        0
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
            /// The names of all operations in YAML.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

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
    /// Every output is a weighted sum of all inputs. Takes [.., in], gives [.., out].
    Linear = "linear";
    /// 1-d convolution. Takes [in, length], gives [out, length'].
    Conv1d = "conv1d";
    /// 2-d convolution (cross-correlation, as everywhere). Takes [in, h, w], gives [out, h', w'].
    Conv2d = "conv2d";
    /// 2-d transposed convolution, which makes pictures larger. Takes [in, h, w], gives [out, h', w'].
    ConvTranspose2d = "convTranspose2d";
    /// Normalises each channel over the micro-batch. Takes [channels, ..].
    BatchNorm = "batchNorm";
    /// Normalises groups of channels of each sample. Takes [channels, ..].
    GroupNorm = "groupNorm";
    /// Normalises the last dimensions of each sample. Takes [.., shape].
    LayerNorm = "layerNorm";
    /// max(0, x).
    Relu = "relu";
    /// x Φ(x), with the normal distribution's Φ.
    Gelu = "gelu";
    /// x / (1 + exp(-x)).
    Silu = "silu";
    /// Hyperbolic tangent.
    Tanh = "tanh";
    /// 1 / (1 + exp(-x)).
    Sigmoid = "sigmoid";
    /// x where x > 0, else slope x.
    LeakyRelu = "leakyRelu";
    /// exp(x) over its sum along one dimension.
    Softmax = "softmax";
    /// The largest value of each window. Takes [c, h, w].
    MaxPool2d = "maxPool2d";
    /// The mean of each window. Takes [c, h, w].
    AvgPool2d = "avgPool2d";
    /// The largest value of each part of a picture. Takes [c, h, w], gives [c, height, width].
    AdaptiveMaxPool2d = "adaptiveMaxPool2d";
    /// The mean of each part of a picture. Takes [c, h, w], gives [c, height, width].
    AdaptiveAvgPool2d = "adaptiveAvgPool2d";
    /// Makes one dimension of all. Takes any shape, gives [elements].
    Flatten = "flatten";
    /// The same elements in another shape.
    Reshape = "reshape";
    /// The same elements with dimensions in another order.
    Permute = "permute";
    /// The mean along one dimension, which goes away.
    Mean = "mean";
    /// In training, sets each value to zero with probability p and scales the rest by 1 / (1 - p).
    Dropout = "dropout";
    /// A vector for each token. Takes [length] tokens, gives [length, size].
    Embedding = "embedding";
    /// Adds a vector for each position. Takes [length, size].
    PositionalEmbedding = "positionalEmbedding";
    /// body(x) + x, or body(x) + shortcut(x).
    Residual = "residual";
    /// Multi-head self-attention. Takes [length, size].
    Attention = "attention";
    /// Self-attention and feed-forward, each with residual and layer norm. Takes [length, size].
    TransformerEncoder = "transformerEncoder";
    /// Causal self-attention and feed-forward; with a memory, attention to it too. Takes [length, size].
    TransformerDecoder = "transformerDecoder";
}

impl Operation for Op {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        match (self.takes_tokens(), input.element()) {
            (false, Element::Token(_)) => Err(ShapeError(format!(
                "expects real numbers, its input is {input}: begin with an embedding"
            ))),
            (true, Element::Real) => {
                Err(ShapeError(format!("expects tokens, its input has shape {input}")))
            }
            _ if self.depth() > limits::NESTING => {
                let most = limits::NESTING;
                Err(ShapeError(format!("operations are nested deeper than {most}")))
            }
            _ => self.inner().output(input),
        }
    }
    fn parameters(&self) -> Vec<Parameter> {
        self.inner().parameters()
    }
    fn buffers(&self) -> Vec<Buffer> {
        self.inner().buffers()
    }
    fn flops(&self, input: &Shape) -> u64 {
        self.inner().flops(input)
    }
    fn is_stochastic(&self) -> bool {
        self.inner().is_stochastic()
    }
    fn takes_tokens(&self) -> bool {
        self.inner().takes_tokens()
    }
    fn depth(&self) -> usize {
        self.inner().depth()
    }
}

/// [`Operation::flops`] of a chain.
pub(crate) fn flops_of(ops: &[Op], input: &Shape) -> u64 {
    let mut shape = input.clone();
    let mut sum = 0_u64;
    for op in ops {
        sum = sum.saturating_add(op.flops(&shape));
        let Ok(output) = op.output(&shape) else { break };
        shape = output;
    }
    sum
}

/// Checks a size from the specification.
fn size(what: &str, value: u32) -> Result<usize, ShapeError> {
    match value {
        1..=limits::SIZE => Ok(value as usize),
        _ => Err(ShapeError(format!("{what} is {value}; it must be from 1 to {}", limits::SIZE))),
    }
}

/// Checks a size from the specification that may be 0.
fn size_or_none(what: &str, value: u32) -> Result<usize, ShapeError> {
    if value == 0 { Ok(0) } else { size(what, value) }
}

/// Checks a number from the specification that must be above 0.
fn positive(what: &str, value: f64) -> Result<(), ShapeError> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(ShapeError(format!("{what} is {value}; it must be above 0")))
    }
}

/// Checks a probability of dropout.
fn probability(what: &str, value: f64) -> Result<(), ShapeError> {
    if (0.0..1.0).contains(&value) {
        Ok(())
    } else {
        Err(ShapeError(format!("{what} is {value}; it must be at least 0 and below 1")))
    }
}

/// Checks a dimension of a sample.
fn dimension(dim: u32, input: &Shape) -> Result<usize, ShapeError> {
    let dimensions = input.sizes().len();
    if (dim as usize) < dimensions {
        return Ok(dim as usize);
    }
    Err(ShapeError(format!(
        "dim is {dim}; its input has shape {input}, dimensions from 0 to {}",
        dimensions - 1
    )))
}

/// A window that moves over a side.
#[derive(Clone, Copy)]
struct Window {
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
}

impl Window {
    /// The size of one side after the window has moved over it.
    fn over(self, side: usize) -> Result<usize, ShapeError> {
        let Self { kernel, stride, padding, dilation } = self;
        let padded = side + 2 * padding;
        let reach = dilation.saturating_mul(kernel - 1).saturating_add(1);
        if reach > padded {
            return Err(ShapeError(format!(
                "a window of {reach} does not fit on a side of {side} with padding {padding}: make the kernel smaller or the padding larger"
            )));
        }
        Ok((padded - reach) / stride + 1)
    }
}

const fn yes() -> bool {
    true
}

const fn one() -> u32 {
    1
}

/// PyTorch's default for normalisations.
const fn eps() -> f64 {
    1e-5
}
