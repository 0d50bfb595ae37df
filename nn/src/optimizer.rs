//! Optimizers as tensor operations, because tch can neither save nor restore libtorch's own.
//!
//! Each gives the same bits as libtorch's (`torch::optim::SGD`, `torch::optim::Adam`), which tests
//! check. libtorch computes `a + alpha * b` with one rounding (a fused multiply-add in its vector
//! kernels); [`axpy`] therefore goes through `addcmul`, which rounds once too.
//!
//! Nothing is changed in place: the state before the step stays whole, for a rollback.

use crate::NnError;
use crate::error::Context;
use crate::state::{Moments, State};
use mixnn_model::{AdamSpec, OptimizerSpec, SgdSpec};
use tch::{TchError, Tensor};

/// The state after one more step, from the gradients that the parameters hold.
pub(crate) fn step(spec: &OptimizerSpec, state: &State) -> Result<State, NnError> {
    tch::no_grad(|| {
        let gradients = state.parameters.iter().map(Tensor::f_grad).collect::<Result<Vec<_>, _>>();
        let gradients = gradients.context("reading gradients")?;
        if let Some(missing) = gradients.iter().position(|g| !g.defined()) {
            return Err(NnError::Order(format!("parameter {missing} has no gradient yet")));
        }
        let next = match spec {
            OptimizerSpec::Sgd(sgd) => sgd_step(sgd, state, &gradients),
            OptimizerSpec::Adam(adam) => adam_step(adam, state, &gradients),
        }
        .context("optimizer step")?;
        next.parameters.iter().for_each(|p| drop(p.set_requires_grad(true)));
        Ok(next)
    })
}

fn sgd_step(spec: &SgdSpec, state: &State, gradients: &[Tensor]) -> Result<State, TchError> {
    let mut parameters = Vec::with_capacity(gradients.len());
    let mut momenta = Vec::new();
    for (i, (p, gradient)) in state.parameters.iter().zip(gradients).enumerate() {
        let d = decayed(gradient, p, spec.weight_decay)?;
        let update = if spec.momentum == 0.0 {
            d
        } else {
            let momentum = match state.moments.first.get(i) {
                Some(last) => last.f_mul_scalar(spec.momentum)?.f_add(&d)?,
                None => d.copy(),
            };
            momenta.push(momentum.shallow_clone());
            momentum
        };
        parameters.push(axpy(p, &update, -spec.lr)?);
    }
    let moments = Moments { first: momenta, second: Vec::new() };
    Ok(State { step: state.step + 1, parameters, moments })
}

fn adam_step(spec: &AdamSpec, state: &State, gradients: &[Tensor]) -> Result<State, TchError> {
    let t = (state.step + 1) as f64;
    let correction1 = 1.0 - spec.beta1.powf(t);
    let correction2 = 1.0 - spec.beta2.powf(t);
    let mut next = State { step: state.step + 1, ..State::default() };
    for (i, (p, gradient)) in state.parameters.iter().zip(gradients).enumerate() {
        let d = decayed(gradient, p, spec.weight_decay)?;
        let before = |moments: &[Tensor]| match moments.get(i) {
            Some(m) => Ok(m.shallow_clone()),
            None => p.f_zeros_like(),
        };
        let first = before(&state.moments.first)?.f_mul_scalar(spec.beta1)?;
        let first = axpy(&first, &d, 1.0 - spec.beta1)?;
        let second = before(&state.moments.second)?.f_mul_scalar(spec.beta2)?;
        let second = second.f_addcmul(&d.f_mul_scalar(1.0 - spec.beta2)?, &d)?;
        let root = second.f_sqrt()?.f_div_scalar(correction2.sqrt())?;
        let scaled = first.f_mul_scalar(-spec.lr / correction1)?;
        next.parameters.push(p.f_addcdiv(&scaled, &root.f_add_scalar(spec.eps)?)?);
        next.moments.first.push(first);
        next.moments.second.push(second);
    }
    Ok(next)
}

/// The gradient with L2 penalty.
fn decayed(gradient: &Tensor, p: &Tensor, weight_decay: f64) -> Result<Tensor, TchError> {
    if weight_decay == 0.0 {
        return Ok(gradient.shallow_clone());
    }
    axpy(gradient, p, weight_decay)
}

/// `a + alpha * b`, rounded once.
fn axpy(a: &Tensor, b: &Tensor, alpha: f64) -> Result<Tensor, TchError> {
    a.f_addcmul(b, &b.f_full_like(alpha)?)
}
