//! Parameters and buffers of an operation, and how they begin.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One parameter tensor of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// PyTorch's name within the module: `weight`, `bias`, `self_attn.in_proj_weight`.
    pub name: String,
    /// PyTorch's layout, for example `[out, in, kernel, kernel]`.
    pub shape: Vec<i64>,
    /// How it begins.
    pub init: Init,
    /// What it is for.
    pub role: Role,
}

impl Parameter {
    /// How many numbers it holds.
    pub fn elements(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// What a parameter is for: weight decay is often for some only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Role {
    /// It multiplies inputs.
    Weight,
    /// It is added.
    Bias,
    /// Scale or shift of a normalisation.
    Norm,
    /// A table of vectors.
    Embedding,
}

/// How a parameter begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Uniform in `±1/sqrt(fan_in)`: what `kaiming_uniform_(a=sqrt(5))` comes to, PyTorch's default
    /// for weight and bias of linear and convolutional modules.
    UniformFanIn {
        /// Inputs that one output sums over.
        fan_in: i64,
    },
    /// Uniform in `±sqrt(6 / (fan_in + fan_out))`: `xavier_uniform_`.
    Xavier {
        /// Inputs that one output sums over.
        fan_in: i64,
        /// Outputs that one input adds to.
        fan_out: i64,
    },
    /// Normal with mean 0 and variance 1, but for one row of zeros if set: `nn.Embedding`.
    Normal {
        /// The row of the token that stands for nothing.
        zero_row: Option<i64>,
    },
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
}

/// A tensor that an operation keeps but does not learn, such as a running mean. It begins as zeros or
/// ones and changes in training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// PyTorch's name within the module: `running_mean`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<i64>,
    /// What it begins as.
    pub kind: BufferKind,
}

/// What a buffer begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferKind {
    /// f32 zeros.
    Zeros,
    /// f32 ones.
    Ones,
    /// An i64 that counts from 0.
    Count,
}

/// Weight and, if asked for, bias that both begin uniform by fan-in.
pub(crate) fn weight_and_bias(shape: Vec<i64>, bias: Option<i64>) -> Vec<Parameter> {
    let init = Init::UniformFanIn { fan_in: shape[1..].iter().product() };
    let weight = Parameter { name: "weight".into(), shape, init, role: Role::Weight };
    let bias =
        bias.map(|n| Parameter { name: "bias".into(), shape: vec![n], init, role: Role::Bias });
    std::iter::once(weight).chain(bias).collect()
}

/// Scale and shift of a normalisation, if they are learned.
pub(crate) fn scale_and_shift(shape: &[i64], affine: bool) -> Vec<Parameter> {
    let of = |name: &str, init| Parameter {
        name: name.into(),
        shape: shape.to_vec(),
        init,
        role: Role::Norm,
    };
    if affine { vec![of("weight", Init::Ones), of("bias", Init::Zeros)] } else { Vec::new() }
}

/// The same parameters within a module that names this one `prefix`.
pub(crate) fn within(
    prefix: &str,
    parameters: Vec<Parameter>,
) -> impl Iterator<Item = Parameter> + use<'_> {
    parameters.into_iter().map(move |p| Parameter { name: format!("{prefix}.{}", p.name), ..p })
}
