//! Models beyond LeNet, distributed over real processes against one process: the same bits.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Spec, assert_same_bits, compare};

const CONVNET: &str = r#"[
    {"name": "stem", "ops": [{"conv2d": {"in": 1, "out": 6, "kernel": 5, "stride": 2}}, {"groupNorm": {"groups": 3, "channels": 6}}, {"gelu": {}}]},
    {"name": "block", "ops": [{"residual": {
        "body": [{"conv2d": {"in": 6, "out": 12, "kernel": 3, "stride": 2, "bias": false}}, {"groupNorm": {"groups": 3, "channels": 12}}, {"silu": {}}, {"dropout": {"p": 0.1}}],
        "shortcut": [{"conv2d": {"in": 6, "out": 12, "kernel": 3, "stride": 2}}]}}]},
    {"name": "head", "ops": [{"adaptiveAvgPool2d": {"height": 2, "width": 2}}, {"flatten": {}}, {"linear": {"in": 48, "out": 10}}]}]"#;
const BATCH_NORM: &str = r#"[
    {"name": "stem", "ops": [{"conv2d": {"in": 1, "out": 6, "kernel": 5, "stride": 2}}, {"batchNorm": {"channels": 6}}, {"relu": {}}]},
    {"name": "head", "ops": [{"maxPool2d": {"kernel": 2}}, {"flatten": {}}, {"linear": {"in": 216, "out": 32}}, {"batchNorm": {"channels": 32}}, {"leakyRelu": {}}, {"linear": {"in": 32, "out": 10}}]}]"#;
/// Reads a picture row by row.
const TRANSFORMER: &str = r#"[
    {"name": "rows", "ops": [{"reshape": {"shape": [28, 28]}}, {"linear": {"in": 28, "out": 16}}, {"positionalEmbedding": {"length": 28, "size": 16}}]},
    {"name": "encoder1", "ops": [{"transformerEncoder": {"size": 16, "heads": 4, "feedForward": 32, "dropout": 0.1}}]},
    {"name": "encoder2", "ops": [{"transformerEncoder": {"size": 16, "heads": 4, "feedForward": 32, "dropout": 0.1, "norm": "Pre"}}]},
    {"name": "head", "ops": [{"mean": {}}, {"linear": {"in": 16, "out": 10}}]}]"#;
const ADAMW: &str = r#"{"adamw": {"lr": 0.01, "weightDecay": 0.05}}"#;
const COSINE: &str = r#", "schedule": {"warmupSteps": 5, "decay": {"cosine": {"floor": 0.1}}},
    "parameterGroups": [{"roles": ["Bias", "Norm"], "weightDecay": 0}]"#;

fn convnet() -> Spec {
    Spec { layers: CONVNET, optimizer: ADAMW, more: COSINE, hops: 1, relays: 1, ..Spec::default() }
}

#[test]
fn conv_group_norm_with_adamw_and_a_cosine_schedule() {
    assert_same_bits(&convnet());
    assert_same_bits(&Spec { micro_batches: 1, ..convnet() });
}

#[test]
fn batch_norm_in_micro_batches_with_the_loss_at_the_last_layer() {
    let loss = r#"{"placement": "LastLayer", "labelSmoothing": 0.1}"#;
    assert_same_bits(&Spec { layers: BATCH_NORM, loss, hops: 1, relays: 1, ..Spec::default() });
}

#[test]
fn a_transformer_classifier_with_clipping() {
    let more = r#", "clipNorm": 0.5"#;
    assert_same_bits(&Spec { layers: TRANSFORMER, more, ..convnet() });
    assert_same_bits(&Spec { layers: TRANSFORMER, more, micro_batches: 1, ..convnet() });
}

#[test]
fn accumulated_batches_with_clipping() {
    let more = r#", "accumulate": 3, "clipNorm": 0.5"#;
    let spec = Spec { more, micro_batches: 2, train: 970, batch: 10, ..convnet() };
    assert_same_bits(&spec);
}

#[test]
fn bf16_between_layers() {
    assert_same_bits(&Spec { more: r#", "precision": "Bf16""#, ..convnet() });
}

#[test]
fn tests_that_get_no_better_end_the_training() {
    let more = r#", "testEvery": 4, "earlyStopping": {"patience": 1, "minDelta": 1000}"#;
    let result = compare(&Spec { more, ..convnet() });
    for side in ["distributed", "reference"] {
        assert_eq!(
            result[side]["steps"], 8,
            "the first test is the best, the second ends it: {result:#}"
        );
    }
    assert_eq!(result["sameBits"], true);
}

#[test]
fn a_gpu_that_is_not_there_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let layers = r#"[{"name": "only", "device": "cuda", "ops": [{"flatten": {}}, {"linear": {"in": 784, "out": 10}}]}]"#;
    let file = Spec { layers, hops: 1, relays: 1, ..Spec::default() }.write(folder.path());
    let output = common::run(folder.path(), &["run", "-f", file.to_str().unwrap()]);
    if output.status.success() {
        // There is one.
        return;
    }
    let said = common::stderr(&output);
    assert!(said.contains("\"only\"") && said.contains("finds no GPU here"), "{said}");
}
