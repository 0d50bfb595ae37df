//! Multi-head attention, as `torch.nn.MultiheadAttention` computes it with its weights asked for.

use super::Context;
use mixnn_model::ops::Attention;
use tch::{Kind, TchError, Tensor};

/// Attention of a sequence to itself.
pub(super) fn to_itself(
    a: &Attention,
    x: &Tensor,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let (weight, bias) = context.weight_and_bias(a.bias)?;
    let projected = context.low(x)?.f_linear(&weight, bias.as_ref())?;
    let [q, k, v] = three(projected.f_chunk(3, -1)?)?;
    attend(a, [&q, &k, &v], mask(a, x)?.as_ref(), context)
}

/// Attention of a sequence to another one, all of which it sees.
pub(super) fn to_memory(
    a: &Attention,
    x: &Tensor,
    memory: &Tensor,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let (weight, bias) = context.weight_and_bias(a.bias)?;
    let size = i64::from(a.size);
    let project = |t: &Tensor, start: i64, count: i64| {
        let weight = weight.f_narrow(0, start * size, count * size)?;
        let bias = bias.as_ref().map(|b| b.f_narrow(0, start * size, count * size)).transpose()?;
        context.low(t)?.f_linear(&weight, bias.as_ref())
    };
    let (q, kv) = (project(x, 0, 1)?, project(memory, 1, 2)?);
    let (k, v) = (kv.f_narrow(-1, 0, size)?, kv.f_narrow(-1, size, size)?);
    attend(a, [&q, &k, &v], None, context)
}

fn three(parts: Vec<Tensor>) -> Result<[Tensor; 3], TchError> {
    <[Tensor; 3]>::try_from(parts).map_err(|_| TchError::Torch("no three projections".into()))
}

/// `softmax(q k^T / sqrt(d)) v` for each head, then the projection out.
fn attend(
    a: &Attention,
    [q, k, v]: [&Tensor; 3],
    mask: Option<&Tensor>,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let (heads, size) = (i64::from(a.heads), i64::from(a.size));
    let each = |t: &Tensor| {
        t.f_reshape([t.size()[0], t.size()[1], heads, size / heads])?.f_transpose(1, 2)
    };
    let (q, k, v) = (each(q)?, each(k)?, each(v)?);
    let scale = 1.0 / ((size / heads) as f64).sqrt();
    let scores = q.f_mul_scalar(scale)?.f_matmul(&k.f_transpose(-2, -1)?)?;
    let scores = context.high(&scores)?;
    let scores = match mask {
        Some(mask) => scores.f_masked_fill(mask, f64::NEG_INFINITY)?,
        None => scores,
    };
    let weights = scores.f_softmax(-1, Kind::Float)?;
    let weights = context.within("weights", |context| context.dropout(&weights, a.dropout))?;
    let heads = context.low(&weights)?.f_matmul(&v)?;
    let joined = heads.f_transpose(1, 2)?.f_reshape([heads.size()[0], heads.size()[2], size])?;
    let (weight, bias) = context.weight_and_bias(a.bias)?;
    context.high(&joined.f_linear(&weight, bias.as_ref())?)
}

/// True where a position (row) must not look (column).
fn mask(a: &Attention, x: &Tensor) -> Result<Option<Tensor>, TchError> {
    if !a.causal && a.window.is_none() {
        return Ok(None);
    }
    let length = x.size()[1];
    let all = || Tensor::f_ones([length, length], (Kind::Bool, x.device()));
    let behind = |distance: i64| all()?.f_triu(distance);
    let window = a.window.map_or(length, i64::from);
    let after = behind(if a.causal { 1 } else { window + 1 })?;
    let before = behind(window + 1)?.f_transpose(0, 1)?;
    after.f_logical_or(&before).map(Some)
}
