//! Between the protocol of requests and that of lanes: both are little-endian and row-major, so that
//! bytes pass through as they are.

use mixnn_model::{Layer, Model};
use mixnn_protocol::tensor::{Dtype, TensorView};
use mixnn_serving::{Datatype, ModelInfo, Tensor, TensorInfo};

/// Names of the one input and the one output.
const INPUT: &str = "input";
const OUTPUT: &str = "output";

/// What the model takes and gives, as requests see it.
pub(super) fn model_info(name: &str, model: &Model) -> ModelInfo {
    let first = model.layers().first();
    let last = model.layers().last();
    let sample = |layer: Option<&Layer>, of: fn(&Layer) -> &mixnn_model::Shape| {
        layer.map(|l| of(l).sizes().to_vec()).unwrap_or_default()
    };
    let real = |name: &str, sample: Vec<usize>| TensorInfo {
        name: name.to_owned(),
        datatype: Datatype::Fp32,
        sample,
        below: None,
    };
    ModelInfo {
        name: name.to_owned(),
        platform: "mixnn".to_owned(),
        inputs: vec![real(INPUT, sample(first, |l| &l.input))],
        outputs: vec![real(OUTPUT, sample(last, |l| &l.output))],
    }
}

/// A tensor as it travels on a lane. `None` for an element type that does not.
pub(super) fn to_wire(tensor: &Tensor) -> Option<Vec<u8>> {
    let dtype = match tensor.datatype {
        Datatype::Fp32 => Dtype::F32,
        Datatype::Int64 => Dtype::I64,
        _ => return None,
    };
    let shape = tensor.shape.iter().map(|&s| u32::try_from(s).ok()).collect::<Option<_>>()?;
    Some(TensorView { dtype, shape, data: &tensor.data }.to_bytes())
}

/// A tensor that came off a lane.
///
/// # Errors
/// The bytes are no tensor.
pub(super) fn from_wire(bytes: Vec<u8>) -> Result<Tensor, String> {
    let bytes = bytes::Bytes::from(bytes);
    let view = TensorView::from_bytes(&bytes).map_err(|e| e.to_string())?;
    let datatype = match view.dtype {
        Dtype::F32 => Datatype::Fp32,
        Dtype::I64 => Datatype::Int64,
    };
    let shape = view.shape.iter().map(|&s| s as usize).collect();
    let data = bytes.slice_ref(view.data);
    Ok(Tensor { datatype, shape, data })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn bytes_pass_through_as_they_are() {
        let data: Vec<u8> = (0..24).collect();
        let tensor = Tensor { datatype: Datatype::Fp32, shape: vec![2, 3], data: data.into() };
        assert_eq!(from_wire(to_wire(&tensor).unwrap()).unwrap(), tensor);
        assert!(to_wire(&Tensor { datatype: Datatype::Fp16, ..tensor }).is_none());
        assert!(from_wire(vec![9]).is_err());
    }
}
