//! What a layer does with each message, and with those that it must not take.

#![allow(clippy::unwrap_used)]

use mixnn_layer_pod::{Done, Lane, Machine, Send};
use mixnn_nn::{LayerKey, Tensor, tensor_to_wire};
use mixnn_protocol::control::{
    self, Assignment, Command, Direction, FailureReason, Profile, Report, SealTo,
};
use mixnn_protocol::journal::Level;
use mixnn_protocol::shard::{self, Binding};
use mixnn_protocol::sizes::FRAME_DATA;
use mixnn_protocol::times::{Doing, MAX_SPANS};
use mixnn_protocol::{KeyPair, Kind, Message, MessageHeader, Suite};
use mixnn_transport::Passage;
use serde_json::json;
use std::time::{Duration, Instant};

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
        "snapshotEvery": 2,
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
        let mut sent = self.0.take_outbox();
        while self.0.go_on() {
            sent.extend(self.0.take_outbox());
        }
        sent
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
    let out = stumbling.command(1, 0, &Command::Halt);
    assert_eq!(reports(&out), [Report::Halted(vec![0, 1, 2])]);
    let out = stumbling.command(1, 1, &Command::Rollback);
    assert_eq!(reports(&out), [Report::RolledBack]);
    assert_eq!(out[0].header.attempt, 1);
    assert_eq!(stumbling.digest(), after_one);
    assert!(stumbling.activation(0, 2, 0).is_empty(), "of the abandoned attempt");
    assert!(stumbling.command(0, 0, &Command::Rollback).is_empty(), "of the abandoned attempt");
    stumbling.step(1, 2);
    assert_eq!(straight.digest(), stumbling.digest());
}

#[test]
fn a_halt_probes_the_lanes_and_may_be_repeated() {
    let mut bench = Bench::assigned();
    for _ in 0..2 {
        let out = bench.command(4, 0, &Command::Halt);
        let probes: Vec<Lane> =
            out.iter().filter(|s| s.header.kind == Kind::Probe).map(|s| s.lane).collect();
        assert_eq!(probes, [Lane::ForwardOut, Lane::BackwardOut]);
        assert!(out.iter().all(|s| s.header.attempt == 4));
    }
    assert!(bench.command(3, 0, &Command::Halt).is_empty(), "of an attempt that is over");
    // A neighbour's probe may come first; the report says which attempt it is of.
    let out = bench.give(Lane::BackwardIn, header(Kind::Probe, 5, 0, 0), vec![]);
    assert_eq!(reports(&out), [Report::Heard(Direction::Backward)]);
    assert_eq!(out[0].header.attempt, 5);
}

#[test]
fn snapshots_outlive_steps_and_rollbacks() {
    let mut bench = Bench::assigned();
    let mut digests = vec![bench.digest()];
    for step in 1..=5 {
        bench.step(0, step);
        digests.push(bench.digest());
    }
    let out = bench.command(1, 0, &Command::Halt);
    assert_eq!(reports(&out), [Report::Halted(vec![0, 2, 4, 5])]);
    for (attempt, step) in [(1, 2), (2, 0)] {
        bench.command(attempt, 0, &Command::Halt);
        bench.command(attempt, step, &Command::Rollback);
        assert_eq!(bench.digest(), digests[step as usize]);
    }
    for step in 1..=5 {
        bench.step(2, step);
        assert_eq!(bench.digest(), digests[step as usize], "step {step} again");
    }
    bench.command(3, 0, &Command::Halt);
    assert_eq!(failure(&bench.command(3, 3, &Command::Rollback)), FailureReason::Protocol);
}

/// Cells that were held back and come after a rollback open and are valid: they have no effect.
#[test]
fn what_was_held_back_before_a_rollback_has_no_effect_after_it() {
    let mut bench = Bench::assigned();
    bench.step(0, 1);
    let before = bench.digest();
    bench.command(1, 0, &Command::Halt);
    bench.command(1, 1, &Command::Rollback);
    assert!(bench.activation(0, 2, 0).is_empty() && bench.gradient(0, 2, 0).is_empty());
    bench.activation(1, 2, 0);
    bench.activation(1, 2, 1);
    assert!(bench.gradient(0, 2, 0).is_empty() && bench.gradient(0, 2, 1).is_empty());
    assert_eq!(bench.digest(), before);
    bench.gradient(1, 2, 0);
    assert_eq!(reports(&bench.gradient(1, 2, 1)), [Report::Applied]);
}

#[test]
fn a_state_sealed_here_goes_on_in_another_pod() {
    let mut bench = Bench::assigned();
    bench.step(0, 1);
    bench.step(0, 2);
    let digest = bench.digest();
    bench.step(0, 3);
    let keys = KeyPair::derive(Suite::X25519, &[5; 32]);
    let to = SealTo { suite: Suite::X25519, public_key: keys.public().to_bytes() };
    let [Report::Sealed(length)] = reports(&bench.command(0, 2, &Command::Seal(to)))[..] else {
        panic!("not sealed")
    };
    let part = bench.command(0, 2, &Command::Part(0));
    assert_eq!((part[0].header.kind, part[0].payload.len() as u64), (Kind::Weights, length));
    assert_eq!(failure(&bench.command(0, 2, &Command::Part(1))), FailureReason::Protocol);
    let layer = LayerKey::from_bytes([1; 32]).shard_name();
    let binding = Binding { layer, step: 2, term: TERM };
    let state = shard::open(&keys, &binding, &part[0].payload).unwrap();

    let mut other = Bench::assigned();
    other.command(1, 0, &Command::Halt);
    assert!(other.command(1, 2, &Command::Restore(state.len() as u64)).is_empty());
    let out = other.give(Lane::Command, header(Kind::Weights, 1, 2, 0), state.to_vec());
    assert_eq!(reports(&out), [Report::Took(0), Report::Restored]);
    other.command(1, 2, &Command::Rollback);
    assert_eq!(other.digest(), digest);
    other.step(1, 3);
    assert_eq!(other.digest(), bench.digest());
}

#[test]
fn a_designer_that_takes_over_finds_the_states() {
    let mut bench = Bench::assigned();
    bench.step(0, 1);
    bench.0.begin_term(TERM + 1);
    assert!(!bench.0.is_addressed());
    let payload = control::to_bytes(&Command::Halt).unwrap();
    let old = Message { header: header(Kind::Command, 9, 0, 0), payload: payload.clone() };
    bench.0.message(Lane::Command, &old);
    assert!(bench.0.take_outbox().is_empty(), "of the designer before");
    let header = MessageHeader { term: TERM + 1, ..header(Kind::Command, 0, 0, 0) };
    let out = bench.give(Lane::Command, header, payload);
    assert_eq!(reports(&out), [Report::Halted(vec![0, 1])]);
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
fn a_layer_that_was_trained_is_served_and_is_never_another_layer() {
    let mut bench = Bench::assigned();
    bench.step(0, 1);
    let served = Assignment { imported: true, snapshot_every: 0, ..assignment() };
    let sent = bench.command(0, 0, &Command::Assign(served));
    assert_eq!(reports(&sent), [Report::Ready]);
    let sent = bench.command(1, 0, &Command::Halt);
    assert_eq!(reports(&sent), [Report::Halted(vec![])], "it holds what its owner brings in");
    let other = Assignment { output: vec![2], ..assignment() };
    let sent = bench.command(1, 0, &Command::Assign(other));
    assert_eq!(failure(&sent), FailureReason::Assignment);
}

/// Nobody waits for what a layer has to do for the next step.
#[test]
fn each_output_of_the_next_step_leaves_before_the_next_one_is_computed() {
    let mut bench = Bench::assigned();
    bench.activation(0, 1, 0);
    bench.activation(0, 1, 1);
    bench.gradient(0, 1, 0);
    bench.activation(0, 2, 0);
    bench.activation(0, 2, 1);
    let payload = tensor(&[1.0, -1.0, 0.5, 0.1, 0.2, -0.3], 3);
    let last = Message { header: header(Kind::Gradient, 0, 1, 1), payload };
    bench.0.message(Lane::BackwardIn, &last);
    assert_eq!(reports(&bench.0.take_outbox()), [Report::Applied]);
    for micro_batch in 0..2 {
        assert!(bench.0.go_on());
        let out = bench.0.take_outbox();
        let headers: Vec<MessageHeader> = out.iter().map(|s| s.header).collect();
        assert_eq!(headers, [header(Kind::Activation, 0, 2, micro_batch)]);
    }
    assert!(!bench.0.go_on() && bench.0.take_outbox().is_empty());
}

/// In the place of the report that the step was applied, so that there is no message more.
#[test]
fn a_timed_layer_says_what_it_did_with_the_step() {
    let mut bench = Bench::blank();
    let timed = Assignment { timed: true, ..assignment() };
    bench.command(0, 0, &Command::Assign(timed));
    assert!(bench.0.is_timed());
    for step in 1..=2 {
        let began = Instant::now();
        let passage = Passage { began, ended: began, sealing: Duration::from_micros(7) };
        bench.0.passed(Lane::ForwardIn, header(Kind::Activation, 0, step, 0), passage);
        // Of another attempt, and of no step.
        bench.0.passed(Lane::ForwardIn, header(Kind::Activation, 1, step, 0), passage);
        bench.0.passed(Lane::ForwardIn, header(Kind::Evaluation, 0, step, 0), passage);
        let sent = bench.step(0, step);
        let [Report::Timed(times)] = &reports(&sent)[..] else { panic!("{sent:?}") };
        let did: Vec<(Doing, u32)> = times.spans.iter().map(|s| (s.doing, s.micro_batch)).collect();
        let all = [
            (Doing::ForwardCame, 0),
            (Doing::Forward, 0),
            (Doing::Forward, 1),
            (Doing::Backward, 0),
            (Doing::Backward, 1),
            (Doing::Apply, 0),
        ];
        assert_eq!(did, all);
        assert!(times.spans.iter().all(|span| span.ahead == 0 && span.before >= span.took));
        assert_eq!((times.left_out, times.sums.opening), (0, 7));
    }
}

/// However many micro-batches there are, the report stays short; the sums stay whole.
/// What goes on the wire: lane, kind, step, micro-batch, and how many cells.
fn cells(sent: &[Send]) -> Vec<(Lane, Kind, u64, u32, usize)> {
    let one = |s: &Send| {
        let cells = s.payload.len().div_ceil(FRAME_DATA).max(1);
        (s.lane, s.header.kind, s.header.step, s.header.micro_batch, cells)
    };
    sent.iter().map(one).collect()
}

#[test]
fn a_timed_layer_sends_the_same_cells_in_the_same_order() {
    let sent = |timed: bool| {
        let mut bench = Bench::blank();
        let mut all = bench.command(0, 0, &Command::Assign(Assignment { timed, ..assignment() }));
        for step in 1..=3 {
            all.extend(bench.activation(0, step, 0));
            all.extend(bench.activation(0, step, 1));
            // The next step's inputs come before this one is applied.
            all.extend(bench.gradient(0, step, 0));
            all.extend(bench.gradient(0, step, 1));
        }
        all.extend(bench.command(1, 0, &Command::Halt));
        all.extend(bench.command(1, 2, &Command::Rollback));
        cells(&all)
    };
    let plain = sent(false);
    assert_eq!(plain.len(), 1 + 3 * 5 + 3 + 1, "{plain:?}");
    assert_eq!(plain, sent(true));
}

#[test]
fn what_a_layer_writes_goes_to_its_owner_once_it_listens() {
    let (mut bench, start) = (Bench::blank(), Instant::now());
    bench.0.note(Level::Info, "before anybody listens");
    bench.0.tell(start);
    assert!(bench.0.take_outbox().is_empty(), "no command has come yet");
    bench.command(0, 0, &Command::Assign(assignment()));
    bench.0.tell(start + Duration::from_secs(1));
    let sent = bench.0.take_outbox();
    let told = reports(&sent);
    let [Report::Log(journal)] = told.as_slice() else { panic!("{told:?}") };
    let lines: Vec<&str> = journal.lines.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(lines[0], "before anybody listens");
    assert!(lines[1].starts_with("built: linear, relu; samples of [4] in, [3] out"), "{lines:?}");
    bench.command(0, 0, &Command::Rollback);
    bench.0.tell(start + Duration::from_millis(1500));
    assert!(bench.0.take_outbox().is_empty(), "not twice within a second");
}

#[test]
fn a_timed_layer_notes_no_more_than_it_may_tell() {
    let mut bench = Bench::blank();
    bench.command(0, 0, &Command::Assign(Assignment { timed: true, ..assignment() }));
    let began = Instant::now();
    let passage = Passage { began, ended: began, sealing: Duration::from_micros(1) };
    for _ in 0..1000 {
        bench.0.passed(Lane::ForwardOut, header(Kind::Activation, 0, 1, 0), passage);
    }
    let sent = bench.step(0, 1);
    let [Report::Timed(times)] = &reports(&sent)[..] else { panic!("{sent:?}") };
    assert_eq!((times.spans.len(), times.sums.sealing), (MAX_SPANS, 1000));
    assert_eq!(times.left_out as usize, 1000 + 5 - MAX_SPANS);
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
            "snapshotEvery",
            "vocabulary"
        ],
        "a new field here is told to every host: think before you add it"
    );
}
