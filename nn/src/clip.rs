//! Clipping by the global norm (`torch.nn.utils.clip_grad_norm_`, norm 2).

use crate::NnError;
use crate::error::Context;
use tch::{Kind, TchError, Tensor};

/// The norms of the gradients that these parameters hold, in order.
pub(crate) fn norms(parameters: &[Tensor]) -> Result<Vec<f32>, NnError> {
    let norm = |(index, p): (usize, &Tensor)| {
        let gradient = p.f_grad().context("reading a gradient")?;
        if !gradient.defined() {
            return Err(NnError::Order(format!("parameter {index} has no gradient yet")));
        }
        let norm = gradient.f_norm().and_then(|n| n.f_double_value(&[]));
        norm.map(|n| n as f32).context("the norm of a gradient")
    };
    tch::no_grad(|| parameters.iter().enumerate().map(norm).collect())
}

/// By what all gradients are multiplied, from the norms of all parameters in model order:
/// `min(1, max_norm / (norm + 1e-6))`, in f32.
///
/// # Errors
/// A norm is not finite: the training diverged.
pub fn clip_factor(norms: &[f32], max_norm: f64) -> Result<f32, NnError> {
    let compute = || -> Result<f64, TchError> {
        let total = Tensor::f_from_slice(norms)?.f_norm()?;
        let factor = (total.f_add_scalar(1e-6)?).f_reciprocal()?.f_mul_scalar(max_norm)?;
        factor.f_clamp_max(1.0)?.f_to_kind(Kind::Float)?.f_double_value(&[])
    };
    let factor = compute().context("the norm of all gradients")? as f32;
    if norms.iter().all(|n| n.is_finite()) && factor.is_finite() {
        Ok(factor)
    } else {
        Err(NnError::NotFinite("the gradient's norm".into()))
    }
}
