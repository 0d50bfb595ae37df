//! What a layer does with each message, and with those that it must not take.

#![allow(clippy::unwrap_used)]

use mixnn_layer_pod::{Done, Lane, Machine, Send};
use mixnn_nn::{LayerKey, Tensor, tensor_to_wire};
use mixnn_protocol::control::{self, Assignment, Command, FailureReason, Profile, Report};
use mixnn_protocol::{Kind, Message, MessageHeader};
use serde_json::json;

const TERM: u32 = 3;

fn profile() -> Profile {
    mixnn_nn::profile::pin().unwrap()
}

fn assignment() -> Assignment {
    serde_json::from_value(json!({
        "ops": [{"linear": {"in": 4, "out": 3}}, {"relu": {}}],
        "input": [4], "vocabulary": null, "output": [3], "microBatches": 2,
        "learning": {
            "optimizer": {"sgd": {"lr": 0.1, "momentum": 0.9}}, "schedule": {}, "totalSteps": 10,
            "settings": [{"weightDecay": 0.0, "lrFactor": 1.0}, {"weightDecay": 0.0, "lrFactor": 1.0}],
            "clips": false, "precision": "F32",
        },
        "device": "cpu", "loss": null, "profile": profile(),
    }))
    .unwrap()
}

fn header(kind: Kind, attempt: u32, step: u64, micro_batch: u32) -> MessageHeader {
    MessageHeader { kind, term: TERM, attempt, step, micro_batch }
}

struct Bench(Machine);

impl Bench {
    fn blank() -> Self {
        Self(Machine::new(LayerKey::from_bytes([1; 32]), profile(), TERM, true))
    }

    fn assigned() -> Self {
        let mut bench = Self::blank();
        let sent = bench.command(0, 0, &Command::Assign(assignment()));
        assert_eq!(reports(&sent), [Report::Ready]);
        bench
    }

    fn give(&mut self, lane: Lane, header: MessageHeader, payload: Vec<u8>) -> Vec<Send> {
        assert_eq!(self.0.message(lane, &Message { header, payload }), Done::Continue);
        self.0.take_outbox()
    }

    fn command(&mut self, attempt: u32, step: u64, command: &Command) -> Vec<Send> {
        let payload = control::to_bytes(command).unwrap();
        self.give(Lane::Command, header(Kind::Command, attempt, step, 0), payload)
    }

    fn activation(&mut self, attempt: u32, step: u64, micro_batch: u32) -> Vec<Send> {
        let input = tensor(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], 4);
        self.give(Lane::ForwardIn, header(Kind::Activation, attempt, step, micro_batch), input)
    }

    fn gradient(&mut self, attempt: u32, step: u64, micro_batch: u32) -> Vec<Send> {
        let gradient = tensor(&[1.0, -1.0, 0.5, 0.1, 0.2, -0.3], 3);
        self.give(Lane::BackwardIn, header(Kind::Gradient, attempt, step, micro_batch), gradient)
    }

    /// A whole step; gives the last messages.
    fn step(&mut self, attempt: u32, step: u64) -> Vec<Send> {
        self.activation(attempt, step, 0);
        self.activation(attempt, step, 1);
        self.gradient(attempt, step, 0);
        self.gradient(attempt, step, 1)
    }

    fn digest(&mut self) -> [u8; 32] {
        match reports(&self.command(0, 0, &Command::Digest))[0] {
            Report::Digest(digest) => digest,
            ref other => panic!("{other:?}"),
        }
    }
}

fn tensor(values: &[f32], columns: i64) -> Vec<u8> {
    tensor_to_wire(&Tensor::from_slice(values).reshape([-1, columns])).unwrap()
}

fn reports(sent: &[Send]) -> Vec<Report> {
    let reports = sent.iter().filter(|s| s.header.kind == Kind::Report);
    reports.map(|s| control::parse(&s.payload).unwrap()).collect()
}

fn failure(sent: &[Send]) -> FailureReason {
    match reports(sent).as_slice() {
        [Report::Failed(failure)] => failure.reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_step_goes_forward_backward_and_is_applied() {
    let mut bench = Bench::assigned();
    let out = bench.activation(0, 1, 0);
    assert_eq!((out[0].lane, out[0].header), (Lane::ForwardOut, header(Kind::Activation, 0, 1, 0)));
    bench.activation(0, 1, 1);
    let before = bench.digest();
    let out = bench.gradient(0, 1, 0);
    assert_eq!((out[0].lane, out[0].header), (Lane::BackwardOut, header(Kind::Gradient, 0, 1, 0)));
    assert_eq!(bench.digest(), before, "nothing is applied before the last micro-batch");
    let out = bench.gradient(0, 1, 1);
    assert_eq!(reports(&out), [Report::Applied]);
    assert_ne!(bench.digest(), before);
}

#[test]
fn gradients_are_taken_in_the_order_of_micro_batches() {
    let (mut ordered, mut swapped) = (Bench::assigned(), Bench::assigned());
    ordered.step(0, 1);
    swapped.activation(0, 1, 1);
    swapped.activation(0, 1, 0);
    assert!(swapped.gradient(0, 1, 1).is_empty(), "waits for its turn");
    let out = swapped.gradient(0, 1, 0);
    assert_eq!(out.len(), 3, "two gradients and the report");
    assert_eq!(ordered.digest(), swapped.digest());
}

#[test]
fn inputs_of_the_next_step_wait_until_this_one_is_applied() {
    let mut bench = Bench::assigned();
    bench.activation(0, 1, 0);
    bench.activation(0, 1, 1);
    bench.gradient(0, 1, 0);
    assert!(bench.activation(0, 2, 0).is_empty());
    let out = bench.gradient(0, 1, 1);
    let forward: Vec<u64> =
        out.iter().filter(|s| s.lane == Lane::ForwardOut).map(|s| s.header.step).collect();
    assert_eq!(forward, [2]);
}

#[test]
fn another_term_or_attempt_is_dropped_without_a_word() {
    let mut bench = Bench::assigned();
    for (term, attempt) in [(TERM - 1, 0), (TERM + 1, 0), (TERM, 1)] {
        let header = MessageHeader { term, ..header(Kind::Activation, attempt, 1, 0) };
        assert!(bench.give(Lane::ForwardIn, header, tensor(&[0.0; 8], 4)).is_empty());
    }
    let old = MessageHeader { term: TERM - 1, ..header(Kind::Command, 0, 0, 0) };
    let finish = control::to_bytes(&Command::Finish).unwrap();
    assert_eq!(
        bench.0.message(Lane::Command, &Message { header: old, payload: finish }),
        Done::Continue
    );
}

#[test]
fn a_rolled_back_step_replays_with_the_same_bits() {
    let (mut straight, mut stumbling) = (Bench::assigned(), Bench::assigned());
    straight.step(0, 1);
    straight.step(0, 2);
    stumbling.step(0, 1);
    let after_one = stumbling.digest();
    stumbling.step(0, 2);
    let out = stumbling.command(1, 1, &Command::Rollback);
    assert_eq!(reports(&out), [Report::RolledBack]);
    assert_eq!(out[0].header.attempt, 1);
    assert_eq!(stumbling.digest(), after_one);
    assert!(stumbling.activation(0, 2, 0).is_empty(), "of the abandoned attempt");
    assert!(stumbling.command(1, 0, &Command::Rollback).is_empty(), "a command that came twice");
    stumbling.step(1, 2);
    assert_eq!(straight.digest(), stumbling.digest());
}

#[test]
fn what_does_not_fit_is_reported_and_changes_nothing() {
    let mut bench = Bench::assigned();
    let before = bench.digest();
    let protocol = FailureReason::Protocol;
    assert_eq!(failure(&bench.activation(0, 4, 0)), protocol, "a step far ahead");
    assert_eq!(failure(&bench.activation(0, 1, 2)), protocol, "a micro-batch too many");
    assert_eq!(failure(&bench.gradient(0, 1, 0)), protocol, "a gradient before its input");
    let wide = tensor(&[0.0; 10], 5);
    let given = bench.give(Lane::ForwardIn, header(Kind::Activation, 0, 1, 0), wide);
    assert_eq!(failure(&given), protocol, "another shape");
    let given = bench.give(Lane::ForwardIn, header(Kind::Activation, 0, 1, 0), vec![9; 7]);
    assert_eq!(failure(&given), protocol, "no tensor");
    let given = bench.give(Lane::BackwardIn, header(Kind::Labels, 0, 1, 0), vec![]);
    assert_eq!(failure(&given), protocol, "labels at a layer without loss");
    let given = bench.give(Lane::Command, header(Kind::Command, 0, 0, 0), b"{}".to_vec());
    assert_eq!(failure(&given), protocol, "no command");
    assert_eq!(bench.digest(), before);
}

#[test]
fn an_assignment_that_cannot_be_carried_out_is_refused() {
    let mut other_profile = assignment();
    other_profile.profile.libtorch = "1.0".into();
    let mut other_shape = assignment();
    other_shape.output = vec![4];
    let mut no_shape = assignment();
    no_shape.input = vec![5];
    for bad in [other_profile, other_shape, no_shape] {
        let sent = Bench::blank().command(0, 0, &Command::Assign(bad));
        assert_eq!(failure(&sent), FailureReason::Assignment);
    }
}

#[test]
fn an_assignment_says_nothing_of_model_place_or_neighbours() {
    let text = serde_json::to_value(assignment()).unwrap();
    let mut fields: Vec<&str> = text.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "device",
            "input",
            "learning",
            "loss",
            "microBatches",
            "ops",
            "output",
            "profile",
            "vocabulary"
        ],
        "a new field here is told to every host: think before you add it"
    );
}
