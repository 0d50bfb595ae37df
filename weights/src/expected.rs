//! The tensors that a model has.

use mixnn_model::Model;
use safetensors::Dtype;

/// A tensor that a file must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The layer's place in the model.
    pub layer: usize,
    /// PyTorch's name in the whole model: `conv1.0.weight`.
    pub name: String,
    /// The name within the layer: `0.weight`.
    pub within: String,
    /// Its shape, PyTorch's layout.
    pub shape: Vec<usize>,
    /// Its element type.
    pub dtype: Dtype,
}

/// The tensors of a model, in its order.
pub fn expected(model: &Model) -> Vec<Expected> {
    let mut all = Vec::new();
    for (place, layer) in model.layers().iter().enumerate() {
        for (op, parameter) in layer.parameters() {
            let within = format!("{op}.{}", parameter.name);
            all.push(Expected {
                layer: place,
                name: format!("{}.{within}", layer.spec.name),
                within,
                shape: parameter.shape.iter().map(|&s| s as usize).collect(),
                dtype: Dtype::F32,
            });
        }
    }
    all
}
