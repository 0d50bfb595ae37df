//! Models, data and the chain of cut layers that the tests share.

#![allow(clippy::unwrap_used, dead_code)]

use mixnn_model::{Labels, Model, Shape, TrainingSpec};
use mixnn_nn::{Device, Layer, MicroBatch, OwnerSecret, Tensor, clip_factor, loss, model_digest};
use serde_json::{Value, json};
use std::sync::Once;

/// Pins the profile once per test binary.
pub fn pin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(mixnn_nn::profile::pin().unwrap()));
}

pub fn owner() -> OwnerSecret {
    OwnerSecret::from_bytes([7; 32])
}

/// Steps of a test's training.
pub const STEPS: u64 = 30;

pub fn model(layers: Value, optimizer: Value, micro_batches: u32, sample: &[usize]) -> Model {
    let training = json!({"optimizer": optimizer, "microBatches": micro_batches});
    let labels = Labels::Class { classes: 10 };
    model_with(layers, training, &Shape::new(sample).unwrap(), &labels)
}

/// `more` is what a training has beside the data and sizes that tests do not care for.
pub fn model_with(layers: Value, more: Value, sample: &Shape, labels: &Labels) -> Model {
    let mut training = json!({
        "dataset": {"digits": {"train": 10, "test": 10}}, "batchSize": 16, "epochs": 1,
    });
    training.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let training: TrainingSpec = serde_json::from_value(training).unwrap();
    let layers = serde_json::from_value(layers).unwrap();
    Model::new(layers, training, sample, labels).unwrap()
}

pub fn lenet5(micro_batches: u32) -> Model {
    let layers = json!([
        {"name": "conv1", "ops": [{"conv2d": {"in": 1, "out": 6, "kernel": 5, "padding": 2}}, {"relu": {}}, {"maxPool2d": {"kernel": 2}}]},
        {"name": "conv2", "ops": [{"conv2d": {"in": 6, "out": 16, "kernel": 5}}, {"relu": {}}, {"maxPool2d": {"kernel": 2}}]},
        {"name": "fc1", "ops": [{"flatten": {}}, {"linear": {"in": 400, "out": 120}}, {"relu": {}}]},
        {"name": "fc2", "ops": [{"linear": {"in": 120, "out": 84}}, {"relu": {}}]},
        {"name": "fc3", "ops": [{"linear": {"in": 84, "out": 10}}]},
    ]);
    let sgd = json!({"sgd": {"lr": 0.05, "momentum": 0.9, "weightDecay": 0.0005}});
    model(layers, sgd, micro_batches, &[1, 28, 28])
}

pub fn mlp(micro_batches: u32) -> Model {
    let layers = json!([
        {"name": "in", "ops": [{"flatten": {}}, {"linear": {"in": 64, "out": 50}}, {"tanh": {}}, {"dropout": {"p": 0.3}}]},
        {"name": "hidden", "ops": [{"linear": {"in": 50, "out": 30}}, {"sigmoid": {}}, {"dropout": {"p": 0.2}}]},
        {"name": "out", "ops": [{"linear": {"in": 30, "out": 10}}]},
    ]);
    model(layers, json!({"adam": {"lr": 0.01, "weightDecay": 0.001}}), micro_batches, &[1, 8, 8])
}

/// Numbers that look random, without libtorch's generator: other tests seed it at the same time.
pub fn noise(seed: u64, size: &[i64]) -> Tensor {
    let count = size.iter().product::<i64>() as u64;
    let mix = |i: u64| {
        let x = (seed << 32 | i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((x ^ (x >> 32)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let values: Vec<f32> = (0..count).map(|i| 2.0 * mix(i)).collect();
    Tensor::from_slice(&values).reshape(size)
}

/// One batch of noise with classes that depend on it, cut into micro-batches.
pub fn batch(step: u64, sample: &[i64], micro_batches: usize) -> Vec<MicroBatch> {
    let size: Vec<i64> = std::iter::once(16).chain(sample.iter().copied()).collect();
    let inputs = noise(step, &size);
    let labels = inputs.flatten(1, -1).narrow(1, 0, 10).argmax(-1, false);
    cut(&inputs, &labels, micro_batches)
}

/// Samples and labels in parts.
pub fn cut(inputs: &Tensor, labels: &Tensor, micro_batches: usize) -> Vec<MicroBatch> {
    let parts = inputs.chunk(micro_batches as i64, 0).into_iter();
    let labels = labels.chunk(micro_batches as i64, 0);
    parts.zip(labels).map(|(inputs, labels)| MicroBatch { inputs, labels }).collect()
}

/// Every layer on its own, as pods would hold them.
pub struct Chain {
    pub layers: Vec<Layer>,
    model: Model,
}

impl Chain {
    pub fn new(model: &Model) -> Self {
        let layer = |l: &mixnn_model::Layer| {
            let learning = model.learning(l, STEPS);
            Layer::new(&l.spec.ops, &learning, Device::Cpu, owner().layer_key(&l.spec.name))
                .unwrap()
        };
        Self { layers: model.layers().iter().map(layer).collect(), model: model.clone() }
    }

    /// One step, with gradients taken in the given order of micro-batches.
    pub fn train(&mut self, batch: &[MicroBatch], order: impl Iterator<Item = usize>) -> f64 {
        let samples = batch.iter().map(|m| m.labels.size()[0] as usize).sum();
        let mut gradients = Vec::new();
        let mut sum = 0.0;
        for (i, m) in batch.iter().enumerate() {
            let mut x = m.inputs.shallow_clone();
            for (place, layer) in self.layers.iter_mut().enumerate() {
                x = layer.forward(i as u32, &x, place > 0).unwrap();
            }
            let output = loss(&self.model.training().loss, &x, &m.labels, samples).unwrap();
            sum += output.loss;
            gradients.push(output.gradient);
        }
        for i in order {
            let mut gradient = Some(gradients[i].shallow_clone());
            for layer in self.layers.iter_mut().rev() {
                gradient = layer.backward(i as u32, &gradient.unwrap()).unwrap();
            }
        }
        let scale = self.model.training().clip_norm.map(|max| {
            let norms = self.layers.iter().map(|l| l.gradient_norms().unwrap());
            clip_factor(&norms.collect::<Vec<_>>().concat(), max).unwrap()
        });
        self.layers.iter_mut().for_each(|l| l.apply(scale).unwrap());
        sum
    }

    pub fn digest(&self) -> [u8; 32] {
        let layers: Vec<[u8; 32]> = self.layers.iter().map(|l| l.digest().unwrap()).collect();
        model_digest(&owner(), &layers)
    }
}
