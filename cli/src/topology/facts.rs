//! What can be counted of a model without running it.

use super::balance;
use mixnn_crds::RelaysSpec;
use mixnn_model::{Layer, Model, Op, Operation, OptimizerSpec, Shape};
use mixnn_protocol::sizes::cells_for;
use mixnn_protocol::tensor::{Dtype, encoded_len};
use serde::Serialize;

/// A model as a pipeline of pods.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Topology {
    pub(super) layers: Vec<LayerFacts>,
    /// Shape of a sample.
    pub(super) input: String,
    /// Bytes of a micro-batch's inputs on the first lane, and the cells they take.
    pub(super) input_bytes: u64,
    pub(super) input_cells: usize,
    pub(super) parameters: u64,
    /// Floating-point operations of one sample's forward pass.
    pub(super) flops: u64,
    /// Samples of the largest micro-batch.
    pub(super) micro_batch_size: u32,
    pub(super) micro_batches: u32,
    /// Cells that all lanes carry in one step, forward and back, on each of their links.
    pub(super) step_cells: usize,
    pub(super) relays: u32,
    pub(super) hops: u32,
    /// Share of the pods' time in which they compute, if all pods are equally fast.
    pub(super) balance: f64,
    /// What would balance the pipeline better.
    pub(super) advice: Vec<String>,
}

/// One layer pod.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LayerFacts {
    pub(super) name: String,
    pub(super) ops: Vec<String>,
    pub(super) input: String,
    pub(super) output: String,
    pub(super) parameters: u64,
    pub(super) flops: u64,
    /// Share of all operations.
    pub(super) share: f64,
    /// Bytes of a micro-batch's outputs, and the cells they take.
    pub(super) message_bytes: u64,
    pub(super) message_cells: usize,
    /// Bytes of tensors in training.
    pub(super) memory_bytes: u64,
}

impl Topology {
    pub(super) fn new(model: &Model, relays: &RelaysSpec) -> Self {
        let training = model.training();
        let micro_batch_size = training.batch_size.div_ceil(training.micro_batches.max(1));
        let flops: u64 = model.layers().iter().map(Layer::flops).sum();
        let message = |shape: &Shape| message_bytes(shape, micro_batch_size);
        let layer = |layer: &Layer| {
            let of = layer.flops();
            let message_bytes = message(&layer.output);
            LayerFacts {
                name: layer.spec.name.clone(),
                ops: layer.spec.ops.iter().map(|op| op.name().to_owned()).collect(),
                input: layer.input.to_string(),
                output: layer.output.to_string(),
                parameters: layer.parameter_count() as u64,
                flops: of,
                share: of as f64 / flops.max(1) as f64,
                message_bytes,
                message_cells: cells_for(message_bytes as usize),
                memory_bytes: memory(model, layer, micro_batch_size),
            }
        };
        let layers: Vec<LayerFacts> = model.layers().iter().map(layer).collect();
        let first = &model.layers()[0];
        let input_bytes = message(&first.input);
        let input_cells = cells_for(input_bytes as usize);
        // Outputs go forward, and gradients of the same size come back; none leaves the first layer.
        let a_micro_batch = input_cells + 2 * layers.iter().map(|l| l.message_cells).sum::<usize>();
        Self {
            input: first.input.to_string(),
            input_bytes,
            input_cells,
            parameters: model.parameter_count() as u64,
            flops,
            micro_batch_size,
            micro_batches: training.micro_batches,
            step_cells: a_micro_batch * training.micro_batches as usize,
            relays: relays.replicas,
            hops: relays.hops,
            balance: balance::balance(&layers.iter().map(|l| l.flops).collect::<Vec<_>>()),
            advice: balance::advice(model),
            layers,
        }
    }
}

/// Bytes of a micro-batch's tensor on a lane.
fn message_bytes(shape: &Shape, samples: u32) -> u64 {
    let sizes = shape.sizes().iter().map(|&s| s as u32);
    let whole: Vec<u32> = std::iter::once(samples).chain(sizes).collect();
    encoded_len(Dtype::F32, &whole).unwrap_or(usize::MAX) as u64
}

/// Weights, gradients and the optimizer's state, of which a layer keeps two; and what each micro-batch
/// leaves behind for its backward pass.
fn memory(model: &Model, layer: &Layer, micro_batch_size: u32) -> u64 {
    let training = model.training();
    let moments = moments(&training.optimizer);
    let weights = 4 * layer.parameter_count() as u64 * (2 * (1 + moments) + 1);
    let mut shape = layer.input.clone();
    let mut kept = shape.elements() as u64;
    for op in &layer.spec.ops {
        let Ok(output) = Op::output(op, &shape) else { break };
        kept += output.elements() as u64;
        shape = output;
    }
    weights + 4 * kept * u64::from(micro_batch_size) * u64::from(training.micro_batches)
}

/// Tensors of an optimizer's state, a parameter.
fn moments(optimizer: &OptimizerSpec) -> u64 {
    match optimizer {
        OptimizerSpec::Sgd(sgd) => u64::from(sgd.momentum > 0.0),
        _ => 2,
    }
}

/// A number of cells for people.
pub(super) fn cells_of(n: usize) -> String {
    if n == 1 { "1 cell".into() } else { format!("{n} cells") }
}

/// Bytes for people.
pub(super) fn bytes(n: u64) -> String {
    scaled(n as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// Operations for people.
pub(super) fn flops(n: u64) -> String {
    scaled(n as f64, 1000.0, &["", "k", "M", "G", "T", "P"]).trim_end().to_owned()
}

fn scaled(mut n: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while n >= step && unit + 1 < units.len() {
        n /= step;
        unit += 1;
    }
    if unit == 0 { format!("{n:.0} {}", units[0]) } else { format!("{n:.1} {}", units[unit]) }
}
