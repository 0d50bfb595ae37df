//! A chain of operations with its parameters laid out flat: what a layer and the reference share.

use crate::draw::seeded;
use crate::error::Context;
use crate::ops::{self, Mode};
use crate::{LayerKey, NnError};
use mixnn_model::{Init, Op, Operation, Parameter};
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// The operations of one layer and where each finds its parameters.
pub(crate) struct Network {
    ops: Vec<Op>,
    /// For each operation, its part of the flat list of parameters.
    ranges: Vec<Range<usize>>,
    parameters: Vec<(usize, Parameter)>,
}

impl Network {
    pub(crate) fn new(ops: &[Op]) -> Self {
        let mut ranges = Vec::with_capacity(ops.len());
        let mut parameters = Vec::new();
        for (index, op) in ops.iter().enumerate() {
            let start = parameters.len();
            parameters.extend(op.parameters().into_iter().map(|p| (index, p)));
            ranges.push(start..parameters.len());
        }
        Self { ops: ops.to_vec(), ranges, parameters }
    }

    /// PyTorch's names within the layer, in order: `0.weight`, `0.bias`, `3.weight` ..
    pub(crate) fn names(&self) -> Vec<String> {
        self.parameters.iter().map(|(index, p)| format!("{index}.{}", p.name)).collect()
    }

    /// The shapes of the parameters, in the same order.
    pub(crate) fn shapes(&self) -> Vec<Vec<i64>> {
        self.parameters.iter().map(|(_, p)| p.shape.clone()).collect()
    }

    /// The parameters as they begin: each from a seed of its own.
    pub(crate) fn init(&self, key: &LayerKey) -> Result<Vec<Tensor>, NnError> {
        let one = |(index, p): &(usize, Parameter)| {
            let Init::UniformFanIn { fan_in } = p.init;
            let bound = 1.0 / (fan_in as f64).sqrt();
            let draw = || {
                let mut t = Tensor::f_empty(&p.shape, (Kind::Float, Device::Cpu))?;
                t.f_uniform_(-bound, bound)
            };
            let first = seeded(key.init_seed(*index, p.name), draw);
            let first = first.map(|t| t.set_requires_grad(true));
            first.context(&format!("op {index}, {}: making the first values", p.name))
        };
        self.parameters.iter().map(one).collect()
    }

    /// Computes all operations on a batch.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        parameters: &[Tensor],
        mode: Mode<'_>,
    ) -> Result<Tensor, NnError> {
        let mut y = x.shallow_clone();
        for (index, (op, range)) in self.ops.iter().zip(&self.ranges).enumerate() {
            y = ops::forward(op, index, &y, &parameters[range.clone()], mode)?;
        }
        Ok(y)
    }
}
