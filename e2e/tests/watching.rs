//! What is kept of a run while it goes on, and what is made of it.

#![allow(clippy::unwrap_used)]

mod common;

use common::served::script;
use common::{ADAM, MLP, Running, Spec, bin_dir, long, run, runner_pid, signal, stderr};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Of 300 steps.
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
fn the_record_and_the_curves_go_on_with_the_designer_s_successor() {
    let more = ["--compare", "--checkpoint-every", "20", "--tensorboard", "boards"];
    let running = Running::start_with(&spec(), &more);
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
    assert_compared(folder.path());
    let boards = folder.path().join("boards/secret-name-1");
    let read = ["model", "reference"].map(|name| {
        script("watching-clients.sh", "curves.py", &[boards.join(name).to_str().unwrap(), "300"])
    });
    assert_eq!(read[0], read[1], "TensorBoard reads the same of both");
}

/// What layers write goes to their owner, and not into what their hosts collect.
fn assert_said(folder: &Path, kept: &[Value]) {
    for layer in ["hidden", "middle", "last"] {
        let built = |said: &&Value| {
            said["layer"] == layer && said["text"].as_str().unwrap().starts_with("built: ")
        };
        assert!(of(kept, "said").any(|said| built(&said)), "nothing of {layer}");
    }
    let logs = std::fs::read_dir(folder.join("run/secret-name-1/logs")).unwrap();
    for log in logs.flatten().filter(|log| log.file_name().to_string_lossy().starts_with("layer")) {
        let text = std::fs::read_to_string(log.path()).unwrap();
        assert!(!text.contains("built") && !text.contains("linear"), "{text}");
    }
    let shown = run(folder, &["logs", "run/secret-name-1", "--layer", "middle"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("INFO  built: "), "{text}");
    let unknown = run(folder, &["logs", "run/secret-name-1", "--layer", "none"]);
    assert!(stderr(&unknown).contains("it has hidden, last, middle"), "{}", stderr(&unknown));
}

fn assert_compared(folder: &Path) {
    let args = ["compare", "run/secret-name-1", "-o", "json", "--svg", "c.svg", "--html", "c.html"];
    let output = run(folder, &args);
    let compared: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    assert_eq!(compared["sameBits"], true, "{compared:#}");
    // The step in whose commit the designer was killed may be missing.
    assert!(compared["commonSteps"].as_u64() >= Some(299), "{compared:#}");
    assert_eq!(compared["firstDifferentStep"], Value::Null);
    for file in ["c.svg", "c.html"] {
        assert!(std::fs::read_to_string(folder.join(file)).unwrap().contains("<svg"));
    }
    let output = run(folder, &args[..2]);
    let text = String::from_utf8(output.stdout).unwrap();
    // Which heights a curve has depends on what the machine did meanwhile.
    let curve = text.chars().any(|c| ('▁'..='█').contains(&c));
    assert!(text.contains("bit for bit the same") && curve, "{text}");
}

/// Every process, every lane, and a trace that is one by its format.
#[test]
fn where_the_time_of_a_step_went_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = Spec { train: 1200, ..spec() }.write(folder.path());
    let path = file.to_str().unwrap();
    // A step that is made again, because the machine was busy, would be told twice.
    let args = ["run", "--timings", "--trace", "trace.json", "--stall", "300", "-f", path];
    let output = run(folder.path(), &args);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{text}{}", stderr(&output));
    for says in ["hidden – middle", "on the wire", "the longest way through a step", "waiting"] {
        assert!(text.contains(says), "no {says}: {text}");
    }
    let run_folder = folder.path().join("run/secret-name-1");
    let kept = lines(&run_folder.join("model.events.jsonl"));
    let times: Vec<&Value> = of(&kept, "times").collect();
    assert_eq!(times.len(), 60, "each step once");
    assert_said(folder.path(), &kept);
    // Clocks are not known from the first, and of the last step nobody tells what was sealed after it.
    for times in &times[2..59] {
        assert_times(times);
    }
    assert!(
        std::fs::read_to_string(run_folder.join("timings.svg"))
            .unwrap()
            .contains("backward of micro-batch 3")
    );
    let trace = std::fs::read(folder.path().join("trace.json")).unwrap();
    assert_trace(&serde_json::from_slice(&trace).unwrap());
}

/// All that four micro-batches do in four processes, in an order that can be.
fn assert_times(times: &Value) {
    let rows = times["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    let errors: Vec<f64> = rows.iter().map(|row| row["error"].as_f64().unwrap()).collect();
    assert_eq!(rows[0]["error"], 0.0, "times are the designer's");
    let forward = ["forwardCame", "forward", "forwardSealed"];
    let backward = ["backwardCame", "backward", "backwardSealed"];
    let mut along = vec![(0, "forwardSealed")];
    along.extend([1, 2, 3].iter().flat_map(|&row| forward.map(|doing| (row, doing))));
    along.extend([(0, "forwardCame"), (0, "loss"), (0, "backwardSealed")]);
    along.extend([3, 2].iter().flat_map(|&row| backward.map(|doing| (row, doing))));
    along.extend([(1, "backwardCame"), (1, "backward")]);
    for micro_batch in 0..4 {
        let at = |(row, doing): (usize, &str)| {
            let spans = rows[row]["spans"].as_array().unwrap();
            let span = spans.iter().find(|s| s[0] == doing && s[1] == micro_batch);
            span.unwrap_or_else(|| panic!("no {doing} {micro_batch} of row {row} in {times}"))[2]
                .as_f64()
                .unwrap()
        };
        for pair in along.windows(2) {
            let slack = errors[pair[0].0] + errors[pair[1].0] + 0.01;
            assert!(at(pair[0]) <= at(pair[1]) + slack, "{pair:?} in {times}");
        }
    }
    assert!(rows[1]["sums"]["backward"].as_f64().unwrap() > 0.0);
}

/// By the format's own rules: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.
fn assert_trace(trace: &Value) {
    let events = trace["traceEvents"].as_array().unwrap();
    let mut flows = std::collections::BTreeMap::new();
    for event in events {
        assert!(event["name"].is_string() && event["pid"].is_u64() && event["tid"].is_u64());
        match event["ph"].as_str().unwrap() {
            "M" => assert!(event["args"]["name"].is_string(), "{event}"),
            "X" => assert!(event["ts"].as_f64() >= Some(0.0) && event["dur"].as_f64() >= Some(0.0)),
            end @ ("s" | "f") => {
                let ends: &mut Vec<String> = flows.entry(event["id"].to_string()).or_default();
                ends.push(end.to_owned());
                assert!(event["ts"].is_number() && event["cat"] == "wire", "{event}");
            }
            other => panic!("{other}"),
        }
    }
    assert!(flows.len() > 58 * 4 * 7, "{} messages", flows.len());
    assert!(flows.values().all(|ends| *ends == ["s", "f"]), "every message has two ends");
    let named = events.iter().filter(|e| e["name"] == "process_name");
    let names: Vec<&Value> = named.map(|e| &e["args"]["name"]).collect();
    assert_eq!(names, ["designer", "hidden", "middle", "last"]);
}

#[test]
fn a_browser_shows_the_run_while_it_is_made() {
    let spec = Spec { layers: MLP, suite: "X25519", hops: 2, ..long() };
    let more = ["--page", "127.0.0.1:0", "--checkpoint-every", "20", "--timings"];
    let running = Running::start_with(&spec, &more);
    signal(running.pid_of("layer-2"), Signal::KILL);
    let said = running.said();
    let url = said.split_whitespace().find(|word| word.contains("#token=")).unwrap();
    let shots = std::env::var("MIXNN_SCREENSHOTS").ok();
    let args: Vec<&str> = std::iter::once(url).chain(shots.as_deref()).collect();
    if let Some(said) = script("watching-clients.sh", "page.py", &args) {
        assert!(said.contains("page: ok"), "{said}");
    }
    signal(runner_pid(&running), Signal::INT);
    running.ended(&[]);
}

/// What the operator will use.
#[test]
fn the_designer_shows_its_own_record() {
    let folder = tempfile::tempdir().unwrap();
    let file = long().write(folder.path());
    let tokens = folder.path().join("tokens");
    let token = "0123456789abcdef0123456789abcdef";
    std::fs::write(&tokens, format!("owner {token}\n")).unwrap();
    // Free just now; the designer is about to take it.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut designer = Command::new(bin_dir().join("mixnn-designer"))
        .args(["reference", "--owner-secret", "secret", "--record", "record"])
        .args(["--page", &address.to_string(), "--page-tokens", "tokens", "-f"])
        .arg(file)
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ask = |token: &str| -> Option<String> {
        let mut stream = TcpStream::connect(address).ok()?;
        let head = format!(
            "GET /record HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    let start = Instant::now();
    let shows = || ask(token).is_some_and(|answer| answer.contains(r#""event":"step""#));
    while !shows() {
        assert!(start.elapsed() < Duration::from_secs(60), "no step is shown");
        std::thread::sleep(Duration::from_millis(100));
    }
    let refused = ask("0123456789abcdef0123456789abcdee").unwrap();
    designer.kill().unwrap();
    designer.wait().unwrap();
    assert!(refused.starts_with("HTTP/1.1 401") && !refused.contains("step"), "{refused}");
}
