//! Tensors as bytes: the payload of activations, gradients and labels.
//!
//! ```text
//! dtype(1) dimensions(1) [size(4)]* elements, little-endian, row-major
//! ```

use crate::codec::{Malformed, Reader};

/// Element types that travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dtype {
    /// IEEE 754 binary32.
    F32 = 1,
    /// Two's complement 64-bit.
    I64 = 2,
    /// Brain floating point: the upper half of a binary32.
    Bf16 = 3,
}

impl Dtype {
    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::I64 => 8,
            Self::Bf16 => 2,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::F32),
            2 => Some(Self::I64),
            3 => Some(Self::Bf16),
            _ => None,
        }
    }
}

/// The most dimensions of a tensor that travels.
pub const MAX_DIMENSIONS: usize = 8;

/// A tensor in someone else's memory. Its elements never show in Debug.
#[derive(Clone, PartialEq, Eq)]
pub struct TensorView<'a> {
    /// Element type.
    pub dtype: Dtype,
    /// Sizes, batch first.
    pub shape: Vec<u32>,
    /// Elements, little-endian, row-major.
    pub data: &'a [u8],
}

impl std::fmt::Debug for TensorView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TensorView({:?}, {:?})", self.dtype, self.shape)
    }
}

/// What stands before the elements.
pub fn head(dtype: Dtype, shape: &[u32]) -> Vec<u8> {
    let mut out = vec![dtype as u8, shape.len() as u8];
    out.extend(shape.iter().flat_map(|size| size.to_be_bytes()));
    out
}

impl<'a> TensorView<'a> {
    /// Encodes the tensor.
    ///
    /// # Panics
    /// `data` does not have the length that dtype and shape ask for: a mistake of this program.
    pub fn to_bytes(&self) -> Vec<u8> {
        assert_eq!(Some(self.data.len()), byte_length(self.dtype, &self.shape));
        assert!(self.shape.len() <= MAX_DIMENSIONS);
        let mut out = head(self.dtype, &self.shape);
        out.reserve_exact(self.data.len());
        out.extend_from_slice(self.data);
        out
    }

    /// Decodes a tensor.
    ///
    /// # Errors
    /// Unknown dtype, too many dimensions, or a length that does not agree with the shape.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        let dtype = Dtype::from_code(r.u8()?).ok_or_else(|| r.malformed("tensor dtype"))?;
        let dimensions = usize::from(r.u8()?);
        if dimensions > MAX_DIMENSIONS {
            return Err(r.malformed("tensor dimensions"));
        }
        let shape: Vec<u32> = (0..dimensions).map(|_| r.u32()).collect::<Result<_, _>>()?;
        let data = r.rest();
        if byte_length(dtype, &shape) != Some(data.len()) {
            return Err(Malformed { what: "tensor length", at: 2 + 4 * dimensions });
        }
        Ok(Self { dtype, shape, data })
    }
}

/// Bytes of a tensor's elements, if they can be counted.
fn byte_length(dtype: Dtype, shape: &[u32]) -> Option<usize> {
    shape.iter().try_fold(dtype.size(), |n, &s| n.checked_mul(s as usize))
}

/// Length of an encoded tensor of this shape, in bytes.
pub fn encoded_len(dtype: Dtype, shape: &[u32]) -> Option<usize> {
    byte_length(dtype, shape)?.checked_add(2 + 4 * shape.len())
}
