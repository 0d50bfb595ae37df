//! The tensors that a model has.

use mixnn_model::{BufferKind, Model};
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

/// The tensors of a model, parameters and buffers, in its order.
pub fn expected(model: &Model) -> Vec<Expected> {
    let mut all = Vec::new();
    for (place, layer) in model.layers().iter().enumerate() {
        let parameters = layer.parameters().map(|(op, p)| (op, p.name, p.shape, Dtype::F32));
        let buffers = layer.buffers().map(|(op, b)| (op, b.name, b.shape, dtype(b.kind)));
        for (op, name, shape, dtype) in parameters.chain(buffers) {
            let within = format!("{op}.{name}");
            let name = format!("{}.{within}", layer.spec.name);
            let shape = shape.iter().map(|&s| s as usize).collect();
            all.push(Expected { layer: place, name, within, shape, dtype });
        }
    }
    all
}

const fn dtype(kind: BufferKind) -> Dtype {
    match kind {
        BufferKind::Zeros | BufferKind::Ones => Dtype::F32,
        BufferKind::Count => Dtype::I64,
    }
}
