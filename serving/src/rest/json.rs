//! The JSON of the REST side. Every list from outside is bounded, every unknown field is refused.

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// The most inputs, outputs or parameters of a request.
const MOST: usize = 64;
/// The most dimensions of a tensor.
const DIMENSIONS: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InferRequest<'a> {
    #[serde(borrow, default)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) parameters: Parameters,
    #[serde(borrow)]
    pub(super) inputs: Few<Input<'a>, MOST>,
    #[serde(borrow, default)]
    pub(super) outputs: Few<Output<'a>, MOST>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) datatype: Cow<'a, str>,
    pub(super) shape: Few<i64, DIMENSIONS>,
    #[serde(default)]
    pub(super) parameters: Parameters,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Output<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(default)]
    pub(super) parameters: Parameters,
}

/// A list of at most `N`: the one too many ends the reading.
pub(super) struct Few<T, const N: usize>(pub(super) Vec<T>);

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Bounded<T, const N: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Bounded<T, N> {
            type Value = Few<T, N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {N}")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut out = Vec::new();
                while let Some(member) = list.next_element()? {
                    if out.len() == N {
                        return Err(A::Error::invalid_length(N + 1, &self));
                    }
                    out.push(member);
                }
                Ok(Few(out))
            }
        }
        d.deserialize_seq(Bounded(PhantomData))
    }
}

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Parameter {
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Parameter;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean, a number or a string")
            }
            fn visit_bool<E>(self, v: bool) -> Result<Parameter, E> {
                Ok(Parameter::Bool(v))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Parameter, E> {
                Ok(Parameter::Integer(i128::from(v)))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Parameter, E> {
                Ok(Parameter::Integer(i128::from(v)))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Parameter, E> {
                Ok(Parameter::Float(v))
            }
            fn visit_str<E>(self, v: &str) -> Result<Parameter, E> {
                Ok(Parameter::Text(v.to_owned()))
            }
        }
        d.deserialize_any(Scalar)
    }
}

/// Parameters of a request, an input or an output.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parameters(pub(super) BTreeMap<String, Parameter>);

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Parameters;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object of at most {MOST} parameters")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
                let mut out = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Parameter>()? {
                    if out.len() == MOST {
                        return Err(A::Error::invalid_length(MOST + 1, &self));
                    }
                    out.insert(key, value);
                }
                Ok(Parameters(out))
            }
        }
        d.deserialize_map(Map)
    }
}

#[derive(Serialize)]
pub(super) struct InferResponse<'a> {
    pub(super) model_name: &'a str,
    pub(super) model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    pub(super) outputs: Vec<OutputTensor<'a>>,
}

#[derive(Serialize)]
pub(super) struct OutputTensor<'a> {
    pub(super) name: &'a str,
    pub(super) datatype: &'static str,
    pub(super) shape: &'a [usize],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) parameters: BTreeMap<&'static str, Parameter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<Box<RawValue>>,
}

#[derive(Serialize)]
pub(super) struct ServerMetadata {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) extensions: &'static [&'static str],
}

#[derive(Serialize)]
pub(super) struct ModelMetadata<'a> {
    pub(super) name: &'a str,
    pub(super) versions: Vec<String>,
    pub(super) platform: &'a str,
    pub(super) inputs: Vec<TensorMetadata<'a>>,
    pub(super) outputs: Vec<TensorMetadata<'a>>,
}

#[derive(Serialize)]
pub(super) struct TensorMetadata<'a> {
    pub(super) name: &'a str,
    pub(super) datatype: &'static str,
    pub(super) shape: Vec<i64>,
}

impl<'a> TensorMetadata<'a> {
    pub(super) fn of(info: &'a crate::TensorInfo) -> Self {
        Self { name: &info.name, datatype: info.datatype.name(), shape: info.shape() }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct IndexRequest {
    #[serde(default)]
    pub(super) ready: bool,
}

#[derive(Serialize)]
pub(super) struct IndexEntry {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) state: &'static str,
    pub(super) reason: String,
}
