//! A safetensors file, read with suspicion.

use crate::error::{Problem, WeightsError};
use crate::expected::expected;
use mixnn_model::Model;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// The longest header that is read, in bytes.
pub const MAX_HEADER: usize = 16 << 20;

/// A file whose header agrees with its bytes.
pub struct Weights<'a> {
    file: SafeTensors<'a>,
}

impl<'a> Weights<'a> {
    /// Reads the header and holds it against the length of the data.
    ///
    /// # Errors
    /// It is no safetensors file: the header is too long, no JSON, or lies about the data.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, WeightsError> {
        let header = bytes.first_chunk().map(|length| u64::from_le_bytes(*length));
        let refused = |what: String| Err(Problem::File(what).into());
        match header {
            None => return refused("is shorter than a safetensors header".into()),
            Some(length) if length > MAX_HEADER as u64 => {
                return refused(format!(
                    "is no safetensors file: its header would have {length} bytes, the most is {MAX_HEADER}"
                ));
            }
            Some(_) => {}
        }
        match SafeTensors::deserialize(bytes) {
            Ok(file) => Ok(Self { file }),
            Err(error) => refused(format!("is no safetensors file: {error}")),
        }
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names = self.file.names();
        names.sort_unstable();
        names
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.file.tensor(name).ok()
    }
}

/// The largest file that can be this model's weights, in bytes: what is larger need not be read.
pub fn largest_file(model: &Model) -> usize {
    let data = |e: &crate::Expected| e.shape.iter().product::<usize>() * bits(e.dtype) / 8;
    8 + MAX_HEADER + expected(model).iter().map(data).sum::<usize>()
}

fn bits(dtype: Dtype) -> usize {
    dtype.bitsize()
}

/// The first element that is not finite.
pub(crate) fn not_finite(view: &TensorView<'_>) -> Option<usize> {
    if view.dtype() != Dtype::F32 {
        return None;
    }
    view.data().as_chunks::<4>().0.iter().position(|b| !f32::from_le_bytes(*b).is_finite())
}
