//! Transformer blocks, as `torch.nn.TransformerEncoderLayer` and `TransformerDecoderLayer` compute
//! them.

use super::{Context, attention, linear, norm};
use mixnn_model::ops::{
    Activation, LayerNorm, Linear, NormPlace, TransformerDecoder, TransformerEncoder,
};
use tch::{TchError, Tensor};

/// A part of a block, without the residual around it.
type Part<'p> = dyn Fn(&Tensor, &mut Context<'_>) -> Result<Tensor, TchError> + 'p;

pub(super) fn encoder(
    t: &TransformerEncoder,
    x: &Tensor,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let length = x.size()[1];
    let first = t.first.map_or(length, i64::from);
    let part = if first < length { x.f_narrow(1, 0, first)? } else { x.shallow_clone() };
    let attention = t.attention();
    let attend =
        |x: &Tensor, context: &mut Context<'_>| attention::to_itself(&attention, x, context);
    let feed = feed_forward(t.linear1(), t.linear2(), t.activation, t.dropout);
    let block = Block {
        parts: &[("self_attn", &attend), ("linear", &feed)],
        bias: t.bias,
        norm: t.norm_op(),
    };
    let y = block.compute(t.norm, t.dropout, &part, context)?;
    if first == length {
        return Ok(y);
    }
    Tensor::f_cat(&[y, x.f_narrow(1, first, length - first)?], 1)
}

pub(super) fn decoder(
    t: &TransformerDecoder,
    x: &Tensor,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let attention = t.attention();
    let attend =
        |x: &Tensor, context: &mut Context<'_>| attention::to_itself(&attention, x, context);
    let feed = feed_forward(t.linear1(), t.linear2(), t.activation, t.dropout);
    if t.memory == 0 {
        let block = Block {
            parts: &[("self_attn", &attend), ("linear", &feed)],
            bias: t.bias,
            norm: t.norm_op(),
        };
        return block.compute(t.norm, t.dropout, x, context);
    }
    let (length, memory) = (x.size()[1], i64::from(t.memory));
    let (memory, target) = (x.f_narrow(1, 0, memory)?, x.f_narrow(1, memory, length - memory)?);
    let cross = t.memory_attention();
    let look =
        |x: &Tensor, context: &mut Context<'_>| attention::to_memory(&cross, x, &memory, context);
    let parts: [(&str, &Part<'_>); 3] =
        [("self_attn", &attend), ("multihead_attn", &look), ("linear", &feed)];
    let block = Block { parts: &parts, bias: t.bias, norm: t.norm_op() };
    let y = block.compute(t.norm, t.dropout, &target, context)?;
    Tensor::f_cat(&[memory, y], 1)
}

/// Parts, each with a residual and a layer norm. In PyTorch's order the norms' parameters come after
/// those of all parts.
struct Block<'p> {
    parts: &'p [(&'p str, &'p Part<'p>)],
    bias: bool,
    norm: LayerNorm,
}

impl Block<'_> {
    fn compute(
        &self,
        place: NormPlace,
        dropout: f64,
        x: &Tensor,
        context: &mut Context<'_>,
    ) -> Result<Tensor, TchError> {
        // Each part has two weights, be they projections or linear operations.
        let before = self.parts.len() * 2 * (1 + usize::from(self.bias));
        let mut norms = context.ahead(before, self.parts.len() * 2)?;
        let mut x = x.shallow_clone();
        for (name, part) in self.parts {
            let mut normed = |x: &Tensor| norm::layer(&self.norm, x, &mut norms);
            let input = if place == NormPlace::Pre { normed(&x)? } else { x.shallow_clone() };
            let y = context.within(name, |context| part(&input, context))?;
            let y =
                context.within(&format!("{name}.out"), |context| context.dropout(&y, dropout))?;
            x = x.f_add(&y)?;
            if place == NormPlace::Post {
                x = normed(&x)?;
            }
        }
        (0..self.parts.len() * 2).try_for_each(|_| context.parameter().map(drop))?;
        Ok(x)
    }
}

fn feed_forward(
    first: Linear,
    second: Linear,
    activation: Activation,
    dropout: f64,
) -> impl Fn(&Tensor, &mut Context<'_>) -> Result<Tensor, TchError> {
    move |x, context| {
        let y = linear(&first, x, context)?;
        let y = match activation {
            Activation::Relu => y.f_relu()?,
            Activation::Gelu => y.f_gelu("none")?,
        };
        let y = context.dropout(&y, dropout)?;
        linear(&second, &y, context)
    }
}
