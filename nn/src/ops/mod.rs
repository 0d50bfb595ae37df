//! Operations on tensors, matching [`mixnn_model::ops`] row by row.

mod attention;
mod context;
mod embedding;
mod norm;
mod transformer;

pub(crate) use context::{Context, Mode};

use crate::NnError;
use mixnn_model::Op;
use mixnn_model::ops::{ConvTranspose2d, GeluApproximation, Linear, Residual};
use tch::{TchError, Tensor};

/// Computes an operation on a batch. Its parameters and buffers come out of the context, in the order
/// of [`mixnn_model::Operation::parameters`] and `buffers`.
pub(crate) fn forward(op: &Op, x: &Tensor, context: &mut Context<'_>) -> Result<Tensor, NnError> {
    let place = context.place();
    compute(op, x, context).map_err(|e| {
        NnError::torch(format!("op {place} ({}) on an input of {:?}", op.name(), x.size()), &e)
    })
}

fn pair(v: u32) -> [i64; 2] {
    [i64::from(v); 2]
}

fn compute(op: &Op, x: &Tensor, context: &mut Context<'_>) -> Result<Tensor, TchError> {
    match op {
        Op::Linear(l) => linear(l, x, context),
        Op::Conv1d(c) => {
            let (weight, bias) = context.weight_and_bias(c.bias)?;
            let side = |v: u32| [i64::from(v)];
            let (stride, padding, dilation) = (side(c.stride), side(c.padding), side(c.dilation));
            let y = context.low(x)?.f_conv1d(
                &weight,
                bias.as_ref(),
                stride,
                padding,
                dilation,
                c.groups.into(),
            )?;
            context.high(&y)
        }
        Op::Conv2d(c) => {
            let (weight, bias) = context.weight_and_bias(c.bias)?;
            let (stride, padding, dilation) = (pair(c.stride), pair(c.padding), pair(c.dilation));
            let y = context.low(x)?.f_conv2d(
                &weight,
                bias.as_ref(),
                stride,
                padding,
                dilation,
                c.groups.into(),
            )?;
            context.high(&y)
        }
        Op::ConvTranspose2d(c) => conv_transpose2d(c, x, context),
        Op::BatchNorm(n) => norm::batch(n, x, context),
        Op::GroupNorm(n) => norm::group(n, x, context),
        Op::LayerNorm(n) => norm::layer(n, x, context),
        Op::Relu(_) => x.f_relu(),
        Op::Gelu(g) => x.f_gelu(match g.approximate {
            GeluApproximation::None => "none",
            GeluApproximation::Tanh => "tanh",
        }),
        Op::Silu(_) => x.f_silu(),
        Op::Tanh(_) => x.f_tanh(),
        Op::Sigmoid(_) => x.f_sigmoid(),
        // tch's own leaky_relu knows the slope 0.01 only.
        Op::LeakyRelu(l) => x.f_where_self(&x.f_gt(0.0)?, &x.f_mul_scalar(l.slope)?),
        Op::Softmax(s) => x.f_softmax(s.dim.map_or(-1, |d| i64::from(d) + 1), x.kind()),
        Op::MaxPool2d(p) => {
            x.f_max_pool2d(pair(p.kernel), pair(p.step()), pair(p.padding), [1, 1], false)
        }
        Op::AvgPool2d(p) => {
            x.f_avg_pool2d(pair(p.kernel), pair(p.step()), pair(p.padding), false, true, None)
        }
        Op::AdaptiveMaxPool2d(p) => {
            Ok(x.f_adaptive_max_pool2d([i64::from(p.height), i64::from(p.width)])?.0)
        }
        Op::AdaptiveAvgPool2d(p) => {
            x.f_adaptive_avg_pool2d([i64::from(p.height), i64::from(p.width)])
        }
        Op::Flatten(_) => x.f_flatten(1, -1),
        Op::Reshape(r) => {
            let sample = r.shape.iter().map(|&s| i64::from(s));
            x.f_reshape(std::iter::once(x.size()[0]).chain(sample).collect::<Vec<_>>())
        }
        Op::Permute(p) => {
            let order = p.order.iter().map(|&d| i64::from(d) + 1);
            // Contiguous, so that what follows sees one layout, in a cut graph as in a whole one.
            x.f_permute(std::iter::once(0).chain(order).collect::<Vec<_>>())?.f_contiguous()
        }
        Op::Mean(m) => x.f_mean_dim([i64::from(m.dim) + 1].as_slice(), false, x.kind()),
        Op::Dropout(d) => context.dropout(x, d.p),
        Op::Embedding(e) => embedding::tokens(e, x, context),
        Op::PositionalEmbedding(e) => embedding::positions(e, x, context),
        Op::Residual(r) => residual(r, x, context),
        Op::Attention(a) => attention::to_itself(a, x, context),
        Op::TransformerEncoder(t) => transformer::encoder(t, x, context),
        Op::TransformerDecoder(t) => transformer::decoder(t, x, context),
    }
}

pub(super) fn linear(
    l: &Linear,
    x: &Tensor,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let (weight, bias) = context.weight_and_bias(l.bias)?;
    let y = context.low(x)?.f_linear(&weight, bias.as_ref())?;
    context.high(&y)
}

fn conv_transpose2d(
    c: &ConvTranspose2d,
    x: &Tensor,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let (weight, bias) = context.weight_and_bias(c.bias)?;
    let y = context.low(x)?.f_conv_transpose2d(
        &weight,
        bias.as_ref(),
        pair(c.stride),
        pair(c.padding),
        pair(c.output_padding),
        c.groups.into(),
        [1, 1],
    )?;
    context.high(&y)
}

fn residual(r: &Residual, x: &Tensor, context: &mut Context<'_>) -> Result<Tensor, TchError> {
    let body = chain("body", &r.body, x, context)?;
    let shortcut = chain("shortcut", &r.shortcut, x, context)?;
    body.f_add(&shortcut)
}

fn chain(
    name: &str,
    ops: &[Op],
    x: &Tensor,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let mut y = x.shallow_clone();
    for (i, op) in ops.iter().enumerate() {
        y = context.within(&format!("{name}.{i}"), |context| compute(op, &y, context))?;
    }
    Ok(y)
}
