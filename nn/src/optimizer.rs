//! Optimizers as tensor operations, because tch can neither save nor restore libtorch's own.
//!
//! Each gives the same bits as libtorch's (`torch::optim::SGD`, `Adam`, `AdamW`, `RMSprop`), which
//! tests check. libtorch computes `a + alpha * b` with one rounding (a fused multiply-add in its
//! vector kernels); [`axpy`] therefore goes through `addcmul`, which rounds once too.
//!
//! Nothing is changed in place: the state before the step stays whole, for a rollback.

use crate::NnError;
use crate::error::Context;
use crate::state::{Moments, State};
use mixnn_model::{
    AdamSpec, AdamWSpec, Learning, OptimizerSpec, ParameterSetting, RmsPropSpec, SgdSpec,
};
use tch::{TchError, Tensor};

/// One parameter on its way: its value, gradient, place in the lists of moments, rate and decay.
struct Slot<'a> {
    parameter: &'a Tensor,
    gradient: Tensor,
    index: usize,
    lr: f64,
    weight_decay: f64,
}

/// The state after one more step, from the gradients that the parameters hold, each multiplied by
/// `scale` if there is one.
///
/// Buffers stay as they are.
pub(crate) fn step(
    learning: &Learning,
    state: &State,
    scale: Option<f32>,
) -> Result<State, NnError> {
    let rate = learning.optimizer.lr() * learning.factor(state.step + 1);
    tch::no_grad(|| {
        let mut next = State { step: state.step + 1, ..State::default() };
        for (index, parameter) in state.parameters.iter().enumerate() {
            let setting = learning.settings.get(index).copied().unwrap_or(ParameterSetting {
                weight_decay: learning.optimizer.weight_decay(),
                lr_factor: 1.0,
            });
            let slot = Slot {
                parameter,
                gradient: gradient_of(parameter, index, scale)?,
                index,
                lr: rate * setting.lr_factor,
                weight_decay: setting.weight_decay,
            };
            let updated = update(&learning.optimizer, &slot, state, &mut next.moments);
            next.parameters.push(updated.context("optimizer step")?.set_requires_grad(true));
        }
        next.buffers = state.buffers.iter().map(Tensor::shallow_clone).collect();
        Ok(next)
    })
}

fn gradient_of(parameter: &Tensor, index: usize, scale: Option<f32>) -> Result<Tensor, NnError> {
    let gradient = parameter.f_grad().context("reading a gradient")?;
    if !gradient.defined() {
        return Err(NnError::Order(format!("parameter {index} has no gradient yet")));
    }
    match scale {
        Some(scale) => gradient.f_mul_scalar(f64::from(scale)).context("scaling a gradient"),
        None => Ok(gradient),
    }
}

fn update(
    spec: &OptimizerSpec,
    slot: &Slot<'_>,
    before: &State,
    next: &mut Moments,
) -> Result<Tensor, TchError> {
    match spec {
        OptimizerSpec::Sgd(spec) => sgd(spec, slot, before, next),
        OptimizerSpec::Adam(spec) => adam(spec, slot, before, next),
        OptimizerSpec::AdamW(spec) => adamw(spec, slot, before, next),
        OptimizerSpec::RmsProp(spec) => rmsprop(spec, slot, before, next),
    }
}

fn sgd(
    spec: &SgdSpec,
    slot: &Slot<'_>,
    before: &State,
    next: &mut Moments,
) -> Result<Tensor, TchError> {
    let d = slot.decayed()?;
    if spec.momentum == 0.0 {
        return axpy(slot.parameter, &d, -slot.lr);
    }
    let momentum = match before.moments.first.get(slot.index) {
        Some(last) => {
            let kept = last.f_mul_scalar(spec.momentum)?;
            if spec.dampening == 0.0 {
                kept.f_add(&d)?
            } else {
                axpy(&kept, &d, 1.0 - spec.dampening)?
            }
        }
        None => d.copy(),
    };
    let update =
        if spec.nesterov { axpy(&d, &momentum, spec.momentum)? } else { momentum.shallow_clone() };
    next.first.push(momentum);
    axpy(slot.parameter, &update, -slot.lr)
}

fn adam(
    spec: &AdamSpec,
    slot: &Slot<'_>,
    before: &State,
    next: &mut Moments,
) -> Result<Tensor, TchError> {
    let d = slot.decayed()?;
    adam_update([spec.beta1, spec.beta2, spec.eps], slot, slot.parameter, &d, before, next)
}

fn adamw(
    spec: &AdamWSpec,
    slot: &Slot<'_>,
    before: &State,
    next: &mut Moments,
) -> Result<Tensor, TchError> {
    let p = if slot.weight_decay == 0.0 {
        slot.parameter.shallow_clone()
    } else {
        slot.parameter.f_mul_scalar(1.0 - slot.lr * slot.weight_decay)?
    };
    adam_update([spec.beta1, spec.beta2, spec.eps], slot, &p, &slot.gradient, before, next)
}

fn adam_update(
    [beta1, beta2, eps]: [f64; 3],
    slot: &Slot<'_>,
    p: &Tensor,
    d: &Tensor,
    before: &State,
    next: &mut Moments,
) -> Result<Tensor, TchError> {
    let t = (before.step + 1) as f64;
    let (correction1, correction2) = (1.0 - beta1.powf(t), 1.0 - beta2.powf(t));
    let first = slot.moment(&before.moments.first)?.f_mul_scalar(beta1)?;
    let first = axpy(&first, d, 1.0 - beta1)?;
    let second = slot.moment(&before.moments.second)?.f_mul_scalar(beta2)?;
    let second = second.f_addcmul(&d.f_mul_scalar(1.0 - beta2)?, d)?;
    let root = second.f_sqrt()?.f_div_scalar(correction2.sqrt())?;
    let scaled = first.f_mul_scalar(-slot.lr / correction1)?;
    let updated = p.f_addcdiv(&scaled, &root.f_add_scalar(eps)?)?;
    next.first.push(first);
    next.second.push(second);
    Ok(updated)
}

/// `first` is the momentum, `second` the mean square, `third` the mean.
fn rmsprop(
    spec: &RmsPropSpec,
    slot: &Slot<'_>,
    before: &State,
    next: &mut Moments,
) -> Result<Tensor, TchError> {
    let d = slot.decayed()?;
    let square = slot.moment(&before.moments.second)?.f_mul_scalar(spec.alpha)?;
    let square = square.f_addcmul(&d.f_mul_scalar(1.0 - spec.alpha)?, &d)?;
    let root = if spec.centered {
        let mean = axpy(
            &slot.moment(&before.moments.third)?.f_mul_scalar(spec.alpha)?,
            &d,
            1.0 - spec.alpha,
        )?;
        let root = square.f_addcmul(&mean.f_neg()?, &mean)?.f_sqrt()?.f_add_scalar(spec.eps)?;
        next.third.push(mean);
        root
    } else {
        square.f_sqrt()?.f_add_scalar(spec.eps)?
    };
    next.second.push(square);
    if spec.momentum == 0.0 {
        return slot.parameter.f_addcdiv(&d.f_mul_scalar(-slot.lr)?, &root);
    }
    let momentum = slot.moment(&before.moments.first)?.f_mul_scalar(spec.momentum)?;
    let momentum = momentum.f_addcdiv(&d, &root)?;
    let updated = axpy(slot.parameter, &momentum, -slot.lr)?;
    next.first.push(momentum);
    Ok(updated)
}

impl Slot<'_> {
    /// The gradient with L2 penalty.
    fn decayed(&self) -> Result<Tensor, TchError> {
        if self.weight_decay == 0.0 {
            return Ok(self.gradient.shallow_clone());
        }
        axpy(&self.gradient, self.parameter, self.weight_decay)
    }

    fn moment(&self, moments: &[Tensor]) -> Result<Tensor, TchError> {
        match moments.get(self.index) {
            Some(moment) => Ok(moment.shallow_clone()),
            None => self.parameter.f_zeros_like(),
        }
    }
}

/// `a + alpha * b`, rounded once.
fn axpy(a: &Tensor, b: &Tensor, alpha: f64) -> Result<Tensor, TchError> {
    a.f_addcmul(b, &b.f_full_like(alpha)?)
}
