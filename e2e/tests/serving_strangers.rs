//! What strangers send to a served model: refused in the protocol's form, with bounded memory, and nobody
//! else notices.

#![allow(clippy::unwrap_used)]

mod common;

use common::served::{Served, ask, head, infer, raw, read, request, small, weights};
use serde_json::{Value, json};
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};

const PATH: &str = "/v2/models/secret-name/infer";
/// MiB.
const BODY: usize = 4;
const CONNECTIONS: usize = 48;

/// The most memory that a process has had, in KiB.
fn peak(served: &Served) -> usize {
    let pid = served.pid_of("designer").as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A request with one field of its input changed is refused with what would be right.
fn wrong_inputs(address: SocketAddr) {
    let with = |field: &str, value: Value| {
        let mut body = request(1, 0);
        body["inputs"][0][field] = value;
        body
    };
    let mut unknown = request(1, 0);
    unknown["surprise"] = json!(1);
    let nested = "[".repeat(100_000);
    let cases = [
        (with("name", json!("x")).to_string(), "no such input"),
        (with("datatype", json!("FP64")).to_string(), "takes FP32"),
        (with("shape", json!([1, 784])).to_string(), "[-1, 1, 28, 28]"),
        (with("shape", json!([9_000_000_000_u64, 1, 28, 28])).to_string(), "most in one request"),
        (with("data", json!([1.0])).to_string(), ""),
        (with("data", json!([1e39])).to_string(), ""),
        (with("data", json!(vec!["NaN"; 784])).to_string(), ""),
        (with("surprise", json!(1)).to_string(), "surprise"),
        (unknown.to_string(), "surprise"),
        (format!(r#"{{"inputs": {nested}"#), ""),
        (String::new(), ""),
    ];
    for (body, said) in &cases {
        let answer = ask(address, "POST", PATH, body.as_bytes()).unwrap();
        assert_eq!(answer.status, 400, "{answer:?}");
        let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(!error.is_empty() && error.contains(said), "{answer:?}");
    }
    // NaN in binary, where JSON has none.
    let text = json!({"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 1, 28, 28],
        "parameters": {"binary_data_size": 784 * 4}}]});
    let text = text.to_string();
    let extra = format!("Inference-Header-Content-Length: {}\r\n\r\n", text.len());
    let start = head("POST", PATH, text.len() + 784 * 4).replacen("\r\n\r\n", "\r\n", 1) + &extra;
    let nan = f32::NAN.to_le_bytes().repeat(784);
    let answer = raw(address, &[start.as_bytes(), text.as_bytes(), &nan].concat()).unwrap();
    assert!(answer.status == 400 && answer.body.contains("not finite"), "{answer:?}");
}

fn wrong_lengths(address: SocketAddr) {
    // Two gigabytes, announced: refused before any comes.
    let answer = raw(address, head("POST", PATH, 2 << 30).as_bytes()).unwrap();
    assert_eq!(answer.status, 413, "{answer:?}");
    // Not announced: refused once it is too much.
    let chunked = "POST /v2/models/secret-name/infer HTTP/1.1\r\nHost: t\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(chunked.as_bytes()).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 0x10000], b"\r\n"].concat();
    // The server may close while this still sends.
    let sent = (0..4096).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent < 4096, "256 MiB were taken");
    // Less than announced, and then the end.
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head("POST", PATH, 1000).as_bytes()).unwrap();
    stream.write_all(b"{}").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read(&mut stream).is_none_or(|answer| answer.status == 400));
    // More than announced: what is over is no request.
    let body = request(1, 0).to_string();
    let more = [head("POST", PATH, body.len()).as_bytes(), body.as_bytes(), b"\0\0junk"].concat();
    assert_eq!(raw(address, &more).unwrap().status, 200);
    // A whole request from a half that is closed is answered.
    let mut stream = TcpStream::connect(address).unwrap();
    let whole = [head("POST", PATH, body.len()).as_bytes(), body.as_bytes()].concat();
    stream.write_all(&whole).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read(&mut stream).unwrap().status, 200);
}

/// Five times as many idle connections as there are places, some within a head, some within a body.
fn idle(address: SocketAddr) -> Vec<TcpStream> {
    let open = |i: usize| {
        let mut stream = TcpStream::connect(address).ok()?;
        let begun = head("POST", PATH, 1 << 20);
        let end = [0, 30, begun.len()][i % 3];
        stream.write_all(&begun.as_bytes()[..end]).ok()?;
        Some(stream)
    };
    (0..5 * CONNECTIONS).filter_map(open).collect()
}

#[test]
fn what_is_wrong_is_refused_and_others_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    small().write(folder.path());
    let file = weights(folder.path(), "a");
    let (body, connections) = (BODY.to_string(), CONNECTIONS.to_string());
    let more = ["--weights", file.to_str().unwrap(), "--no-merge", "--max-body", &body];
    let more = [&more[..], &["--max-connections", &connections, "--request-timeout", "5"]].concat();
    let ring = Served::start(folder.path(), "ring", &more);
    let good = request(2, 1);
    let outputs = infer(ring.address, &good).unwrap().outputs();
    let still = || assert_eq!(infer(ring.address, &good).unwrap().outputs(), outputs);
    let before = peak(&ring);
    wrong_inputs(ring.address);
    still();
    wrong_lengths(ring.address);
    still();
    let open = idle(ring.address);
    // Connections within a request are not ended for others; they end by their time.
    ring.wait_for("answer", || infer(ring.address, &good).is_some_and(|a| a.status == 200));
    still();
    drop(open);
    // Four bodies may be held at once, in a few forms each.
    let grown = peak(&ring) - before;
    assert!(grown < 16 * BODY * 1024, "{grown} KiB more");
    assert!(!ring.said().contains("answers go on"), "the ring was disturbed: {}", ring.said());
    ring.interrupt();
    assert_eq!(ring.ended().0, Some(0));
}
