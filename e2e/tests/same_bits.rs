//! Distributed over real processes and relays against one process: the same bits.

#![allow(clippy::unwrap_used)]

mod common;

use common::{ADAM, LENET5, MLP, SGD, Spec, assert_same_bits, bin_dir};
use serde_json::Value;
use std::process::Command;

#[test]
fn lenet5_sgd_four_micro_batches_three_hops() {
    assert_same_bits(&Spec::default());
}

#[test]
fn lenet5_sgd_one_micro_batch_two_hops() {
    assert_same_bits(&Spec { micro_batches: 1, hops: 2, ..Spec::default() });
}

#[test]
fn mlp_dropout_adam_four_micro_batches_one_hop() {
    assert_same_bits(&Spec { layers: MLP, optimizer: ADAM, hops: 1, relays: 1, ..Spec::default() });
}

#[test]
fn mlp_dropout_adam_one_micro_batch_five_hops_x25519() {
    let suite = "X25519";
    let spec = Spec { layers: MLP, optimizer: ADAM, micro_batches: 1, ..Spec::default() };
    assert_same_bits(&Spec { hops: 5, relays: 5, suite, ..spec });
}

#[test]
fn the_loss_at_the_last_layer_gives_the_same_bits() {
    let loss = r#"{"placement": "LastLayer"}"#;
    assert_same_bits(&Spec { layers: MLP, optimizer: SGD, loss, ..Spec::default() });
}

/// The bits do not know of slots.
#[test]
fn lenet5_under_constant_rate_cover() {
    let cover = r#", "coverTraffic": "ConstantRate", "rate": {"fixed": {"cellsPerSecond": 200}}"#;
    assert_same_bits(&Spec { cover, ..Spec::default() });
}

/// The control: the digest tells a difference that accuracy hides.
#[test]
fn another_number_of_micro_batches_gives_other_bits() {
    let folder = tempfile::tempdir().unwrap();
    let digest = |micro_batches| {
        let file = Spec { layers: LENET5, micro_batches, ..Spec::default() }.write(folder.path());
        let output = Command::new(bin_dir().join("mixnn-designer"))
            .env("ATEN_CPU_CAPABILITY", "avx2")
            .args(["reference", "--owner-secret", "secret", "-f"])
            .arg(file)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let last = output.stdout.split(|&b| b == b'\n').rfind(|l| !l.is_empty()).unwrap().to_vec();
        let done: Value = serde_json::from_slice(&last).unwrap();
        assert_eq!(done["event"], "done", "{done}");
        done["digest"].clone()
    };
    assert_eq!(digest(4), digest(4));
    assert_ne!(digest(4), digest(2));
}
