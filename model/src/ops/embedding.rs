//! `torch.nn.Embedding`, and vectors for positions.

use super::{Operation, size};
use crate::{Element, Init, Parameter, Role, Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A learned vector for each token: weights of shape [count, size].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Embedding {
    /// How many tokens there are.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub count: u32,
    /// Numbers of a vector.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub size: u32,
    /// The token that stands for nothing: its vector is zeros, and never learns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub padding: Option<u32>,
}

impl Operation for Embedding {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let (count, vector) = (size("count", self.count)?, size("size", self.size)?);
        if let Some(padding) = self.padding.filter(|&p| p >= self.count) {
            return Err(ShapeError(format!(
                "padding is {padding}; it must be below count ({count})"
            )));
        }
        let Element::Token(vocabulary) = input.element() else {
            return Err(ShapeError(format!("expects tokens, its input has shape {input}")));
        };
        if vocabulary > count {
            return Err(ShapeError(format!(
                "has vectors for {count} tokens, its input is {input}: set count to {vocabulary}"
            )));
        }
        Shape::new([count.saturating_mul(vector)])?;
        Shape::new([input.sizes(), &[vector]].concat())
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![Parameter {
            name: "weight".into(),
            shape: vec![i64::from(self.count), i64::from(self.size)],
            init: Init::Normal { zero_row: self.padding.map(i64::from) },
            role: Role::Embedding,
        }]
    }

    fn takes_tokens(&self) -> bool {
        true
    }

    fn flops(&self, _: &Shape) -> u64 {
        0
    }
}

/// Adds a vector to each position of a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PositionalEmbedding {
    /// The most positions.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub length: u32,
    /// Numbers of a vector.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub size: u32,
    /// Where the vectors come from.
    #[serde(default)]
    pub kind: PositionKind,
}

/// Where vectors of positions come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PositionKind {
    /// They are learned: `weight` of shape [length, size], as an `nn.Embedding` of positions.
    #[default]
    Learned,
    /// sin and cos of many wavelengths (arXiv 1706.03762, section 3.5). The size must be even.
    Sinusoidal,
}

impl Operation for PositionalEmbedding {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let (most, vector) = (size("length", self.length)?, size("size", self.size)?);
        Shape::new([most, vector])?;
        let [length, features] = input.sequence()?;
        if features != vector {
            return Err(ShapeError(format!(
                "adds vectors of {vector}, its input has shape {input}: set size to {features}"
            )));
        }
        if length > most {
            return Err(ShapeError(format!(
                "knows {most} positions, its input has shape {input}: set length to {length}"
            )));
        }
        if self.kind == PositionKind::Sinusoidal && vector % 2 == 1 {
            return Err(ShapeError(format!(
                "size is {vector}; sines and cosines take an even size"
            )));
        }
        Ok(input.clone())
    }

    fn parameters(&self) -> Vec<Parameter> {
        if self.kind == PositionKind::Sinusoidal {
            return Vec::new();
        }
        vec![Parameter {
            name: "weight".into(),
            shape: vec![i64::from(self.length), i64::from(self.size)],
            init: Init::Normal { zero_row: None },
            role: Role::Embedding,
        }]
    }
}
