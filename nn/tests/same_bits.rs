//! Layers on their own give the same bits as the model in one autograd graph.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Chain, STEPS, batch, cut, lenet5, mlp, model_with, noise, owner, pin};
use mixnn_model::{Labels, Model, Shape};
use mixnn_nn::{MicroBatch, Reference, Tensor};
use serde_json::{Value, json};

fn sample(model: &Model) -> Vec<i64> {
    model.layers()[0].input.sizes().iter().map(|&s| s as i64).collect()
}

fn assert_same_bits(model: &Model, micro_batches: usize) {
    assert_same_bits_on(model, micro_batches, |step| batch(step, &sample(model), micro_batches));
}

fn assert_same_bits_on(
    model: &Model,
    micro_batches: usize,
    batch: impl Fn(u64) -> Vec<MicroBatch>,
) {
    pin();
    let mut chain = Chain::new(model);
    let mut reference = Reference::new(model, &owner(), STEPS).unwrap();
    assert_eq!(chain.digest(), reference.digest().unwrap(), "first values");
    for step in 1..=STEPS {
        let batch = batch(step);
        let report = reference.train(&batch).unwrap();
        let loss = chain.train(&batch, 0..micro_batches);
        assert_eq!(loss.to_bits(), report.loss.to_bits(), "loss of step {step}");
        assert_eq!(chain.digest(), reference.digest().unwrap(), "weights after step {step}");
    }
}

#[test]
fn lenet5_with_momentum_over_one_batch() {
    assert_same_bits(&lenet5(1), 1);
}

#[test]
fn lenet5_with_momentum_over_four_micro_batches() {
    assert_same_bits(&lenet5(4), 4);
}

#[test]
fn mlp_with_dropout_and_adam_over_one_batch() {
    assert_same_bits(&mlp(1), 1);
}

#[test]
fn mlp_with_dropout_and_adam_over_four_micro_batches() {
    assert_same_bits(&mlp(4), 4);
}

/// A small picture model with this normalisation after its first convolution.
fn convnet(norm: Value, micro_batches: u32, more: Value) -> Model {
    let block = json!({"residual": {
        "body": [{"conv2d": {"in": 8, "out": 12, "kernel": 3, "padding": 1, "stride": 2}}, {"groupNorm": {"groups": 3, "channels": 12}}, {"silu": {}}],
        "shortcut": [{"conv2d": {"in": 8, "out": 12, "kernel": 1, "stride": 2, "bias": false}}]}});
    let layers = json!([
        {"name": "stem", "ops": [{"conv2d": {"in": 3, "out": 8, "kernel": 3, "padding": 1}}, norm, {"relu": {}}]},
        {"name": "block", "ops": [block]},
        {"name": "head", "ops": [{"adaptiveAvgPool2d": {"height": 1, "width": 1}}, {"flatten": {}}, {"linear": {"in": 12, "out": 10}}]},
    ]);
    let mut training = json!({"microBatches": micro_batches});
    training.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let shape = Shape::new([3, 8, 8]).unwrap();
    model_with(layers, training, &shape, &Labels::Class { classes: 10 })
}

fn adamw_cosine() -> Value {
    json!({
        "optimizer": {"adamw": {"lr": 0.01, "weightDecay": 0.05}},
        "parameterGroups": [{"roles": ["Bias", "Norm"], "weightDecay": 0.0}, {"names": ["head.*"], "lrFactor": 0.5}],
        "schedule": {"warmupSteps": 5, "decay": {"cosine": {"floor": 0.1}}},
    })
}

#[test]
fn conv_group_norm_with_adamw_and_cosine() {
    let norm = json!({"groupNorm": {"groups": 2, "channels": 8}});
    assert_same_bits(&convnet(norm.clone(), 1, adamw_cosine()), 1);
    assert_same_bits(&convnet(norm, 4, adamw_cosine()), 4);
}

#[test]
fn batch_norm_in_micro_batches() {
    let more = json!({"optimizer": {"rmsprop": {"lr": 0.001, "momentum": 0.5}}});
    assert_same_bits(&convnet(json!({"batchNorm": {"channels": 8}}), 4, more), 4);
}

#[test]
fn a_step_of_batch_norm_can_be_taken_back() {
    pin();
    let more = json!({"optimizer": {"sgd": {"lr": 0.1}}});
    let model = convnet(json!({"batchNorm": {"channels": 8}}), 2, more);
    let (mut straight, mut stumbling) = (Chain::new(&model), Chain::new(&model));
    for step in 1..=3 {
        let batch = batch(step, &sample(&model), 2);
        straight.train(&batch, 0..2);
        // A forward pass that comes to nothing must not move the running means.
        drop(stumbling.layers[0].forward(0, &batch[0].inputs, false).unwrap());
        stumbling.layers.iter_mut().for_each(|l| l.roll_back(step - 1).unwrap());
        stumbling.train(&batch, 0..2);
        assert_eq!(straight.digest(), stumbling.digest());
    }
}

#[test]
fn bf16() {
    let mut more = adamw_cosine();
    more["precision"] = json!("Bf16");
    let norm = json!({"groupNorm": {"groups": 2, "channels": 8}});
    let model = convnet(norm, 4, more);
    assert_same_bits(&model, 4);
    let mut chain = Chain::new(&model);
    let input = batch(1, &sample(&model), 4).remove(0).inputs;
    let sent = chain.layers[0].forward(0, &input, false).unwrap();
    assert_eq!(sent.kind(), mixnn_nn::Kind::BFloat16, "half the bytes between layers");
}

const LENGTH: usize = 6;
const WORDS: usize = 11;

/// Tokens that look random.
fn words(step: u64, length: usize) -> Tensor {
    let real = noise(step, &[16, length as i64]) + 2.0;
    (real * (WORDS as f64 / 4.0)).to_kind(mixnn_nn::Kind::Int64).clamp(0, WORDS as i64 - 1)
}

fn transformer(block: Value, head: Value, labels: &Labels, more: Value) -> Model {
    let layers = json!([
        {"name": "embed", "ops": [{"embedding": {"count": WORDS, "size": 8}}, {"positionalEmbedding": {"length": LENGTH, "size": 8}}, {"dropout": {"p": 0.1}}]},
        {"name": "block1", "ops": [block]},
        {"name": "block2", "ops": [block]},
        {"name": "head", "ops": head},
    ]);
    model_with(layers, more, &Shape::tokens(LENGTH, WORDS).unwrap(), labels)
}

#[test]
fn transformer_classifier() {
    let block =
        json!({"transformerEncoder": {"size": 8, "heads": 2, "feedForward": 16, "dropout": 0.1}});
    let head = json!([{"mean": {}}, {"linear": {"in": 8, "out": 3}}]);
    for micro_batches in [1, 4] {
        let more = json!({"optimizer": {"adam": {"lr": 0.01}}, "microBatches": micro_batches, "loss": {"labelSmoothing": 0.1}});
        let model = transformer(block.clone(), head.clone(), &Labels::Class { classes: 3 }, more);
        assert_same_bits_on(&model, micro_batches, |step| {
            let words = words(step, LENGTH);
            let classes = words.narrow(1, 0, 1).flatten(0, -1).fmod(3);
            cut(&words, &classes, micro_batches)
        });
    }
}

#[test]
fn language_model_with_clipping() {
    let block = json!({"transformerDecoder": {"size": 8, "heads": 2, "feedForward": 16, "norm": "Pre", "activation": "gelu", "dropout": 0.1}});
    let head = json!([{"layerNorm": {"shape": [8]}}, {"linear": {"in": 8, "out": WORDS}}]);
    let labels = Labels::Tokens { length: LENGTH, vocabulary: WORDS };
    let data = |step| {
        let text = words(step, LENGTH + 1);
        cut(&text.narrow(1, 0, LENGTH as i64), &text.narrow(1, 1, LENGTH as i64), 4)
    };
    let digest = |clip: f64| {
        let more =
            json!({"optimizer": {"adamw": {"lr": 0.01}}, "microBatches": 4, "clipNorm": clip});
        let model = transformer(block.clone(), head.clone(), &labels, more);
        assert_same_bits_on(&model, 4, data);
        let mut reference = Reference::new(&model, &owner(), STEPS).unwrap();
        reference.train(&data(1)).unwrap();
        reference.train(&data(2)).unwrap();
        reference.digest().unwrap()
    };
    assert_ne!(digest(0.1), digest(1e9), "a gradient above the norm is scaled down");
}

#[test]
fn numbers_and_bits_are_learned() {
    let layers = json!([{"name": "a", "ops": [{"linear": {"in": 6, "out": 8}}, {"leakyRelu": {}}]}, {"name": "b", "ops": [{"linear": {"in": 8, "out": 2}}]}]);
    for (function, labels) in [
        ("MeanSquaredError", Labels::Values(vec![2])),
        ("BinaryCrossEntropy", Labels::Bits(vec![2])),
    ] {
        let more = json!({"optimizer": {"sgd": {"lr": 0.1, "momentum": 0.9, "nesterov": true}}, "loss": {"function": function}, "microBatches": 2});
        let model = model_with(layers.clone(), more, &Shape::new([6]).unwrap(), &labels);
        assert_same_bits_on(&model, 2, |step| {
            let x = noise(step, &[16, 6]);
            let y = x.narrow(1, 0, 2) * 0.5;
            let y = if function == "BinaryCrossEntropy" {
                y.gt(0.0).to_kind(mixnn_nn::Kind::Float)
            } else {
                y
            };
            cut(&x, &y, 2)
        });
    }
}

/// The control: the check above can fail.
#[test]
fn another_order_of_micro_batches_gives_other_bits() {
    pin();
    let model = lenet5(4);
    let mut chain = Chain::new(&model);
    let mut reference = Reference::new(&model, &owner(), STEPS).unwrap();
    for step in 1..=3 {
        let batch = batch(step, &sample(&model), 4);
        reference.train(&batch).unwrap();
        chain.train(&batch, (0..4).rev());
    }
    assert_ne!(chain.digest(), reference.digest().unwrap());
}

#[test]
fn a_step_can_be_taken_back_and_replayed() {
    pin();
    let model = mlp(4);
    let mut straight = Chain::new(&model);
    let mut stumbling = Chain::new(&model);
    for step in 1..=5 {
        let batch = batch(step, &sample(&model), 4);
        straight.train(&batch, 0..4);
        stumbling.train(&batch, 0..4);
        if step == 3 {
            stumbling.layers.iter_mut().for_each(|l| l.roll_back(2).unwrap());
            assert!(stumbling.layers[0].roll_back(1).is_err(), "not kept");
            stumbling.train(&batch, 0..4);
        }
        assert_eq!(straight.digest(), stumbling.digest(), "after step {step}");
    }
}

#[test]
fn an_exported_layer_goes_on_elsewhere_with_the_same_bits() {
    pin();
    let model = mlp(1);
    let mut original = Chain::new(&model);
    original.train(&batch(1, &sample(&model), 1), 0..1);
    let mut copy = Chain::new(&model);
    for (from, to) in original.layers.iter().zip(&mut copy.layers) {
        to.import(&from.export().unwrap().to_bytes().unwrap()).unwrap();
    }
    let next = batch(2, &sample(&model), 1);
    original.train(&next, 0..1);
    copy.train(&next, 0..1);
    assert_eq!(original.digest(), copy.digest());
    let foreign = original.layers[1].export().unwrap().to_bytes().unwrap();
    assert!(copy.layers[0].import(&foreign).is_err(), "another layer's state is refused");
}

#[test]
fn digests_are_keyed() {
    pin();
    let model = mlp(1);
    let one = Reference::new(&model, &owner(), STEPS).unwrap();
    let other = Reference::new(&model, &mixnn_nn::OwnerSecret::from_bytes([8; 32]), STEPS).unwrap();
    assert_ne!(one.digest().unwrap(), other.digest().unwrap());
}
