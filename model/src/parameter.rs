//! Parameters of an operation, and how they begin.

/// One parameter tensor of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// PyTorch's name within the module: `weight`, `bias`.
    pub name: &'static str,
    /// PyTorch's layout, for example `[out, in, kernel, kernel]`.
    pub shape: Vec<i64>,
    /// How it begins.
    pub init: Init,
}

impl Parameter {
    /// How many numbers it holds.
    pub fn elements(&self) -> i64 {
        self.shape.iter().product()
    }
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
}

/// Weight and, if asked for, bias that both begin uniform by fan-in.
pub(crate) fn weight_and_bias(shape: Vec<i64>, bias: bool) -> Vec<Parameter> {
    let out = shape[0];
    let init = Init::UniformFanIn { fan_in: shape[1..].iter().product() };
    let mut parameters = vec![Parameter { name: "weight", shape, init }];
    if bias {
        parameters.push(Parameter { name: "bias", shape: vec![out], init });
    }
    parameters
}
