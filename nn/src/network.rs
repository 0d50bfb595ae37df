//! A chain of operations with its parameters laid out flat: what a layer and the reference share.

use crate::draw::seeded;
use crate::error::Context as _;
use crate::ops::{self, Context, Mode};
use crate::{LayerKey, NnError};
use mixnn_model::{Buffer, BufferKind, Init, Learning, Op, Operation, Parameter, Precision};
use tch::{Device, Kind, TchError, Tensor};

/// The operations of one layer, with the names and shapes of what they learn and keep.
pub(crate) struct Network {
    ops: Vec<Op>,
    parameters: Vec<(usize, Parameter)>,
    buffers: Vec<(usize, Buffer)>,
    precision: Precision,
    device: Device,
    /// Whether no gradient by the parameters is wanted.
    frozen: bool,
}

impl Network {
    pub(crate) fn new(ops: &[Op], learning: &Learning, device: Device) -> Self {
        let each = || ops.iter().enumerate();
        let parameters =
            each().flat_map(|(i, op)| op.parameters().into_iter().map(move |p| (i, p)));
        let buffers = each().flat_map(|(i, op)| op.buffers().into_iter().map(move |b| (i, b)));
        Self {
            parameters: parameters.collect(),
            buffers: buffers.collect(),
            ops: ops.to_vec(),
            precision: learning.precision,
            device,
            frozen: learning.frozen,
        }
    }

    /// Where it computes.
    pub(crate) const fn device(&self) -> Device {
        self.device
    }

    /// PyTorch's names of the parameters within the layer, in order: `0.weight`, `0.bias` ..
    pub(crate) fn names(&self) -> Vec<String> {
        self.parameters.iter().map(|(index, p)| format!("{index}.{}", p.name)).collect()
    }

    /// The shapes of the parameters, in the same order.
    pub(crate) fn shapes(&self) -> Vec<Vec<i64>> {
        self.parameters.iter().map(|(_, p)| p.shape.clone()).collect()
    }

    /// Names, shapes and element types of the buffers, in order: `1.running_mean` ..
    pub(crate) fn buffers(&self) -> Vec<(String, Vec<i64>, Kind)> {
        let of = |(index, b): &(usize, Buffer)| {
            let kind = if b.kind == BufferKind::Count { Kind::Int64 } else { Kind::Float };
            (format!("{index}.{}", b.name), b.shape.clone(), kind)
        };
        self.buffers.iter().map(of).collect()
    }

    /// The parameters as they begin: each from a seed of its own, drawn on the CPU.
    pub(crate) fn init(&self, key: &LayerKey) -> Result<Vec<Tensor>, NnError> {
        let one = |(index, p): &(usize, Parameter)| {
            let first = first_values(p, key.init_seed(*index, &p.name));
            let there = first.and_then(|t| t.f_to_device(self.device));
            let there = there.map(|t| t.set_requires_grad(true));
            there.context(&format!("op {index}, {}: making the first values", p.name))
        };
        self.parameters.iter().map(one).collect()
    }

    /// The buffers as they begin.
    pub(crate) fn init_buffers(&self) -> Result<Vec<Tensor>, NnError> {
        let one = |(_, b): &(usize, Buffer)| match b.kind {
            BufferKind::Zeros => Tensor::f_zeros(&b.shape, (Kind::Float, self.device)),
            BufferKind::Ones => Tensor::f_ones(&b.shape, (Kind::Float, self.device)),
            BufferKind::Count => Tensor::f_zeros(&b.shape, (Kind::Int64, self.device)),
        };
        self.buffers.iter().map(one).collect::<Result<_, _>>().context("making buffers")
    }

    /// Computes all operations on a batch. In training, buffers are changed in place.
    ///
    /// What comes in and goes out is of the precision's element type (inputs of the model may be of
    /// others); between operations it is f32.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        parameters: &[Tensor],
        buffers: &[Tensor],
        mode: Mode<'_>,
    ) -> Result<Tensor, NnError> {
        let fixed = self.frozen.then(|| parameters.iter().map(Tensor::f_detach).collect());
        let fixed: Option<Vec<Tensor>> = fixed.transpose().context("taking fixed parameters")?;
        let parameters = fixed.as_deref().unwrap_or(parameters);
        let mut context = Context::new(mode, self.precision, parameters, buffers);
        let mut y = x.f_to_device(self.device).context("moving the input")?;
        if y.kind() == Kind::BFloat16 {
            y = y.f_to_kind(Kind::Float).context("reading the input")?;
        }
        for (index, op) in self.ops.iter().enumerate() {
            y = ops::forward(op, &y, context.at(index))?;
        }
        context.low(&y).context("giving the output")
    }
}

fn first_values(p: &Parameter, seed: i64) -> Result<Tensor, TchError> {
    let cpu = (Kind::Float, Device::Cpu);
    let uniform =
        |bound: f64| seeded(seed, || Tensor::f_empty(&p.shape, cpu)?.f_uniform_(-bound, bound));
    match p.init {
        Init::UniformFanIn { fan_in } => uniform(1.0 / (fan_in as f64).sqrt()),
        Init::Xavier { fan_in, fan_out } => uniform((6.0 / (fan_in + fan_out) as f64).sqrt()),
        Init::Normal { zero_row } => {
            let drawn = seeded(seed, || Tensor::f_empty(&p.shape, cpu)?.f_normal_(0.0, 1.0))?;
            if let Some(row) = zero_row {
                drop(drawn.f_narrow(0, row, 1)?.f_zero_()?);
            }
            Ok(drawn)
        }
        Init::Zeros => Tensor::f_zeros(&p.shape, cpu),
        Init::Ones => Tensor::f_ones(&p.shape, cpu),
    }
}
