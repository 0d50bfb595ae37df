//! `torch.nn.MultiheadAttention` of a sequence to itself (batch_first).

use super::{Operation, probability, size, yes};
use crate::parameter::{weight_and_bias, within};
use crate::{Init, Parameter, Role, Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Multi-head attention (arXiv 1706.03762) of a sequence to itself: [length, size] to the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attention {
    /// Numbers at each position.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub size: u32,
    /// Heads, which must divide the size.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub heads: u32,
    /// Whether a position sees only itself and those before it.
    #[serde(default)]
    pub causal: bool,
    /// How many positions before (and, unless causal, after) itself a position sees; all if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// Probability that an attention weight is set to zero in training.
    #[serde(default)]
    pub dropout: f64,
    /// Whether projections have a learned bias.
    #[serde(default = "yes")]
    pub bias: bool,
}

impl Operation for Attention {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let (wanted, heads) = (size("size", self.size)?, size("heads", self.heads)?);
        probability("dropout", self.dropout)?;
        if !wanted.is_multiple_of(heads) {
            return Err(ShapeError(format!("heads is {heads}; it must divide size ({wanted})")));
        }
        Shape::new([3 * wanted, wanted])?;
        let [length, found] = input.sequence()?;
        Shape::new([heads, length, length])?;
        if wanted == found {
            return Ok(input.clone());
        }
        Err(ShapeError(format!(
            "expects {wanted} numbers at each position, its input has shape {input}: set size to {found}"
        )))
    }

    fn parameters(&self) -> Vec<Parameter> {
        let size = i64::from(self.size);
        let weight = Parameter {
            name: "in_proj_weight".into(),
            shape: vec![3 * size, size],
            init: Init::Xavier { fan_in: size, fan_out: 3 * size },
            role: Role::Weight,
        };
        let zeros = |name: &str, n| Parameter {
            name: name.into(),
            shape: vec![n],
            init: Init::Zeros,
            role: Role::Bias,
        };
        let mut parameters = vec![weight];
        if self.bias {
            parameters.push(zeros("in_proj_bias", 3 * size));
        }
        parameters.extend(within("out_proj", weight_and_bias(vec![size, size], None)));
        if self.bias {
            parameters.push(zeros("out_proj.bias", size));
        }
        parameters
    }

    fn flops(&self, input: &Shape) -> u64 {
        let Ok([length, _]) = input.sequence() else { return 0 };
        self.flops_over(length, length)
    }

    fn is_stochastic(&self) -> bool {
        self.dropout > 0.0
    }
}

impl Attention {
    /// Four projections (two over each sequence), scores, and sums over values.
    pub(super) fn flops_over(&self, from: usize, to: usize) -> u64 {
        let (size, from, to) = (u64::from(self.size), from as u64, to as u64);
        let projections = 4 * size.saturating_mul(size).saturating_mul(from + to);
        let products = 4 * size.saturating_mul(from).saturating_mul(to);
        let softmax = u64::from(self.heads).saturating_mul(from).saturating_mul(to);
        projections.saturating_add(products).saturating_add(softmax)
    }
}
