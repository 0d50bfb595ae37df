//! The optimizers give the bits of libtorch's own.

#![allow(clippy::unwrap_used)]

mod common;

use common::{model, noise, owner, pin};
use mixnn_nn::{Layer, Tensor};
use serde_json::{Value, json};
use tch::nn::{self, OptimizerConfig, VarStore};
use tch::{Device, Kind};

fn bits(t: &Tensor) -> Vec<u32> {
    let flat = Vec::<f32>::try_from(t.detach().flatten(0, -1)).unwrap();
    flat.into_iter().map(f32::to_bits).collect()
}

/// 30 steps of a linear layer beside the same with libtorch's optimizer; the second one is so large that
/// it is updated in pieces, the last of which ends within a vector.
fn assert_equals_libtorch<C: OptimizerConfig + Copy>(spec: &Value, config: C, lr: f64) {
    pin();
    for inputs in [33, 6601] {
        steps(inputs, spec, config, lr);
    }
}

fn steps<C: OptimizerConfig>(inputs: i64, spec: &Value, config: C, lr: f64) {
    let layers = json!([{"name": "a", "ops": [{"linear": {"in": inputs, "out": 10}}]}]);
    let model = model(layers, spec.clone(), 1, &[inputs as usize]);
    let ops = &model.layers()[0].spec.ops;
    let learning = model.learning(&model.layers()[0], 30);
    let mut layer = Layer::new(ops, &learning, Device::Cpu, owner().layer_key("a")).unwrap();
    let store = VarStore::new(Device::Cpu);
    let variables = weights(&layer, inputs).map(|value| {
        let mut variable = store.root().zeros(&format!("v{}", value.dim()), &value.size());
        tch::no_grad(|| variable.copy_(&value));
        variable
    });
    let mut libtorch = config.build(&store, lr).unwrap();
    for step in 1..=30 {
        let x = noise(step, &[8, inputs]);
        let gradient = noise(1000 + step, &[8, 10]);
        libtorch.zero_grad();
        (x.linear(&variables[0], Some(&variables[1])) * &gradient).sum(Kind::Float).backward();
        libtorch.step();
        drop(layer.forward(0, &x, false).unwrap());
        layer.backward(0, &gradient).unwrap();
        layer.apply(None).unwrap();
        for (ours, theirs) in weights(&layer, inputs).iter().zip(&variables) {
            assert_eq!(bits(ours), bits(theirs), "step {step} of {inputs}");
        }
    }
}

fn weights(layer: &Layer, inputs: i64) -> [Tensor; 2] {
    let export = layer.export().unwrap().to_bytes().unwrap();
    let file = safetensors::SafeTensors::deserialize(&export).unwrap();
    [("0.weight", [10, inputs].as_slice()), ("0.bias", &[10])].map(|(name, shape)| {
        Tensor::from_data_size(file.tensor(name).unwrap().data(), shape, Kind::Float)
    })
}

#[test]
fn sgd() {
    let config = nn::Sgd { momentum: 0.0, dampening: 0.0, wd: 0.0, nesterov: false };
    assert_equals_libtorch(&json!({"sgd": {"lr": 0.05}}), config, 0.05);
}

#[test]
fn sgd_with_momentum_and_weight_decay() {
    let config = nn::Sgd { momentum: 0.9, dampening: 0.0, wd: 1e-3, nesterov: false };
    let spec = json!({"sgd": {"lr": 0.05, "momentum": 0.9, "weightDecay": 1e-3}});
    assert_equals_libtorch(&spec, config, 0.05);
}

#[test]
fn adam() {
    let config = nn::Adam { beta1: 0.9, beta2: 0.999, wd: 0.0, eps: 1e-8, amsgrad: false };
    assert_equals_libtorch(&json!({"adam": {"lr": 0.01}}), config, 0.01);
}

#[test]
fn adam_with_weight_decay() {
    let config = nn::Adam { beta1: 0.9, beta2: 0.99, wd: 1e-2, eps: 1e-6, amsgrad: false };
    let spec = json!({"adam": {"lr": 0.01, "beta2": 0.99, "eps": 1e-6, "weightDecay": 1e-2}});
    assert_equals_libtorch(&spec, config, 0.01);
}

#[test]
fn sgd_with_nesterov() {
    let config = nn::Sgd { momentum: 0.9, dampening: 0.0, wd: 1e-3, nesterov: true };
    let spec = json!({"sgd": {"lr": 0.05, "momentum": 0.9, "nesterov": true, "weightDecay": 1e-3}});
    assert_equals_libtorch(&spec, config, 0.05);
}

#[test]
fn sgd_with_dampening() {
    let config = nn::Sgd { momentum: 0.8, dampening: 0.3, wd: 0.0, nesterov: false };
    let spec = json!({"sgd": {"lr": 0.05, "momentum": 0.8, "dampening": 0.3}});
    assert_equals_libtorch(&spec, config, 0.05);
}

#[test]
fn adamw() {
    let config = nn::AdamW { beta1: 0.9, beta2: 0.999, wd: 0.01, eps: 1e-8, amsgrad: false };
    assert_equals_libtorch(&json!({"adamw": {"lr": 0.01}}), config, 0.01);
}

#[test]
fn rmsprop() {
    let config = nn::RmsProp { alpha: 0.99, eps: 1e-8, wd: 1e-3, momentum: 0.0, centered: false };
    assert_equals_libtorch(&json!({"rmsprop": {"lr": 0.01, "weightDecay": 1e-3}}), config, 0.01);
}

#[test]
fn rmsprop_centered_with_momentum() {
    let config = nn::RmsProp { alpha: 0.95, eps: 1e-6, wd: 0.0, momentum: 0.9, centered: true };
    let spec = json!({"rmsprop": {"lr": 0.01, "alpha": 0.95, "eps": 1e-6, "momentum": 0.9, "centered": true}});
    assert_equals_libtorch(&spec, config, 0.01);
}
