//! Between the protocol of requests and that of lanes: both are little-endian and row-major, so that
//! bytes pass through as they are.

use bytes::Bytes;
use mixnn_model::{Element, Model, Shape};
use mixnn_protocol::tensor::{Dtype, TensorView};
use mixnn_serving::{Datatype, ModelInfo, Tensor, TensorInfo};

/// Names of the one input and the one output.
const INPUT: &str = "input";
const OUTPUT: &str = "output";

/// What the model takes and gives, as requests see it.
///
/// Outputs of a model in bfloat16 are given as FP32, which holds each of its numbers exactly.
pub(crate) fn model_info(name: &str, model: &Model) -> ModelInfo {
    let layers = model.layers();
    let info = |name: &str, shape: Option<&Shape>| {
        let (datatype, below) = match shape.map(Shape::element) {
            Some(Element::Token(vocabulary)) => (Datatype::Int64, Some(vocabulary as u64)),
            _ => (Datatype::Fp32, None),
        };
        let sample = shape.map(|s| s.sizes().to_vec()).unwrap_or_default();
        TensorInfo { name: name.to_owned(), datatype, sample, below }
    };
    ModelInfo {
        name: name.to_owned(),
        platform: "mixnn".to_owned(),
        inputs: vec![info(INPUT, layers.first().map(|l| &l.input))],
        outputs: vec![info(OUTPUT, layers.last().map(|l| &l.output))],
    }
}

/// A tensor as it travels on a lane. `None` for an element type that does not.
pub(crate) fn to_wire(tensor: &Tensor) -> Option<Vec<u8>> {
    let dtype = match tensor.datatype {
        Datatype::Fp32 => Dtype::F32,
        Datatype::Int64 => Dtype::I64,
        _ => return None,
    };
    let shape = tensor.shape.iter().map(|&s| u32::try_from(s).ok()).collect::<Option<_>>()?;
    tensor.is_whole().then(|| TensorView { dtype, shape, data: &tensor.data }.to_bytes())
}

/// A tensor that came off a lane.
///
/// # Errors
/// The bytes are no tensor.
pub(crate) fn from_wire(bytes: Vec<u8>) -> Result<Tensor, String> {
    let bytes = Bytes::from(bytes);
    let view = TensorView::from_bytes(&bytes).map_err(|e| e.to_string())?;
    let shape = view.shape.iter().map(|&s| s as usize).collect();
    let (datatype, data) = match view.dtype {
        Dtype::F32 => (Datatype::Fp32, bytes.slice_ref(view.data)),
        Dtype::I64 => (Datatype::Int64, bytes.slice_ref(view.data)),
        Dtype::Bf16 => (Datatype::Fp32, widened(view.data)),
    };
    Ok(Tensor { datatype, shape, data })
}

/// A bfloat16 is the upper half of the binary32 of the same number.
fn widened(halves: &[u8]) -> Bytes {
    halves.as_chunks::<2>().0.iter().flat_map(|[low, high]| [0, 0, *low, *high]).collect()
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
        assert!(to_wire(&Tensor { datatype: Datatype::Fp16, ..tensor.clone() }).is_none());
        assert!(to_wire(&Tensor { shape: vec![2, 4], ..tensor }).is_none());
        assert!(from_wire(vec![9]).is_err());
    }

    #[test]
    fn bfloat16_widens_to_the_same_number() {
        // 1.5 is 0x3FC0 in bfloat16.
        let view = TensorView { dtype: Dtype::Bf16, shape: vec![1], data: &[0xC0, 0x3F] };
        let tensor = from_wire(view.to_bytes()).unwrap();
        assert_eq!(
            (tensor.datatype, &tensor.data[..]),
            (Datatype::Fp32, &1.5_f32.to_le_bytes()[..])
        );
    }
}
