//! `torch.nn.TransformerEncoderLayer` and `torch.nn.TransformerDecoderLayer` (batch_first).

use super::{Attention, LayerNorm, Linear, Operation, eps, probability, size, yes};
use crate::parameter::within;
use crate::{Parameter, Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where layer norms stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NormPlace {
    /// After each sum: `norm(x + f(x))`, as in arXiv 1706.03762.
    #[default]
    Post,
    /// Before each part: `x + f(norm(x))`, as in GPT-2 (arXiv 2002.04745).
    Pre,
}

/// The activation of a feed-forward part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Activation {
    /// max(0, x).
    #[default]
    Relu,
    /// x Φ(x).
    Gelu,
}

macro_rules! blocks {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $name {
            /// Numbers at each position.
            #[schemars(range(min = 1, max = 16_777_216))]
            pub size: u32,
            /// Attention heads, which must divide the size.
            #[schemars(range(min = 1, max = 16_777_216))]
            pub heads: u32,
            /// Numbers between the two linear operations of the feed-forward part.
            #[schemars(range(min = 1, max = 16_777_216))]
            pub feed_forward: u32,
            /// Probability of dropout, at the four places where PyTorch has it.
            #[serde(default)]
            pub dropout: f64,
            /// Between the two linear operations.
            #[serde(default)]
            pub activation: Activation,
            /// Where layer norms stand.
            #[serde(default)]
            pub norm: NormPlace,
            /// Added to the variance in layer norms, above 0.
            #[serde(default = "eps")]
            pub eps: f64,
            /// Whether linear operations and projections have a learned bias.
            #[serde(default = "yes")]
            pub bias: bool,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// The operations between layer norms.
            pub fn norm_op(&self) -> LayerNorm {
                LayerNorm { shape: vec![self.size], eps: self.eps, affine: true }
            }

            /// The first linear operation of the feed-forward part.
            pub fn linear1(&self) -> Linear {
                Linear { inputs: self.size, outputs: self.feed_forward, bias: self.bias }
            }

            /// The second linear operation of the feed-forward part.
            pub fn linear2(&self) -> Linear {
                Linear { inputs: self.feed_forward, outputs: self.size, bias: self.bias }
            }

            fn attention_as(&self, causal: bool) -> Attention {
                Attention {
                    size: self.size,
                    heads: self.heads,
                    causal,
                    window: None,
                    dropout: self.dropout,
                    bias: self.bias,
                }
            }

            fn check(&self) -> Result<(), ShapeError> {
                size("feedForward", self.feed_forward)?;
                probability("dropout", self.dropout)?;
                super::positive("eps", self.eps)
            }

            fn feed_forward_parameters(&self) -> impl Iterator<Item = Parameter> {
                within("linear1", self.linear1().parameters())
                    .chain(within("linear2", self.linear2().parameters()))
            }

            fn feed_forward_flops(&self, input: &Shape) -> u64 {
                let positions = input.sizes()[0] as u64;
                let products = 4 * u64::from(self.size).saturating_mul(u64::from(self.feed_forward));
                positions.saturating_mul(products)
            }
        }
    )*};
}

blocks! {
    /// Self-attention and feed-forward, each with residual and layer norm: [length, size] to the same.
    TransformerEncoder {
        /// Whether a position sees only itself and those before it.
        #[serde(default)]
        causal: bool,
        /// Works on the first so many positions only and gives the rest on as it is: the source in
        /// front of a target that a decoder reads. All if not set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<u32>,
    }
    /// Causal self-attention and feed-forward, each with residual and layer norm; with a memory,
    /// attention to it between them. [length, size] to the same.
    TransformerDecoder {
        /// How many positions at the start of the input are the memory (an encoder's output), given on
        /// as it is. Without any, this is a block of a decoder-only model, such as GPT-2's.
        #[serde(default)]
        memory: u32,
    }
}

impl TransformerEncoder {
    /// Its self-attention.
    pub fn attention(&self) -> Attention {
        self.attention_as(self.causal)
    }

    /// The part of the input that it works on.
    fn part(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let [length, features] = input.sequence()?;
        let first = self.first.map_or(Ok(length), |n| size("first", n))?;
        if first > length {
            return Err(ShapeError(format!("first is {first}, its input has shape {input}")));
        }
        Shape::new([first, features])
    }
}

impl Operation for TransformerEncoder {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.check()?;
        self.attention().output(&self.part(input)?)?;
        Ok(input.clone())
    }

    fn parameters(&self) -> Vec<Parameter> {
        within("self_attn", self.attention().parameters())
            .chain(self.feed_forward_parameters())
            .chain(within("norm1", self.norm_op().parameters()))
            .chain(within("norm2", self.norm_op().parameters()))
            .collect()
    }

    fn flops(&self, input: &Shape) -> u64 {
        let Ok(part) = self.part(input) else { return 0 };
        self.attention().flops(&part).saturating_add(self.feed_forward_flops(&part))
    }

    fn is_stochastic(&self) -> bool {
        self.dropout > 0.0
    }
}

impl TransformerDecoder {
    /// Its causal self-attention.
    pub fn attention(&self) -> Attention {
        self.attention_as(true)
    }

    /// Its attention to the memory.
    pub fn memory_attention(&self) -> Attention {
        self.attention_as(false)
    }

    /// The part of the input behind the memory.
    fn target(&self, input: &Shape) -> Result<Shape, ShapeError> {
        let [length, features] = input.sequence()?;
        let memory = self.memory as usize;
        if memory >= length {
            return Err(ShapeError(format!(
                "memory is {memory}, its input has shape {input}: nothing is left behind it"
            )));
        }
        Shape::new([length - memory, features])
    }
}

impl Operation for TransformerDecoder {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        self.check()?;
        self.attention().output(&self.target(input)?)?;
        Ok(input.clone())
    }

    fn parameters(&self) -> Vec<Parameter> {
        let has_memory = self.memory > 0;
        let mut parameters: Vec<_> = within("self_attn", self.attention().parameters()).collect();
        if has_memory {
            parameters.extend(within("multihead_attn", self.memory_attention().parameters()));
        }
        parameters.extend(self.feed_forward_parameters());
        let norms = ["norm1", "norm2", "norm3"];
        for name in &norms[..if has_memory { 3 } else { 2 }] {
            parameters.extend(within(name, self.norm_op().parameters()));
        }
        parameters
    }

    fn flops(&self, input: &Shape) -> u64 {
        let Ok(target) = self.target(input) else { return 0 };
        let (length, memory) = (target.sizes()[0], self.memory as usize);
        let to_memory =
            if memory > 0 { self.memory_attention().flops_over(length, memory) } else { 0 };
        self.attention()
            .flops(&target)
            .saturating_add(to_memory)
            .saturating_add(self.feed_forward_flops(&target))
    }

    fn is_stochastic(&self) -> bool {
        self.dropout > 0.0
    }
}
