//! A served model gives the bits of one process, whatever happens to its layers.

#![allow(clippy::unwrap_used)]

mod common;

use common::served::{Served, ask, head, infer, read, request, small, weights};
use common::{run, signal, stderr};
use rustix::process::Signal;
use serde_json::Value;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Asks in a row until told to stop. Every answer must be the right one, or say when to come again.
/// Gives how many were right.
fn ask_on(address: SocketAddr, right: &[(Value, Value)], stop: &AtomicBool) -> usize {
    let mut answered = 0;
    for (body, outputs) in right.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Some(answer) = infer(address, body) else { panic!("a request was not answered") };
        match answer.status {
            200 => {
                assert_eq!(answer.outputs(), *outputs, "a wrong answer");
                answered += 1;
            }
            503 => assert!(answer.head.contains("retry-after: "), "{answer:?}"),
            _ => panic!("{answer:?}"),
        }
    }
    answered
}

/// Answers of one process to requests that differ in size and content.
fn right_answers(one: &Served) -> Vec<(Value, Value)> {
    let body = |i: usize| request([1, 3, 32][i % 3], i);
    (0..9).map(body).map(|b| (b.clone(), infer(one.address, &b).unwrap().outputs())).collect()
}

#[test]
fn answers_have_the_bits_of_one_process_whatever_dies() {
    let folder = tempfile::tempdir().unwrap();
    small().write(folder.path());
    let versions = folder.path().join("versions");
    std::fs::create_dir(&versions).unwrap();
    std::fs::copy(weights(folder.path(), "a"), versions.join("1.safetensors")).unwrap();
    let more = ["--weights", "versions", "--no-merge", "--stall", "5"];
    let one = Served::start(folder.path(), "one", &[&more[..3], &["--one-process"]].concat());
    let ring = Served::start(folder.path(), "ring", &more[..]);
    let first = right_answers(&one);
    assert!(first.iter().all(|(_, outputs)| outputs.as_array().is_some_and(|o| !o.is_empty())));
    for (body, outputs) in &first {
        assert_eq!(infer(ring.address, body).unwrap().outputs(), *outputs);
    }

    let (stop, killed) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let ask = || ask_on(ring.address, &first, &stop);
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        for slot in ["layer-2", "relay-1"] {
            signal(ring.pid_of(slot), Signal::KILL);
            let times = killed.fetch_add(1, Ordering::Relaxed) + 1;
            let repaired = || ring.said().matches("answers go on after").count() >= times;
            ring.wait_for("repair", repaired);
            std::thread::sleep(Duration::from_millis(200));
        }
        stop.store(true, Ordering::Relaxed);
        let answered: Vec<usize> = clients.into_iter().map(|c| c.join().unwrap()).collect();
        assert!(answered.iter().all(|n| *n > 0), "{answered:?}");
    });

    // A newer version is taken into use by both.
    std::fs::copy(weights(folder.path(), "b"), folder.path().join("new")).unwrap();
    std::fs::rename(folder.path().join("new"), versions.join("2.safetensors")).unwrap();
    let newer = |s: &Served| s.said().contains("version 2");
    ring.wait_for("version 2", || newer(&ring) && newer(&one));
    let second = right_answers(&one);
    assert!(first.iter().zip(&second).all(|(a, b)| a.1 != b.1));
    for (body, outputs) in &second {
        let answer = infer(ring.address, body).unwrap();
        assert_eq!((&answer.json()["model_version"], &answer.outputs()), (&"2".into(), outputs));
    }
    let old = "/v2/models/secret-name/versions/1/infer";
    let refused = ask(ring.address, "POST", old, first[0].0.to_string().as_bytes()).unwrap();
    assert_eq!(refused.status, 404, "{refused:?}");

    drains(ring, &second[0]);
}

/// A request that has begun when the server is interrupted is answered; then all ends in order.
fn drains(ring: Served, (body, outputs): &(Value, Value)) {
    let body = body.to_string();
    let mut stream = TcpStream::connect(ring.address).unwrap();
    let path = "/v2/models/secret-name/infer";
    stream.write_all(head("POST", path, body.len()).as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..100]).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    ring.interrupt();
    ring.wait_for("drain", || TcpStream::connect(ring.address).is_err());
    stream.write_all(&body.as_bytes()[100..]).unwrap();
    assert_eq!(read(&mut stream).unwrap().outputs(), *outputs);
    let (code, said) = ring.ended();
    assert_eq!(code, Some(0), "{said}");
}

/// The same sample out of an IDX file: normalised as training does it.
fn a_picture_gets_the_same_answer(folder: &Path, url: &str, row: &Value) {
    let made = run(folder, &["data", "digits", "--out", "digits", "--train", "1", "--test", "3"]);
    assert!(made.status.success(), "{}", stderr(&made));
    let ask = ["predict", "-f", "model.yaml", "--url", url, "--ca", "cert.pem", "--token-file"];
    let which = ["token", "--idx", "digits/t10k-images-idx3-ubyte", "--index", "2", "-o", "json"];
    let answered = run(folder, &[&ask[..], &which[..]].concat());
    assert!(answered.status.success(), "{}", stderr(&answered));
    let answer: Value = serde_json::from_slice(&answered.stdout).unwrap();
    assert_eq!((&answer["answer"], &answer["version"]), (&row["answer"], &row["version"]));
    for class in answer["classes"].as_array().unwrap() {
        let number: usize = class["class"].as_str().unwrap().parse().unwrap();
        assert_eq!(class["output"], row["outputs"][number]);
    }
    let text = run(folder, &[&ask[..], &which[..5]].concat());
    assert!(String::from_utf8_lossy(&text.stdout).contains('█'), "{}", stderr(&text));
    let over = run(folder, &[&ask[..], &which[..4], &["3"]].concat());
    assert!(stderr(&over).contains("holds 3 pictures"), "{}", stderr(&over));
}

/// Checkpoints of a run are versions; tokens and TLS stand before them.
#[test]
fn a_run_is_served_to_those_who_have_a_token() {
    let folder = tempfile::tempdir().unwrap();
    small().write(folder.path());
    let trained = run(folder.path(), &["run", "-f", "model.yaml", "--run-dir", "trained"]);
    assert!(trained.status.success(), "{}", stderr(&trained));
    let token = "0123456789abcdef0123456789abcdef";
    std::fs::write(folder.path().join("tokens"), format!("ann {token}\n")).unwrap();
    std::fs::write(folder.path().join("token"), token).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let cert = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.path().join("cert.pem"), cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    let more = ["--from", "trained", "--tokens", "tokens", "--tls-cert", "cert.pem"];
    let more = [&more[..], &["--tls-key", "key.pem", "--one-process"]].concat();
    let served = Served::start(folder.path(), "served", &more);
    let url = format!("https://{}", served.address);
    let ask = ["predict", "-f", "model.yaml", "-n", "3", "--split", "test", "--url", &url];
    let ask = [&ask[..], &["--ca", "cert.pem", "-o", "json"]].concat();
    let refused = run(folder.path(), &ask);
    assert!(!refused.status.success() && stderr(&refused).contains("401"), "{}", stderr(&refused));
    let answered = run(folder.path(), &[&ask[..], &["--token-file", "token"]].concat());
    assert!(answered.status.success(), "{}", stderr(&answered));
    let rows: Value = serde_json::from_slice(&answered.stdout).unwrap();
    let row = &rows[2];
    assert_eq!(row["outputs"].as_array().unwrap().len(), 10);
    assert_eq!((&row["sample"], &row["version"]), (&2.into(), &"1".into()));
    a_picture_gets_the_same_answer(folder.path(), &url, row);

    // Another model's checkpoints are refused.
    let other = std::fs::read_to_string(folder.path().join("model.yaml")).unwrap();
    std::fs::write(folder.path().join("model.yaml"), other.replace("tanh", "relu")).unwrap();
    let refused = run(folder.path(), &["serve", "-f", "model.yaml", "--from", "trained"]);
    assert!(stderr(&refused).contains("is of another model"), "{}", stderr(&refused));
    served.interrupt();
    assert_eq!(served.ended().0, Some(0));
}
