//! Operations on tensors, matching [`mixnn_model::ops`] row by row.

use crate::draw::seeded;
use crate::{LayerKey, NnError};
use mixnn_model::Op;
use tch::{Kind, TchError, Tensor};

/// When an operation is computed, which decides what random numbers it draws.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode<'a> {
    /// In training: which layer, step and micro-batch.
    Train { key: &'a LayerKey, step: u64, micro_batch: u32 },
    /// In evaluation: nothing is random.
    Eval,
}

/// Computes operation `index` of a layer on a batch.
///
/// `parameters` are the operation's own, in the order of [`mixnn_model::Operation::parameters`].
pub(crate) fn forward(
    op: &Op,
    index: usize,
    x: &Tensor,
    parameters: &[Tensor],
    mode: Mode<'_>,
) -> Result<Tensor, NnError> {
    let named = |e: TchError| {
        NnError::torch(format!("op {index} ({}) on an input of {:?}", op.name(), x.size()), &e)
    };
    let pair = |v: u32| [i64::from(v); 2];
    match op {
        Op::Linear(_) => x.f_linear(&parameters[0], parameters.get(1)),
        Op::Conv2d(c) => x.f_conv2d(
            &parameters[0],
            parameters.get(1),
            pair(c.stride),
            pair(c.padding),
            [1, 1],
            1,
        ),
        Op::Relu(_) => x.f_relu(),
        Op::Tanh(_) => x.f_tanh(),
        Op::Sigmoid(_) => x.f_sigmoid(),
        Op::MaxPool2d(p) => x.f_max_pool2d(pair(p.kernel), pair(p.step()), [0, 0], [1, 1], false),
        Op::AvgPool2d(p) => {
            x.f_avg_pool2d(pair(p.kernel), pair(p.step()), [0, 0], false, true, None)
        }
        Op::Flatten(_) => x.f_flatten(1, -1),
        Op::Dropout(d) => dropout(x, d.p, index, mode),
    }
    .map_err(named)
}

/// The mask is drawn from a seed of its own, not from the state that other draws left behind.
fn dropout(x: &Tensor, p: f64, index: usize, mode: Mode<'_>) -> Result<Tensor, TchError> {
    let Mode::Train { key, step, micro_batch } = mode else { return Ok(x.shallow_clone()) };
    if p == 0.0 {
        return Ok(x.shallow_clone());
    }
    let keep = seeded(key.dropout_seed(index, step, micro_batch), || {
        let mut keep = Tensor::f_empty(x.size(), (Kind::Float, x.device()))?;
        keep.f_bernoulli_float_(1.0 - p)
    })?;
    x.f_mul(&keep.f_div_scalar(1.0 - p)?)
}
