//! Elements in JSON: flat in row-major order, or nested as the shape says.

use crate::{Datatype, Tensor};
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;

/// Reads a tensor's elements from JSON; the error says what does not fit.
///
/// Memory stays within the shape's own size, which the caller has checked: the first element too many
/// ends it.
pub(crate) fn from_json(
    json: &str,
    datatype: Datatype,
    shape: &[usize],
    bytes: usize,
) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(bytes.min(json.len().saturating_mul(4)));
    let mut reader = serde_json::Deserializer::from_str(json);
    let top = Level { datatype, shape, depth: 0, most: bytes, out: &mut out };
    top.deserialize(&mut reader).map_err(|e| without_place(&e))?;
    if out.len() == bytes {
        return Ok(out);
    }
    let (found, expected) = (out.len() / datatype.size(), bytes / datatype.size());
    Err(format!("has {found} elements; shape {shape:?} has {expected}"))
}

/// The line and column are those of the fragment, which helps nobody.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// One list of the nesting. The first list holds all elements, or lists of the second dimension.
struct Level<'a> {
    datatype: Datatype,
    shape: &'a [usize],
    depth: usize,
    most: usize,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        if self.depth == 0 { d.deserialize_seq(self) } else { d.deserialize_any(self) }
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.depth {
            0 => write!(f, "a list of {} elements", self.datatype),
            _ => write!(f, "an element of {}", self.datatype),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth >= self.shape.len() {
            return Err(A::Error::custom(format!("is nested deeper than shape {:?}", self.shape)));
        }
        let before = self.out.len();
        let mut members = 0_usize;
        loop {
            let start = self.out.len();
            let inner = Level { depth: self.depth + 1, out: &mut *self.out, ..self };
            if list.next_element_seed(inner)?.is_none() {
                break;
            }
            let grown = self.out.len() - start;
            members += 1;
            self.check_member(members, grown).map_err(A::Error::custom)?;
        }
        let flat = self.depth == 0 && self.out.len() - before == members * self.datatype.size();
        if flat || members == self.shape[self.depth] {
            return Ok(());
        }
        let expected = self.shape[self.depth];
        Err(A::Error::custom(format!(
            "has a list of {members} where shape {:?} has {expected}",
            self.shape
        )))
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<(), E> {
        if self.datatype == Datatype::Bool {
            return self.put(&[u8::from(v)]);
        }
        Err(E::invalid_type(serde::de::Unexpected::Bool(v), &self))
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<(), E> {
        self.number(i128::from(v), v as f64)
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<(), E> {
        self.number(i128::from(v), v as f64)
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<(), E> {
        match self.datatype {
            Datatype::Fp32 => self.fp32(v),
            Datatype::Fp64 => self.put(&v.to_le_bytes()),
            _ => Err(E::invalid_type(serde::de::Unexpected::Float(v), &self)),
        }
    }
}

impl Level<'_> {
    /// A member of a list is one element (only in a flat list or the innermost), or a whole list.
    fn check_member(&self, members: usize, grown: usize) -> Result<(), String> {
        let size = self.datatype.size();
        let innermost = self.depth + 1 == self.shape.len();
        if self.depth == 0 && self.out.len() == members * size {
            return Ok(());
        }
        let whole: usize = self.shape[self.depth + 1..].iter().product::<usize>() * size;
        if !innermost && grown != whole || self.depth > 0 && members > self.shape[self.depth] {
            return Err(format!("is not nested as shape {:?} says", self.shape));
        }
        Ok(())
    }

    fn fp32<E: Error>(self, v: f64) -> Result<(), E> {
        let single = v as f32;
        if single.is_finite() {
            return self.put(&single.to_le_bytes());
        }
        Err(E::custom(format!("{v} does not fit into FP32")))
    }

    fn number<E: Error>(self, whole: i128, float: f64) -> Result<(), E> {
        macro_rules! integer {
            ($t:ty) => {
                match <$t>::try_from(whole) {
                    Ok(v) => self.put(&v.to_le_bytes()),
                    Err(_) => {
                        Err(E::custom(format!("{whole} does not fit into {}", self.datatype)))
                    }
                }
            };
        }
        match self.datatype {
            Datatype::Fp32 => self.fp32(float),
            Datatype::Fp64 => self.put(&float.to_le_bytes()),
            Datatype::Int8 => integer!(i8),
            Datatype::Int16 => integer!(i16),
            Datatype::Int32 => integer!(i32),
            Datatype::Int64 => integer!(i64),
            Datatype::Uint8 => integer!(u8),
            Datatype::Uint16 => integer!(u16),
            Datatype::Uint32 => integer!(u32),
            Datatype::Uint64 => integer!(u64),
            Datatype::Bool if (0..=1).contains(&whole) => self.put(&[whole as u8]),
            Datatype::Bool => Err(E::custom(format!("{whole} is no BOOL"))),
            Datatype::Fp16 | Datatype::Bf16 => {
                Err(E::custom(format!("{} travels as binary data only", self.datatype)))
            }
        }
    }

    fn put<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        if self.depth == 0 {
            return Err(E::custom("is no list"));
        }
        if self.out.len() + bytes.len() > self.most {
            return Err(E::custom(format!("has more elements than shape {:?}", self.shape)));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// Writes a tensor's elements as a flat JSON list.
///
/// Floats in the fewest digits that give the same bits back.
///
/// # Errors
/// What JSON cannot say: a float that is not finite, FP16, BF16.
pub(crate) fn to_json(tensor: &Tensor) -> Result<String, String> {
    macro_rules! list {
        ($t:ty) => {{
            let (elements, _) = tensor.data.as_chunks();
            let values: Vec<$t> = elements.iter().map(|b| <$t>::from_le_bytes(*b)).collect();
            serde_json::to_string(&values).map_err(|e| e.to_string())
        }};
    }
    if !tensor.is_finite() {
        return Err(
            "holds a value that is not finite, which JSON cannot say; ask for binary data".into()
        );
    }
    match tensor.datatype {
        Datatype::Bool => {
            let values: Vec<bool> = tensor.data.iter().map(|b| *b != 0).collect();
            serde_json::to_string(&values).map_err(|e| e.to_string())
        }
        Datatype::Uint8 => list!(u8),
        Datatype::Uint16 => list!(u16),
        Datatype::Uint32 => list!(u32),
        Datatype::Uint64 => list!(u64),
        Datatype::Int8 => list!(i8),
        Datatype::Int16 => list!(i16),
        Datatype::Int32 => list!(i32),
        Datatype::Int64 => list!(i64),
        Datatype::Fp32 => list!(f32),
        Datatype::Fp64 => list!(f64),
        Datatype::Fp16 | Datatype::Bf16 => {
            Err(format!("is {}, which travels as binary data only", tensor.datatype))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn read(json: &str, datatype: Datatype, shape: &[usize]) -> Result<Vec<u8>, String> {
        let bytes = crate::tensor::byte_length(datatype, shape).unwrap();
        from_json(json, datatype, shape, bytes)
    }

    #[test]
    fn flat_and_nested_are_the_same() {
        let flat = read("[1, 2, 3, 4, 5, 6]", Datatype::Int32, &[2, 3]).unwrap();
        assert_eq!(read("[[1, 2, 3], [4, 5, 6]]", Datatype::Int32, &[2, 3]).unwrap(), flat);
        assert_eq!(read("[[[1, 2, 3]], [[4, 5, 6]]]", Datatype::Int32, &[2, 1, 3]).unwrap(), flat);
        assert_eq!(flat[..8], [1, 0, 0, 0, 2, 0, 0, 0]);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let cases = [
            ("[1, 2, 3]", "[2, 2] has 4"),
            ("[1, 2, 3, 4, 5]", "more elements"),
            ("[[1, 2, 3], [4]]", "more elements|list of|not nested"),
            ("[[1, 2, 3]]", "list of|not nested"),
            ("[[1], [2, 3, 4]]", "list of|not nested"),
            ("[1, [2, 3], 4]", "nested"),
            ("[[[1, 2]], [[3, 4]]]", "deeper"),
            ("[1, null, 3, 4]", "null"),
            ("[1, \"2\", 3, 4]", "string"),
            ("[1, NaN, 3, 4]", "expected"),
            ("[1, 1e400, 3, 4]", "number out of range"),
            ("[1, 1e39, 3, 4]", "does not fit into FP32"),
            ("{}", "map"),
            ("5", "integer"),
        ];
        for (json, said) in cases {
            let error = read(json, Datatype::Fp32, &[2, 2]).expect_err(json);
            assert!(said.split('|').any(|s| error.contains(s)), "{json}: {error}");
        }
        assert!(read("[300]", Datatype::Uint8, &[1]).unwrap_err().contains("300 does not fit"));
        assert!(read("[1.5]", Datatype::Int64, &[1]).unwrap_err().contains("floating point"));
        assert!(read("[1.5]", Datatype::Fp16, &[1]).is_err());
    }

    proptest! {
        #[test]
        fn floats_come_back_bit_for_bit(values in prop::collection::vec(any::<f32>().prop_filter("finite", |v| v.is_finite()), 1..20)) {
            let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let tensor = Tensor { datatype: Datatype::Fp32, shape: vec![values.len()], data: data.clone().into() };
            let json = to_json(&tensor).unwrap();
            prop_assert_eq!(read(&json, Datatype::Fp32, &[values.len()]).unwrap(), data);
        }

        #[test]
        fn hostile_text_is_refused_without_a_panic(text in "[\\[\\],0-9.eE+\\-nul\" ]{0,64}") {
            let _ = read(&text, Datatype::Fp32, &[2, 3, 1]);
        }
    }
}
