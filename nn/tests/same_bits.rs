//! Layers on their own give the same bits as the model in one autograd graph.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Chain, batch, lenet5, mlp, owner, pin};
use mixnn_model::Model;
use mixnn_nn::Reference;

fn sample(model: &Model) -> Vec<i64> {
    model.layers()[0].input.sizes().iter().map(|&s| s as i64).collect()
}

fn assert_same_bits(model: &Model, micro_batches: usize) {
    pin();
    let mut chain = Chain::new(model);
    let mut reference = Reference::new(model, &owner()).unwrap();
    assert_eq!(chain.digest(), reference.digest().unwrap(), "first values");
    for step in 1..=30 {
        let batch = batch(step, &sample(model), micro_batches);
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

/// The control: the check above can fail.
#[test]
fn another_order_of_micro_batches_gives_other_bits() {
    pin();
    let model = lenet5(4);
    let mut chain = Chain::new(&model);
    let mut reference = Reference::new(&model, &owner()).unwrap();
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
            stumbling.0.iter_mut().for_each(|l| l.roll_back(2).unwrap());
            assert!(stumbling.0[0].roll_back(1).is_err(), "only two states are kept");
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
    for (from, to) in original.0.iter().zip(&mut copy.0) {
        to.import(&from.export().unwrap()).unwrap();
    }
    let next = batch(2, &sample(&model), 1);
    original.train(&next, 0..1);
    copy.train(&next, 0..1);
    assert_eq!(original.digest(), copy.digest());
    let foreign = original.0[1].export().unwrap();
    assert!(copy.0[0].import(&foreign).is_err(), "another layer's state is refused");
}

#[test]
fn digests_are_keyed() {
    pin();
    let model = mlp(1);
    let one = Reference::new(&model, &owner()).unwrap();
    let other = Reference::new(&model, &mixnn_nn::OwnerSecret::from_bytes([8; 32])).unwrap();
    assert_ne!(one.digest().unwrap(), other.digest().unwrap());
}
