//! Losses of a micro-batch, with their gradient.

use crate::NnError;
use crate::error::Context;
use tch::{Kind, TchError, Tensor};

/// What one micro-batch contributes.
#[derive(Debug)]
pub struct LossOutput {
    /// Its share of the batch's mean loss.
    pub loss: f64,
    /// Samples whose largest logit is the label's.
    pub correct: u32,
    /// Gradient of the batch's mean loss by the logits, of their shape.
    pub gradient: Tensor,
}

/// Cross entropy of `logits` (micro-batch x classes, f32) and `labels` (micro-batch, i64), weighted
/// by the micro-batch's share of a batch of `batch` samples.
///
/// # Errors
/// Shapes do not fit, or the loss is not finite.
pub fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    batch: usize,
) -> Result<LossOutput, NnError> {
    let leaf = logits.f_detach().context("loss")?.set_requires_grad(true);
    let (loss, correct) = weighted(&leaf, labels, batch)?;
    loss.f_backward().context("gradient of the loss")?;
    let gradient = leaf.f_grad().context("gradient of the loss")?;
    Ok(LossOutput { loss: finite(&loss)?, correct, gradient })
}

/// The weighted loss as a scalar of the logits' autograd graph, and the right answers.
pub(crate) fn weighted(
    logits: &Tensor,
    labels: &Tensor,
    batch: usize,
) -> Result<(Tensor, u32), NnError> {
    let samples = labels.size().first().copied().unwrap_or(0);
    if logits.size().len() != 2 || logits.size()[0] != samples || samples == 0 {
        let (found, labels) = (logits.size(), labels.size());
        return Err(NnError::Mismatch(format!("logits of shape {found:?}, labels of {labels:?}")));
    }
    let share = samples as f64 / batch as f64;
    let compute = || -> Result<_, TchError> {
        let loss =
            logits.f_cross_entropy_loss::<Tensor>(labels, None, tch::Reduction::Mean, -100, 0.0)?;
        let right = logits.f_argmax(-1, false)?.f_eq_tensor(labels)?.f_sum(Kind::Int64)?;
        Ok((loss.f_mul_scalar(share)?, right.f_int64_value(&[])? as u32))
    };
    compute().context("cross entropy")
}

pub(crate) fn finite(loss: &Tensor) -> Result<f64, NnError> {
    let value = loss.f_double_value(&[]).context("reading the loss")?;
    if value.is_finite() { Ok(value) } else { Err(NnError::NotFinite("the loss".into())) }
}
