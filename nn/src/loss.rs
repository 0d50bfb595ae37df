//! Losses of a micro-batch, with their gradient.

use crate::NnError;
use crate::error::Context;
use mixnn_model::{LossFunction, LossSpec};
use tch::{Kind, Reduction, TchError, Tensor};

/// What was right in a number of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answers that can be right or wrong: samples, positions or bits; none where numbers are learned.
    pub answers: u64,
    /// Right ones: the largest output is the label's, or the bit is.
    pub correct: u64,
    /// Answers with the label among the five largest outputs, where there are more than five classes.
    pub top5: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.answers += other.answers;
        self.correct += other.correct;
        self.top5 += other.top5;
    }
}

/// What one micro-batch contributes.
#[derive(Debug)]
pub struct LossOutput {
    /// Its share of the batch's mean loss.
    pub loss: f64,
    /// What was right.
    pub tally: Tally,
    /// Gradient of the batch's mean loss by the outputs, of their shape and element type.
    pub gradient: Tensor,
}

/// Loss of `outputs` (micro-batch x ..) against `labels`, weighted by the micro-batch's share of a
/// step of `batch` samples.
///
/// # Errors
/// Shapes do not fit, or the loss is not finite.
pub fn loss(
    spec: &LossSpec,
    outputs: &Tensor,
    labels: &Tensor,
    batch: usize,
) -> Result<LossOutput, NnError> {
    let leaf = outputs.f_detach().context("loss")?.set_requires_grad(true);
    let (value, tally) = weighted(spec, &leaf, labels, batch)?;
    value.f_backward().context("gradient of the loss")?;
    let gradient = leaf.f_grad().context("gradient of the loss")?;
    Ok(LossOutput { loss: finite(&value)?, tally, gradient })
}

/// The same in evaluation, without a gradient and without label smoothing.
///
/// # Errors
/// Shapes do not fit, or the loss is not finite.
pub fn evaluate(
    spec: &LossSpec,
    outputs: &Tensor,
    labels: &Tensor,
) -> Result<(f64, Tally), NnError> {
    let plain = LossSpec { label_smoothing: 0.0, ..spec.clone() };
    let samples = labels.size().first().copied().unwrap_or(0) as usize;
    let (value, tally) = tch::no_grad(|| weighted(&plain, outputs, labels, samples))?;
    Ok((finite(&value)?, tally))
}

/// The weighted loss as a scalar of the outputs' autograd graph, and what was right.
pub(crate) fn weighted(
    spec: &LossSpec,
    outputs: &Tensor,
    labels: &Tensor,
    batch: usize,
) -> Result<(Tensor, Tally), NnError> {
    let (found, of) = (outputs.size(), labels.size());
    let fits = match spec.function {
        LossFunction::CrossEntropy => found.len() > 1 && found[..found.len() - 1] == of,
        LossFunction::MeanSquaredError | LossFunction::BinaryCrossEntropy => found == of,
    };
    let samples = of.first().copied().unwrap_or(0);
    if !fits || samples == 0 {
        return Err(NnError::Mismatch(format!("outputs of shape {found:?}, labels of {of:?}")));
    }
    let compute = || -> Result<_, TchError> {
        let (outputs, labels) =
            (outputs.f_to_kind(Kind::Float)?, labels.f_to_device(outputs.device())?);
        let (value, tally) = match spec.function {
            LossFunction::CrossEntropy => cross_entropy(&outputs, &labels, spec.label_smoothing)?,
            LossFunction::MeanSquaredError => {
                (outputs.f_mse_loss(&labels, Reduction::Mean)?, Tally::default())
            }
            LossFunction::BinaryCrossEntropy => bits(&outputs, &labels)?,
        };
        Ok((value.f_mul_scalar(samples as f64 / batch as f64)?, tally))
    };
    compute().context("the loss")
}

/// The last dimension is that of the classes; all others are answers.
fn cross_entropy(
    outputs: &Tensor,
    labels: &Tensor,
    smoothing: f64,
) -> Result<(Tensor, Tally), TchError> {
    let classes = outputs.size().last().copied().unwrap_or(1);
    let (logits, labels) = (outputs.f_reshape([-1, classes])?, labels.f_reshape([-1])?);
    let loss =
        logits.f_cross_entropy_loss::<Tensor>(&labels, None, Reduction::Mean, -100, smoothing)?;
    let correct = count(&logits.f_argmax(-1, false)?.f_eq_tensor(&labels)?)?;
    let top5 = if classes > 5 {
        let (_, best) = logits.f_topk(5, -1, true, false)?;
        count(&best.f_eq_tensor(&labels.f_unsqueeze(-1)?)?)?
    } else {
        0
    };
    Ok((loss, Tally { answers: labels.numel() as u64, correct, top5 }))
}

fn bits(outputs: &Tensor, labels: &Tensor) -> Result<(Tensor, Tally), TchError> {
    let loss = outputs.f_binary_cross_entropy_with_logits::<Tensor>(
        labels,
        None,
        None,
        Reduction::Mean,
    )?;
    let right = outputs.f_gt(0.0)?.f_eq_tensor(&labels.f_gt(0.5)?)?;
    Ok((loss, Tally { answers: labels.numel() as u64, correct: count(&right)?, top5: 0 }))
}

fn count(right: &Tensor) -> Result<u64, TchError> {
    Ok(right.f_sum(Kind::Int64)?.f_int64_value(&[])? as u64)
}

pub(crate) fn finite(loss: &Tensor) -> Result<f64, NnError> {
    let value = loss.f_double_value(&[]).context("reading the loss")?;
    if value.is_finite() { Ok(value) } else { Err(NnError::NotFinite("the loss".into())) }
}
