//! Tensors to and from their wire form.

use crate::NnError;
use crate::error::Context;
use mixnn_protocol::tensor::{self, Dtype, TensorView};
use tch::{Device, Kind, Tensor};

/// Encodes a tensor of f32, bf16 or i64.
///
/// # Errors
/// Another element type, or libtorch refuses.
pub fn tensor_to_wire(tensor: &Tensor) -> Result<Vec<u8>, NnError> {
    let (dtype, shape) = form(tensor)?;
    let tensor = tensor.f_detach().and_then(|t| t.f_to_device(Device::Cpu));
    let tensor = tensor.and_then(|t| t.f_contiguous()).context("reading a tensor")?;
    let data = bytes_of(&tensor, dtype.size())?;
    Ok(TensorView { dtype, shape, data: &data }.to_bytes())
}

fn form(tensor: &Tensor) -> Result<(Dtype, Vec<u32>), NnError> {
    let dtype = match tensor.f_kind().context("reading a tensor's type")? {
        Kind::Float => Dtype::F32,
        Kind::Int64 => Dtype::I64,
        Kind::BFloat16 => Dtype::Bf16,
        other => return Err(NnError::Mismatch(format!("a tensor of {other:?} does not travel"))),
    };
    Ok((dtype, tensor.size().iter().map(|&s| s as u32).collect()))
}

/// Elements that are read at once.
const PIECE: usize = 1 << 18;

/// The wire form of a tensor, in pieces: of a large one there is never a second copy.
pub(crate) fn wire_pieces(tensor: &Tensor, mut take: impl FnMut(&[u8])) -> Result<(), NnError> {
    let (dtype, shape) = form(tensor)?;
    take(&tensor::head(dtype, &shape));
    let flat = tensor.f_detach().and_then(|t| t.f_reshape([-1])).context("reading a tensor")?;
    let all = flat.numel();
    for at in (0..all).step_by(PIECE) {
        let some = flat.f_narrow(0, at as i64, PIECE.min(all - at) as i64);
        let some = some.and_then(|t| t.f_to_device(Device::Cpu)).context("reading a tensor")?;
        take(&bytes_of(&some, dtype.size())?);
    }
    Ok(())
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
        Dtype::Bf16 => Kind::BFloat16,
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

/// Numbers as they come out of a data set.
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'a> {
    /// Pixels, measured values, bits.
    Real(&'a [f32]),
    /// Classes, tokens.
    Whole(&'a [i64]),
}

/// A tensor of `samples` samples (or labels) of this shape: f32 or i64 of [samples, shape ..].
///
/// # Errors
/// The numbers do not fill the shape.
pub fn batch_tensor(
    numbers: Numbers<'_>,
    samples: usize,
    shape: &[usize],
) -> Result<Tensor, NnError> {
    let expected = samples * shape.iter().product::<usize>();
    let (found, tensor) = match numbers {
        Numbers::Real(values) => (values.len(), Tensor::f_from_slice(values)),
        Numbers::Whole(values) => (values.len(), Tensor::f_from_slice(values)),
    };
    if found != expected {
        return Err(NnError::Mismatch(format!("{found} numbers, {expected} expected")));
    }
    let sizes = std::iter::once(samples).chain(shape.iter().copied()).map(|s| s as i64);
    let sizes: Vec<i64> = sizes.collect();
    tensor.and_then(|t| t.f_reshape(sizes)).context("making a batch")
}
