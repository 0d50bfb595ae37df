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

/// Elements that are updated at once: what lies between the old state and the new one stays small, and in
/// the cache. A multiple of every vector's length, so that the bits are those of one pass.
const PIECE: i64 = 1 << 16;

/// One parameter on its way, or a piece of it: its value, gradient, moments, rate and decay.
struct Slot {
    parameter: Tensor,
    gradient: Tensor,
    /// By what the gradient is multiplied.
    scale: Option<f32>,
    moments: [Option<Tensor>; 3],
    /// Steps with this one.
    step: u64,
    lr: f64,
    weight_decay: f64,
}

const FIRST: usize = 0;
const SECOND: usize = 1;
const THIRD: usize = 2;

/// What a slot becomes: parameter, first, second and third moment.
type Updated = [Option<Tensor>; 4];

/// The state after one more step, from the gradients that the parameters hold, each multiplied by
/// `scale` if there is one.
///
/// Buffers stay as they are.
pub(crate) fn step(
    learning: &Learning,
    state: &State,
    scale: Option<f32>,
) -> Result<State, NnError> {
    if learning.frozen {
        return Ok(State { step: state.step + 1, ..state.without_gradients()? });
    }
    let rate = learning.optimizer.lr() * learning.factor(state.step + 1);
    let Moments { first, second, third } = &state.moments;
    tch::no_grad(|| {
        let mut next = State { step: state.step + 1, ..State::default() };
        for (index, parameter) in state.parameters.iter().enumerate() {
            let setting = learning.settings.get(index).copied().unwrap_or(ParameterSetting {
                weight_decay: learning.optimizer.weight_decay(),
                lr_factor: 1.0,
            });
            let slot = Slot {
                parameter: parameter.shallow_clone(),
                gradient: gradient_of(parameter, index)?,
                scale,
                moments: [first, second, third].map(|m| m.get(index).map(Tensor::shallow_clone)),
                step: next.step,
                lr: rate * setting.lr_factor,
                weight_decay: setting.weight_decay,
            };
            let updated = update_in_pieces(&learning.optimizer, &slot).context("optimizer step")?;
            let [parameter, first, second, third] = updated;
            next.parameters.extend(parameter.map(|p| p.set_requires_grad(true)));
            next.moments.first.extend(first);
            next.moments.second.extend(second);
            next.moments.third.extend(third);
        }
        next.buffers = state.buffers.iter().map(Tensor::shallow_clone).collect();
        Ok(next)
    })
}

fn update_in_pieces(spec: &OptimizerSpec, slot: &Slot) -> Result<Updated, TchError> {
    let elements = slot.parameter.numel() as i64;
    if elements <= PIECE {
        return update(spec, slot);
    }
    let flat = slot.map(|t| t.f_reshape([-1]))?;
    let mut whole: Updated = Default::default();
    for at in (0..elements).step_by(PIECE as usize) {
        let length = PIECE.min(elements - at);
        let updated = update(spec, &flat.map(|t| t.f_narrow(0, at, length))?)?;
        for (whole, piece) in whole.iter_mut().zip(updated) {
            let Some(piece) = piece else { continue };
            if whole.is_none() {
                *whole = Some(flat.parameter.f_empty_like()?);
            }
            if let Some(whole) = whole {
                whole.f_narrow(0, at, length)?.f_copy_(&piece)?;
            }
        }
    }
    let shape = slot.parameter.size();
    let shaped = |t: Option<Tensor>| t.map(|t| t.f_view(shape.as_slice())).transpose();
    let [parameter, first, second, third] = whole;
    Ok([shaped(parameter)?, shaped(first)?, shaped(second)?, shaped(third)?])
}

fn gradient_of(parameter: &Tensor, index: usize) -> Result<Tensor, NnError> {
    let gradient = parameter.f_grad().context("reading a gradient")?;
    if gradient.defined() {
        return Ok(gradient);
    }
    Err(NnError::Order(format!("parameter {index} has no gradient yet")))
}

fn update(spec: &OptimizerSpec, slot: &Slot) -> Result<Updated, TchError> {
    match spec {
        OptimizerSpec::Sgd(spec) => sgd(spec, slot),
        OptimizerSpec::Adam(spec) => adam(spec, slot),
        OptimizerSpec::AdamW(spec) => adamw(spec, slot),
        OptimizerSpec::RmsProp(spec) => rmsprop(spec, slot),
    }
}

fn sgd(spec: &SgdSpec, slot: &Slot) -> Result<Updated, TchError> {
    let d = slot.decayed()?;
    if spec.momentum == 0.0 {
        return Ok([Some(axpy(&slot.parameter, &d, -slot.lr)?), None, None, None]);
    }
    let momentum = match &slot.moments[FIRST] {
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
    Ok([Some(axpy(&slot.parameter, &update, -slot.lr)?), Some(momentum), None, None])
}

fn adam(spec: &AdamSpec, slot: &Slot) -> Result<Updated, TchError> {
    let d = slot.decayed()?;
    adam_update([spec.beta1, spec.beta2, spec.eps], slot, &slot.parameter, &d)
}

fn adamw(spec: &AdamWSpec, slot: &Slot) -> Result<Updated, TchError> {
    let p = if slot.weight_decay == 0.0 {
        slot.parameter.shallow_clone()
    } else {
        slot.parameter.f_mul_scalar(1.0 - slot.lr * slot.weight_decay)?
    };
    adam_update([spec.beta1, spec.beta2, spec.eps], slot, &p, &slot.gradient()?)
}

fn adam_update(
    [beta1, beta2, eps]: [f64; 3],
    slot: &Slot,
    p: &Tensor,
    d: &Tensor,
) -> Result<Updated, TchError> {
    let t = slot.step as f64;
    let (correction1, correction2) = (1.0 - beta1.powf(t), 1.0 - beta2.powf(t));
    let first = slot.moment(FIRST)?.f_mul_scalar(beta1)?;
    let first = axpy(&first, d, 1.0 - beta1)?;
    let second = slot.moment(SECOND)?.f_mul_scalar(beta2)?;
    let second = second.f_addcmul(&d.f_mul_scalar(1.0 - beta2)?, d)?;
    let root = second.f_sqrt()?.f_div_scalar(correction2.sqrt())?;
    let scaled = first.f_mul_scalar(-slot.lr / correction1)?;
    let updated = p.f_addcdiv(&scaled, &root.f_add_scalar(eps)?)?;
    Ok([Some(updated), Some(first), Some(second), None])
}

/// `first` is the momentum, `second` the mean square, `third` the mean.
fn rmsprop(spec: &RmsPropSpec, slot: &Slot) -> Result<Updated, TchError> {
    let d = slot.decayed()?;
    let square = slot.moment(SECOND)?.f_mul_scalar(spec.alpha)?;
    let square = square.f_addcmul(&d.f_mul_scalar(1.0 - spec.alpha)?, &d)?;
    let mean = || axpy(&slot.moment(THIRD)?.f_mul_scalar(spec.alpha)?, &d, 1.0 - spec.alpha);
    let mean = spec.centered.then(mean).transpose()?;
    let root = match &mean {
        Some(mean) => square.f_addcmul(&mean.f_neg()?, mean)?.f_sqrt()?.f_add_scalar(spec.eps)?,
        None => square.f_sqrt()?.f_add_scalar(spec.eps)?,
    };
    if spec.momentum == 0.0 {
        let updated = slot.parameter.f_addcdiv(&d.f_mul_scalar(-slot.lr)?, &root)?;
        return Ok([Some(updated), None, Some(square), mean]);
    }
    let momentum = slot.moment(FIRST)?.f_mul_scalar(spec.momentum)?;
    let momentum = momentum.f_addcdiv(&d, &root)?;
    let updated = axpy(&slot.parameter, &momentum, -slot.lr)?;
    Ok([Some(updated), Some(momentum), Some(square), mean])
}

impl Slot {
    /// The same of all its tensors.
    fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor, TchError>) -> Result<Self, TchError> {
        let [first, second, third] = &self.moments;
        let moment = |m: &Option<Tensor>| m.as_ref().map(&f).transpose();
        Ok(Self {
            parameter: f(&self.parameter)?,
            gradient: f(&self.gradient)?,
            moments: [moment(first)?, moment(second)?, moment(third)?],
            ..*self
        })
    }

    /// The gradient as it counts: clipped.
    fn gradient(&self) -> Result<Tensor, TchError> {
        match self.scale {
            Some(scale) => self.gradient.f_mul_scalar(f64::from(scale)),
            None => Ok(self.gradient.shallow_clone()),
        }
    }

    /// The same with L2 penalty.
    fn decayed(&self) -> Result<Tensor, TchError> {
        let gradient = self.gradient()?;
        if self.weight_decay == 0.0 {
            return Ok(gradient);
        }
        axpy(&gradient, &self.parameter, self.weight_decay)
    }

    fn moment(&self, which: usize) -> Result<Tensor, TchError> {
        match &self.moments[which] {
            Some(moment) => Ok(moment.shallow_clone()),
            None => self.parameter.f_zeros_like(),
        }
    }
}

/// `a + alpha * b`, rounded once.
fn axpy(a: &Tensor, b: &Tensor, alpha: f64) -> Result<Tensor, TchError> {
    a.f_addcmul(b, &b.f_full_like(alpha)?)
}
