//! Tensors as the protocol carries them: a datatype, a shape, little-endian row-major bytes.

use bytes::Bytes;
use std::fmt;

macro_rules! datatypes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $size:literal;)*) => {
        /// Element types of the protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Datatype { $($(#[$doc])* $name),* }

        impl Datatype {
            /// Every datatype of a fixed size.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The protocol's name: `FP32`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            /// The datatype of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)* _ => None }
            }

            /// Bytes of one element.
            pub const fn size(self) -> usize {
                match self { $(Self::$name => $size),* }
            }
        }
    };
}

datatypes! {
    /// One byte, 0 or 1.
    Bool = "BOOL", 1;
    /// Unsigned, 8 bits.
    Uint8 = "UINT8", 1;
    /// Unsigned, 16 bits.
    Uint16 = "UINT16", 2;
    /// Unsigned, 32 bits.
    Uint32 = "UINT32", 4;
    /// Unsigned, 64 bits.
    Uint64 = "UINT64", 8;
    /// Two's complement, 8 bits.
    Int8 = "INT8", 1;
    /// Two's complement, 16 bits.
    Int16 = "INT16", 2;
    /// Two's complement, 32 bits.
    Int32 = "INT32", 4;
    /// Two's complement, 64 bits.
    Int64 = "INT64", 8;
    /// IEEE 754 binary16.
    Fp16 = "FP16", 2;
    /// IEEE 754 binary32.
    Fp32 = "FP32", 4;
    /// IEEE 754 binary64.
    Fp64 = "FP64", 8;
    /// The upper half of binary32.
    Bf16 = "BF16", 2;
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A tensor. Its elements never show in Debug.
#[derive(Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub datatype: Datatype,
    /// Sizes; the first is the number of samples.
    pub shape: Vec<usize>,
    /// Elements: little-endian, row-major.
    pub data: Bytes,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({}, {:?})", self.datatype, self.shape)
    }
}

impl Tensor {
    /// Samples: the first size, or 0 for a scalar.
    pub fn samples(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// The shape of one sample.
    pub fn sample_shape(&self) -> &[usize] {
        self.shape.get(1..).unwrap_or_default()
    }

    /// Whether the bytes are as many as datatype and shape ask for.
    pub fn is_whole(&self) -> bool {
        byte_length(self.datatype, &self.shape) == Some(self.data.len())
    }

    /// Whether every element is a finite number; true for integers.
    pub fn is_finite(&self) -> bool {
        let exponent = |mask: u16| move |b: &[u8]| u16::from_le_bytes([b[0], b[1]]) & mask != mask;
        match self.datatype {
            Datatype::Fp32 => {
                self.data.as_chunks::<4>().0.iter().all(|b| f32::from_le_bytes(*b).is_finite())
            }
            Datatype::Fp64 => {
                self.data.as_chunks::<8>().0.iter().all(|b| f64::from_le_bytes(*b).is_finite())
            }
            Datatype::Fp16 => self.data.chunks_exact(2).all(exponent(0x7C00)),
            Datatype::Bf16 => self.data.chunks_exact(2).all(exponent(0x7F80)),
            _ => true,
        }
    }

    /// Whether every element, of a whole-number type of 64 bits, is from 0 up to, not including, `below`.
    pub fn is_below(&self, below: u64) -> bool {
        // A negative number read as unsigned is above every bound.
        let small = |b: &[u8; 8]| u64::from_le_bytes(*b) < below.min(i64::MAX as u64);
        let whole = matches!(self.datatype, Datatype::Int64 | Datatype::Uint64);
        whole && self.data.as_chunks::<8>().0.iter().all(small)
    }

    /// Joins tensors of one datatype and sample shape along the first dimension. Row-major, so the
    /// bytes simply follow each other.
    ///
    /// One tensor is passed through without a copy.
    pub fn concat(parts: &[Self]) -> Option<Self> {
        let [first, rest @ ..] = parts else { return None };
        if rest.is_empty() {
            return Some(first.clone());
        }
        let alike =
            |t: &Self| t.datatype == first.datatype && t.sample_shape() == first.sample_shape();
        if !rest.iter().all(alike) {
            return None;
        }
        let mut shape = first.shape.clone();
        *shape.first_mut()? = parts.iter().map(Self::samples).sum();
        let data: Vec<u8> = parts.iter().flat_map(|t| t.data.iter().copied()).collect();
        Some(Self { datatype: first.datatype, shape, data: data.into() })
    }

    /// Cuts the tensor into parts of these numbers of samples, without a copy.
    ///
    /// `None` if they are not the tensor's samples in all.
    pub fn split(&self, samples: &[usize]) -> Option<Vec<Self>> {
        let whole = self.samples();
        if whole == 0 || samples.iter().sum::<usize>() != whole || !self.is_whole() {
            return None;
        }
        let per_sample = self.data.len() / whole;
        let mut start = 0;
        let part = |&n: &usize| {
            let end = start + n * per_sample;
            let mut shape = self.shape.clone();
            shape[0] = n;
            let data = self.data.slice(start..end);
            start = end;
            Self { datatype: self.datatype, shape, data }
        };
        Some(samples.iter().map(part).collect())
    }
}

/// Bytes of a tensor's elements, if they can be counted.
pub fn byte_length(datatype: Datatype, shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(datatype.size(), |n, &s| n.checked_mul(s))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn tensor(shape: &[usize], fill: u8) -> Tensor {
        let n = byte_length(Datatype::Fp32, shape).unwrap();
        Tensor { datatype: Datatype::Fp32, shape: shape.to_vec(), data: vec![fill; n].into() }
    }

    proptest! {
        #[test]
        fn what_is_joined_splits_into_the_same_parts(sizes in prop::collection::vec(1_usize..5, 1..8)) {
            let parts: Vec<_> = sizes.iter().enumerate().map(|(i, &n)| tensor(&[n, 3, 2], i as u8)).collect();
            let whole = Tensor::concat(&parts).unwrap();
            prop_assert!(whole.is_whole());
            prop_assert_eq!(whole.split(&sizes).unwrap(), parts);
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_not_joined() {
        assert!(Tensor::concat(&[tensor(&[1, 2], 0), tensor(&[1, 3], 0)]).is_none());
        assert!(Tensor::concat(&[]).is_none());
        assert!(tensor(&[3, 2], 0).split(&[1, 1]).is_none());
        assert!(tensor(&[], 0).split(&[]).is_none());
    }

    #[test]
    fn not_a_number_is_found_in_every_float() {
        let of = |datatype: Datatype, bytes: &[u8]| Tensor {
            datatype,
            shape: vec![1],
            data: bytes.to_vec().into(),
        };
        assert!(!of(Datatype::Fp32, &f32::NAN.to_le_bytes()).is_finite());
        assert!(!of(Datatype::Fp64, &f64::INFINITY.to_le_bytes()).is_finite());
        assert!(!of(Datatype::Fp16, &0x7C00_u16.to_le_bytes()).is_finite());
        assert!(!of(Datatype::Bf16, &0x7F80_u16.to_le_bytes()).is_finite());
        assert!(of(Datatype::Fp16, &0x7BFF_u16.to_le_bytes()).is_finite());
        assert!(of(Datatype::Int64, &[0xFF; 8]).is_finite());
    }
}
