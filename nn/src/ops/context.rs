//! What an operation finds around it: parameters, buffers, where it stands, random numbers.

use crate::LayerKey;
use crate::draw::seeded;
use mixnn_model::Precision;
use std::slice::Iter;
use tch::{Kind, TchError, Tensor};

/// When an operation is computed, which decides what random numbers it draws.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode<'a> {
    /// In training: which layer, step and micro-batch.
    Train { key: &'a LayerKey, step: u64, micro_batch: u32 },
    /// In evaluation: nothing is random.
    Eval,
}

/// What an operation finds around it. Parameters and buffers are taken from it in order.
pub(crate) struct Context<'a> {
    mode: Mode<'a>,
    precision: Precision,
    parameters: Iter<'a, Tensor>,
    buffers: Iter<'a, Tensor>,
    /// Index of the layer's operation.
    op: usize,
    /// Where in it, for operations within operations.
    within: Vec<String>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        mode: Mode<'a>,
        precision: Precision,
        parameters: &'a [Tensor],
        buffers: &'a [Tensor],
    ) -> Self {
        let (parameters, buffers) = (parameters.iter(), buffers.iter());
        Self { mode, precision, parameters, buffers, op: 0, within: Vec::new() }
    }

    /// The next operation of the layer.
    pub(crate) fn at(&mut self, op: usize) -> &mut Self {
        self.op = op;
        self
    }

    /// Its name in PyTorch: `3` or `3.body.0`.
    pub(crate) fn place(&self) -> String {
        let op = self.op.to_string();
        std::iter::once(&op).chain(&self.within).map(String::as_str).collect::<Vec<_>>().join(".")
    }

    /// Does something as the part of this name.
    pub(crate) fn within<T>(&mut self, name: &str, run: impl FnOnce(&mut Self) -> T) -> T {
        self.within.push(name.to_owned());
        let result = run(self);
        self.within.pop();
        result
    }

    pub(crate) const fn is_training(&self) -> bool {
        matches!(self.mode, Mode::Train { .. })
    }

    pub(crate) fn parameter(&mut self) -> Result<&'a Tensor, TchError> {
        self.parameters.next().ok_or_else(|| TchError::Torch("a parameter is missing".into()))
    }

    /// The `count` parameters behind the next `skip`, which stay where they are.
    pub(crate) fn ahead(&self, skip: usize, count: usize) -> Result<Self, TchError> {
        let there = self.parameters.as_slice().get(skip..skip + count);
        let there = there.ok_or_else(|| TchError::Torch("parameters are missing".into()))?;
        Ok(Self { op: self.op, ..Self::new(self.mode, self.precision, there, &[]) })
    }

    pub(crate) fn parameter_if(&mut self, there: bool) -> Result<Option<&'a Tensor>, TchError> {
        there.then(|| self.parameter()).transpose()
    }

    pub(crate) fn buffer(&mut self) -> Result<&'a Tensor, TchError> {
        self.buffers.next().ok_or_else(|| TchError::Torch("a buffer is missing".into()))
    }

    /// A weight and perhaps a bias, as matrix products take them.
    pub(crate) fn weight_and_bias(
        &mut self,
        bias: bool,
    ) -> Result<(Tensor, Option<Tensor>), TchError> {
        let weight = self.parameter()?;
        let bias = self.parameter_if(bias)?;
        Ok((self.low(weight)?, bias.map(|b| self.low(b)).transpose()?))
    }

    /// A tensor as matrix products take it.
    pub(crate) fn low(&self, t: &Tensor) -> Result<Tensor, TchError> {
        match self.precision {
            Precision::F32 => Ok(t.shallow_clone()),
            Precision::Bf16 => t.f_to_kind(Kind::BFloat16),
        }
    }

    /// The result of a matrix product as everything else takes it.
    pub(crate) fn high(&self, t: &Tensor) -> Result<Tensor, TchError> {
        match self.precision {
            Precision::F32 => Ok(t.shallow_clone()),
            Precision::Bf16 => t.f_to_kind(Kind::Float),
        }
    }

    /// Dropout. The mask is drawn on the CPU from a seed of its own, not from the state that other
    /// draws left behind.
    pub(crate) fn dropout(&self, x: &Tensor, p: f64) -> Result<Tensor, TchError> {
        let Mode::Train { key, step, micro_batch } = self.mode else {
            return Ok(x.shallow_clone());
        };
        if p == 0.0 {
            return Ok(x.shallow_clone());
        }
        let seed = key.dropout_seed(self.op, step, micro_batch, &self.within.join("."));
        let keep = seeded(seed, || {
            let mut keep = Tensor::f_empty(x.size(), (Kind::Float, tch::Device::Cpu))?;
            keep.f_bernoulli_float_(1.0 - p)
        })?;
        x.f_mul(&keep.f_div_scalar(1.0 - p)?.f_to_device(x.device())?)
    }
}
