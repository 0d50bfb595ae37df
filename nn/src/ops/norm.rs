//! Normalisations.

use super::Context;
use mixnn_model::ops::{BatchNorm, GroupNorm, LayerNorm};
use tch::{TchError, Tensor};

/// Running means and variances are changed in place, as libtorch does: in training they are the
/// layer's copy for the step under way.
pub(super) fn batch(
    n: &BatchNorm,
    x: &Tensor,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let weight = context.parameter_if(n.affine)?;
    let bias = context.parameter_if(n.affine)?;
    let (mean, variance, count) = (context.buffer()?, context.buffer()?, context.buffer()?);
    if context.is_training() {
        drop(count.shallow_clone().f_add_scalar_(1)?);
    }
    x.f_batch_norm(
        weight,
        bias,
        Some(mean),
        Some(variance),
        context.is_training(),
        n.momentum,
        n.eps,
        false,
    )
}

pub(super) fn group(
    n: &GroupNorm,
    x: &Tensor,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let weight = context.parameter_if(n.affine)?;
    let bias = context.parameter_if(n.affine)?;
    x.f_group_norm(n.groups.into(), weight, bias, n.eps, false)
}

pub(super) fn layer(
    n: &LayerNorm,
    x: &Tensor,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let weight = context.parameter_if(n.affine)?;
    let bias = context.parameter_if(n.affine)?;
    let shape: Vec<i64> = n.shape.iter().map(|&s| i64::from(s)).collect();
    x.f_layer_norm(shape, weight, bias, n.eps, false)
}
