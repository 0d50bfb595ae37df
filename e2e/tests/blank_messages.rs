//! What a layer pod is told after it has opened everything: its own layer, and nothing of another.
//!
//! Every layer of a real run is played by this test's own program, which does what `mixnn-layer`
//! does and writes down all that it was given: the answer to its registration, directories, the
//! opened letter, every message of its lanes.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use clap::Parser;
use common::{LENET5, Spec, mixnn, stderr, with_wrapper};
use mixnn_layer_pod::{Done, Lane, Machine};
use mixnn_nn::LayerKey;
use mixnn_node::{NodeArgs, RegistryClient};
use mixnn_protocol::letter::{self, LaneEnd, Opened, PodSetup};
use mixnn_protocol::registration::NodeClass;
use mixnn_protocol::{KeyPair, Kind, SystemRng, tensor};
use mixnn_transport::{Endpoint, EndpointConfig, Event, Limits};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

const FLAGS: &str = "RECORDED_LAYER_FLAGS";
const FOLDER: &str = "RECORDED_LAYER_FOLDER";

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

/// A layer pod that writes down what it is given. Run by the test below, as a process of its own.
#[test]
#[ignore = "a layer's process of the test below"]
fn plays_a_layer() {
    let flags = std::env::var(FLAGS).unwrap();
    let args = Args::parse_from(std::iter::once("layer").chain(flags.split(' ')));
    let started = mixnn_node::start(&args.node).unwrap();
    let profile = mixnn_nn::profile::pin().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let registry = RegistryClient::new(&args.node).unwrap();
    let keys = KeyPair::generate(args.node.suite.into(), &mut SystemRng);
    let url = started.url.clone();
    let limits = Limits::default();
    let config = EndpointConfig { listener: started.listener, metrics: None, limits };
    let (endpoint, events) = Endpoint::start(config).unwrap();
    let me = runtime.block_on(registry.register(NodeClass::Layer, &url, keys.public())).unwrap();
    let claim = me.claim.unwrap();
    let mut record = vec![
        json!({"own": {"url": url, "id": me.id, "idHex": hex::encode(me.id.as_bytes()),
            "key": hex::encode(keys.public().to_bytes())}}),
        json!({"registered": me}),
    ];
    let read_directory = |record: &mut Vec<Value>| {
        let directory = runtime.block_on(registry.directory()).unwrap();
        endpoint.set_directory(
            directory.nodes.iter().map(|node| (node.id, node.url.clone())).collect(),
        );
        record.push(json!({"directory": directory}));
    };
    let mut machine: Option<Machine> = None;
    let mut done = Done::Continue;
    while done != Done::Finish {
        match events.recv(Duration::from_millis(200)) {
            Some(Event::Letter(letter)) => {
                let Opened::Deliver { content, .. } = letter::open(&keys, &letter).unwrap() else {
                    panic!("a pod forwards nothing")
                };
                let setup = PodSetup::verify(&content, &claim, me.id, keys.public(), None).unwrap();
                read_directory(&mut record);
                let firsts: Vec<_> = setup.lanes.iter().filter_map(first).collect();
                record.push(json!({"letter": hex::encode(&*content), "firsts": firsts}));
                for end in &setup.lanes {
                    let lane = Lane::of(end).unwrap().id();
                    match end {
                        LaneEnd::Send(end) => endpoint.install_send(lane, end.clone(), 1 << 16),
                        LaneEnd::Receive(end) => endpoint.install_receive(lane, end.clone()),
                    }
                }
                let gives = setup.lanes.iter().any(|e| Lane::of(e) == Some(Lane::BackwardOut));
                let key = LayerKey::from_bytes(*setup.layer_key.expose());
                machine = Some(Machine::new(key, profile.clone(), setup.term, gives));
            }
            Some(Event::Message { lane, message, .. }) => {
                let what = match message.header.kind {
                    Kind::Probe => String::new(),
                    Kind::Command => String::from_utf8(message.payload.clone()).unwrap(),
                    _ => format!(
                        "{:?}",
                        tensor::TensorView::from_bytes(&message.payload).unwrap().shape
                    ),
                };
                let (kind, lane) =
                    (format!("{:?}", message.header.kind), Lane::from_id(lane).unwrap());
                record.push(json!({"lane": format!("{lane:?}"), "kind": kind, "what": what}));
                done = machine.as_mut().unwrap().message(lane, &message);
            }
            Some(Event::UnknownNode(_)) => read_directory(&mut record),
            Some(Event::Stopped(error)) => panic!("{error}"),
            Some(Event::LaneFault { .. } | Event::LinkDown(_) | Event::Sent { .. }) => {}
            None => {
                machine.as_mut().filter(|m| !m.is_addressed()).into_iter().for_each(Machine::hello);
            }
        }
        save(&me.id.to_string(), &record);
        loop {
            for send in machine.iter_mut().flat_map(Machine::take_outbox) {
                endpoint.send(send.lane.id(), send.header, send.payload);
            }
            if !machine.as_mut().is_some_and(Machine::go_on) {
                break;
            }
        }
    }
    endpoint.shutdown(Duration::from_secs(3));
}

/// Whole at any moment: the run may end this process before it ends by itself.
fn save(name: &str, record: &[Value]) {
    let folder = std::env::var(FOLDER).unwrap();
    let unfinished = Path::new(&folder).with_extension(name);
    std::fs::write(&unfinished, serde_json::to_vec(record).unwrap()).unwrap();
    std::fs::rename(unfinished, Path::new(&folder).join(name)).unwrap();
}

fn first(end: &LaneEnd) -> Option<String> {
    match end {
        LaneEnd::Send(end) => Some(end.first.to_string()),
        LaneEnd::Receive(_) => None,
    }
}

/// Runs a model whose layers are all played by [`plays_a_layer`]; gives their records.
fn records(spec: &Spec) -> Vec<Vec<Value>> {
    let out = tempfile::tempdir().unwrap();
    let script = format!(
        "{FLAGS}=\"$*\" {FOLDER}='{}' exec '{}' --ignored --exact plays_a_layer --nocapture",
        out.path().display(),
        std::env::current_exe().unwrap().display()
    );
    let bin = with_wrapper("mixnn-layer", &script);
    let folder = tempfile::tempdir().unwrap();
    let file = spec.write(folder.path());
    let mut run = mixnn(folder.path());
    run.env("MIXNN_BIN_DIR", bin.path()).args(["run", "-f", file.to_str().unwrap()]);
    let output = run.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let files = std::fs::read_dir(out.path()).unwrap().flatten();
    let read = |file: std::fs::DirEntry| {
        serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap()
    };
    files.map(read).collect()
}

fn texts(record: &[Value], field: &str) -> Vec<String> {
    record.iter().filter_map(|r| r.get(field)).map(Value::to_string).collect()
}

/// What a layer is assigned, from its record.
fn assignment(record: &[Value]) -> Value {
    let commands = record.iter().filter(|r| r["kind"] == "Command");
    let all: Vec<Value> =
        commands.map(|r| serde_json::from_str(r["what"].as_str().unwrap()).unwrap()).collect();
    let mut assigned = all.into_iter().filter_map(|c| c.get("assign").cloned());
    let one = assigned.next().unwrap();
    assert!(assigned.all(|again| again == one), "a repeated assignment says the same");
    one
}

#[test]
fn what_a_layer_opens_tells_of_its_own_layer_alone() {
    // Names that neither an operation has nor random digits spell by chance.
    let named: &str = LENET5.replace("\"name\": \"", "\"name\": \"hidden-name-").leak();
    let records = records(&Spec { layers: named, relays: 6, train: 80, ..Spec::default() });
    assert_eq!(records.len(), 5);
    let own = |record: &[Value], field: &str| record[0]["own"][field].as_str().unwrap().to_owned();
    let layers: Vec<Value> = serde_json::from_str(named).unwrap();
    let mut taken = HashSet::new();
    for record in &records {
        let given = Value::Array(record[1..].to_vec()).to_string();
        for name in ["secret-name", "hidden-name", "lenet", "digits"] {
            assert!(!given.contains(name), "{name} in {given}");
        }
        for other in records.iter().filter(|other| own(other, "id") != own(record, "id")) {
            for field in ["url", "id", "idHex", "key"] {
                let secret = own(other, field);
                assert!(!given.contains(&secret), "another layer's {field}, {secret}, in {given}");
            }
        }
        // Its directory has relays alone, without keys; its lanes begin at some of them.
        let directory = texts(record, "directory").pop().unwrap();
        let directory: Value = serde_json::from_str(&directory).unwrap();
        let nodes = directory["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 6);
        assert!(nodes.iter().all(|node| node.get("detail").is_none_or(Value::is_null)));
        let relays: Vec<&Value> = nodes.iter().map(|node| &node["id"]).collect();
        let letter = record.iter().find(|r| r.get("letter").is_some()).unwrap();
        assert!(letter["firsts"].as_array().unwrap().iter().all(|first| relays.contains(&first)));
        // It is assigned one layer's operations, and told no field beyond those that it needs.
        let assigned = assignment(record);
        let is_its = |layer: &&Value| covers(&assigned["ops"], &layer["ops"]);
        let layer = layers.iter().find(is_its).expect("the operations of one layer");
        assert!(taken.insert(layer["name"].to_string()), "each layer once");
        // Tensors have the batch's size, and its own input's or output's.
        let is_tensor =
            |r: &&Value| r.get("lane").is_some() && r["kind"] != "Command" && r["kind"] != "Probe";
        for message in record.iter().filter(is_tensor) {
            let shape: Vec<u32> = serde_json::from_str(message["what"].as_str().unwrap()).unwrap();
            let of = if message["kind"] == "Gradient" { "output" } else { "input" };
            let mine: Vec<u32> = serde_json::from_value(assigned[of].clone()).unwrap();
            assert_eq!(shape[1..], mine, "{message}");
        }
        let known = [
            "ops",
            "input",
            "vocabulary",
            "output",
            "microBatches",
            "learning",
            "device",
            "loss",
            "profile",
            "snapshotEvery",
        ];
        for field in assigned.as_object().unwrap().keys() {
            assert!(known.contains(&field.as_str()), "does a layer have to know {field}?");
        }
    }
    assert_eq!(taken.len(), 5);
}

/// Whether `assigned` says all that `written` says: defaults are filled in.
fn covers(assigned: &Value, written: &Value) -> bool {
    match (assigned, written) {
        (Value::Object(a), Value::Object(w)) => {
            w.iter().all(|(key, value)| a.get(key).is_some_and(|a| covers(a, value)))
        }
        (Value::Array(a), Value::Array(w)) => {
            a.len() == w.len() && a.iter().zip(w).all(|(a, w)| covers(a, w))
        }
        _ => assigned == written,
    }
}
