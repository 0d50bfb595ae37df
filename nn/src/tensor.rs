//! Tensors to and from their wire form.

use crate::NnError;
use crate::error::Context;
use mixnn_protocol::tensor::{Dtype, TensorView};
use tch::{Kind, Tensor};

/// Encodes a tensor of f32 or i64.
///
/// # Errors
/// Another element type, or libtorch refuses.
pub fn tensor_to_wire(tensor: &Tensor) -> Result<Vec<u8>, NnError> {
    let dtype = match tensor.f_kind().context("reading a tensor's type")? {
        Kind::Float => Dtype::F32,
        Kind::Int64 => Dtype::I64,
        other => return Err(NnError::Mismatch(format!("a tensor of {other:?} does not travel"))),
    };
    let tensor = tensor.f_detach().and_then(|t| t.f_contiguous()).context("reading a tensor")?;
    let shape: Vec<u32> = tensor.size().iter().map(|&s| s as u32).collect();
    let data = bytes_of(&tensor, dtype.size())?;
    Ok(TensorView { dtype, shape, data: &data }.to_bytes())
}

/// Decodes a tensor, into memory of its own.
///
/// # Errors
/// The bytes are no tensor.
pub fn tensor_from_wire(bytes: &[u8]) -> Result<Tensor, NnError> {
    let view = TensorView::from_bytes(bytes).map_err(|e| NnError::Mismatch(e.to_string()))?;
    let kind = match view.dtype {
        Dtype::F32 => Kind::Float,
        Dtype::I64 => Kind::Int64,
    };
    let shape: Vec<i64> = view.shape.iter().map(|&s| i64::from(s)).collect();
    Tensor::f_from_data_size(view.data, &shape, kind).context("making a tensor")
}

/// Whether every element is finite.
///
/// # Errors
/// libtorch refuses.
pub fn is_finite(tensor: &Tensor) -> Result<bool, NnError> {
    // The sum is finite unless an element is not, or the sum itself overflows, which tells the same.
    let sum = tensor.f_sum(Kind::Double).and_then(|s| s.f_double_value(&[]));
    Ok(sum.context("checking for finite values")?.is_finite())
}

/// The raw little-endian bytes of a contiguous CPU tensor.
pub(crate) fn bytes_of(tensor: &Tensor, element: usize) -> Result<Vec<u8>, NnError> {
    let elements = tensor.numel();
    let mut data = vec![0; elements * element];
    tensor.f_copy_data_u8(&mut data, elements).context("reading a tensor")?;
    Ok(data)
}

/// Samples and labels of a micro-batch as tensors: f32 of shape [n, sample..], i64 of shape [n].
///
/// # Errors
/// The lengths do not agree with the shape.
pub fn batch_tensors(
    images: &[f32],
    labels: &[i64],
    sample: &[usize],
) -> Result<(Tensor, Tensor), NnError> {
    let per_sample: usize = sample.iter().product();
    if images.len() != labels.len() * per_sample {
        let (found, expected) = (images.len(), labels.len() * per_sample);
        return Err(NnError::Mismatch(format!("{found} pixels, {expected} expected")));
    }
    let shape: Vec<i64> =
        std::iter::once(labels.len() as i64).chain(sample.iter().map(|&s| s as i64)).collect();
    let images = Tensor::f_from_slice(images).and_then(|t| t.f_reshape(shape));
    Ok((images.context("making a batch")?, Tensor::f_from_slice(labels).context("making a batch")?))
}
