//! A layer's state in the form of a safetensors file that is read in pieces: written whole, it would take
//! the memory of the state once more.

use crate::NnError;
use crate::error::Context;
use crate::state::dtype;
use crate::tensor::bytes_of;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use std::collections::HashMap;
use tch::{Device, Tensor};

/// A state as a file that is not there as a whole. It does not change with the layer.
pub struct Export {
    /// Length of the header (8 bytes), header.
    head: Vec<u8>,
    tensors: Vec<Placed>,
}

/// One tensor, flat, and where its bytes begin.
struct Placed {
    at: usize,
    flat: Tensor,
    element: usize,
}

impl Placed {
    fn len(&self) -> usize {
        self.flat.numel() * self.element
    }
}

impl Export {
    pub(crate) fn new(
        mut tensors: Vec<(String, &Tensor)>,
        metadata: HashMap<String, String>,
    ) -> Result<Self, NnError> {
        // Wide elements first, which aligns all of them.
        tensors.sort_by_key(|(_, tensor)| std::cmp::Reverse(element(dtype(tensor.kind()))));
        let (mut infos, mut placed, mut at) = (Vec::new(), Vec::new(), 0);
        for (name, tensor) in tensors {
            let dtype = dtype(tensor.kind());
            let flat = tensor.f_detach().and_then(|t| t.f_reshape([-1]));
            let flat = flat.context("reading a parameter")?;
            let one = Placed { at, flat, element: element(dtype) };
            let end = at + one.len();
            let shape = tensor.size().iter().map(|&s| s as usize).collect();
            infos.push((name, TensorInfo { dtype, shape, data_offsets: (at, end) }));
            placed.push(one);
            at = end;
        }
        let refused = |e: &dyn std::fmt::Display| NnError::State(e.to_string());
        let metadata = Metadata::new(Some(metadata), infos).map_err(|e| refused(&e))?;
        let mut header = serde_json::to_vec(&metadata).map_err(|e| refused(&e))?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let head = [&(header.len() as u64).to_le_bytes(), header.as_slice()].concat();
        placed.iter_mut().for_each(|p| p.at += head.len());
        Ok(Self { head, tensors: placed })
    }

    /// Bytes of the file.
    pub fn length(&self) -> usize {
        self.tensors.last().map_or(self.head.len(), |last| last.at + last.len())
    }

    /// Fills `out` with the bytes from `at` on.
    ///
    /// # Errors
    /// There are not so many, or libtorch refuses.
    pub fn read(&self, at: usize, out: &mut [u8]) -> Result<(), NnError> {
        let end = at.checked_add(out.len()).filter(|end| *end <= self.length());
        let end = end.ok_or_else(|| NnError::State("a state is read beyond its end".into()))?;
        if at < self.head.len() {
            let head = &self.head[at..end.min(self.head.len())];
            out[..head.len()].copy_from_slice(head);
        }
        let first = self.tensors.partition_point(|t| t.at + t.len() <= at);
        for tensor in self.tensors[first..].iter().take_while(|t| t.at < end) {
            let (from, to) = (at.max(tensor.at), end.min(tensor.at + tensor.len()));
            let bytes = &mut out[from - at..to - at];
            bytes.copy_from_slice(&tensor.bytes(from - tensor.at..to - tensor.at)?);
        }
        Ok(())
    }

    /// The whole file.
    ///
    /// # Errors
    /// libtorch refuses.
    pub fn to_bytes(&self) -> Result<Vec<u8>, NnError> {
        let mut out = vec![0; self.length()];
        for (i, piece) in out.chunks_mut(PIECE).enumerate() {
            self.read(i * PIECE, piece)?;
        }
        Ok(out)
    }
}

/// Bytes that are copied at once.
const PIECE: usize = 1 << 20;

impl Placed {
    /// Bytes of the tensor, which need not begin or end at an element.
    fn bytes(&self, range: std::ops::Range<usize>) -> Result<Vec<u8>, NnError> {
        let first = range.start / self.element;
        let last = range.end.div_ceil(self.element);
        let some = self.flat.f_narrow(0, first as i64, (last - first) as i64);
        let some = some.and_then(|t| t.f_to_device(Device::Cpu)).context("reading a parameter")?;
        let mut bytes = bytes_of(&some, self.element)?;
        bytes.truncate(range.end - first * self.element);
        bytes.drain(..range.start - first * self.element);
        Ok(bytes)
    }
}

/// Bytes of an element.
pub(crate) const fn element(dtype: Dtype) -> usize {
    match dtype {
        Dtype::I64 => 8,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use safetensors::SafeTensors;

    #[test]
    fn any_pieces_give_the_file_that_the_library_reads() {
        let weights = Tensor::from_slice(&[0.5_f32, -1.0, 2.0, 3.0, 4.0, 5.0]).reshape([3, 2]);
        let (empty, count) = (Tensor::from_slice::<f32>(&[]), Tensor::from_slice(&[7_i64]));
        let tensors = vec![
            ("0.weight".to_owned(), &weights),
            ("empty".to_owned(), &empty),
            ("count".to_owned(), &count),
        ];
        let metadata = HashMap::from([("step".to_owned(), "3".to_owned())]);
        let export = Export::new(tensors, metadata).unwrap();
        let whole = export.to_bytes().unwrap();
        let file = SafeTensors::deserialize(&whole).unwrap();
        assert_eq!(file.tensor("count").unwrap().data(), 7_i64.to_le_bytes());
        let read = file.tensor("0.weight").unwrap();
        assert_eq!(
            (read.shape(), &read.data()[4..8]),
            (&[3, 2][..], &(-1.0_f32).to_le_bytes()[..])
        );
        for piece in [1, 3, 5, 64] {
            let mut out = vec![0; whole.len()];
            for (i, part) in out.chunks_mut(piece).enumerate() {
                export.read(i * piece, part).unwrap();
            }
            assert_eq!(out, whole, "{piece}");
        }
        assert!(export.read(whole.len(), &mut [0]).is_err());
    }
}
