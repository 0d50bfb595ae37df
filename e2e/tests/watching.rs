//! What is kept of a run while it goes on, and what is made of it.

#![allow(clippy::unwrap_used)]

mod common;

use common::{ADAM, MLP, Running, Spec, run, signal, stderr};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;

fn spec() -> Spec {
    let spec = Spec { layers: MLP, optimizer: ADAM, suite: "X25519", ..Spec::default() };
    Spec { train: 6000, hops: 2, ..spec }
}

fn lines(record: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(record).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn of<'a>(lines: &'a [Value], event: &'a str) -> impl Iterator<Item = &'a Value> {
    lines.iter().filter(move |line| line["event"] == event)
}

#[test]
fn the_record_goes_on_with_the_designer_s_successor_and_is_compared() {
    let running = Running::start_with(&spec(), &["--compare", "--checkpoint-every", "20"]);
    signal(running.pid_of("designer"), Signal::KILL);
    let (code, said, folder) = running.ended_with_folder();
    assert_eq!(code, Some(0), "{said}");
    let kept = lines(&folder.path().join("run/secret-name-1/model.events.jsonl"));
    assert_eq!(of(&kept, "plan").count(), 2, "one of each designer");
    assert_eq!(of(&kept, "done").count(), 1);
    let ring = of(&kept, "ring").last().unwrap();
    assert_eq!(ring["layers"][0]["name"], "hidden");
    assert_eq!(ring["lanes"].as_array().unwrap().len(), 13);
    assert!(of(&kept, "step").all(|step| step["learningRate"] == 0.002 && step["at"].is_u64()));

    let files = ["--svg", "curves.svg", "--html", "curves.html"];
    let args = [&["compare", "run/secret-name-1", "-o", "json"][..], &files].concat();
    let output = run(folder.path(), &args);
    let compared: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    assert_eq!(compared["sameBits"], true, "{compared:#}");
    assert_eq!(compared["commonSteps"], 300, "{compared:#}");
    assert_eq!(compared["firstDifferentStep"], Value::Null);
    for file in ["curves.svg", "curves.html"] {
        assert!(std::fs::read_to_string(folder.path().join(file)).unwrap().contains("<svg"));
    }
    let output = run(folder.path(), &["compare", "run/secret-name-1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("bit for bit the same") && text.contains('█'), "{text}");
}
