//! A model that is served by the real binaries, and plain requests to it.

use super::{MLP, PATIENCE, Spec, mixnn, run, signal, stderr};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Numbers of a sample of the digits.
pub const SAMPLE: usize = 784;

/// A small model over three relays.
pub fn small() -> Spec {
    let spec = Spec { layers: MLP, optimizer: super::ADAM, suite: "X25519", ..Spec::default() };
    Spec { train: 100, hops: 2, ..spec }
}

/// Weights of the model in `folder`, trained for a few steps, as safetensors.
pub fn weights(folder: &Path, name: &str) -> PathBuf {
    let dir = folder.join(format!("trained-{name}"));
    let flags = ["reference", "-f", "model.yaml", "--run-dir", dir.to_str().unwrap()];
    let output = run(folder, &flags);
    assert!(output.status.success(), "{}", stderr(&output));
    dir.join("reference.safetensors")
}

/// `mixnn serve` on its way.
pub struct Served {
    pub runner: Child,
    pub address: SocketAddr,
    log: PathBuf,
    dir: PathBuf,
}

impl Served {
    /// Serves the model of `folder/model.yaml` on a free port, and waits until a version answers.
    pub fn start(folder: &Path, name: &str, more: &[&str]) -> Self {
        let (log, dir) = (folder.join(format!("{name}.log")), folder.join(name));
        let runner = mixnn(folder)
            .args(["serve", "-f", "model.yaml", "--address", "127.0.0.1:0", "--run-dir"])
            .arg(&dir)
            .args(more)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let address = ([127, 0, 0, 1], 0).into();
        let mut served = Self { runner, address, log, dir };
        served.wait_for("server", || served.said().contains("answers with version"));
        let said = served.said();
        let at = said.find("://").unwrap() + 3;
        served.address = said[at..].split('/').next().unwrap().parse().unwrap();
        served
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn wait_for(&self, what: &str, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < PATIENCE, "no {what}: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The process in a slot: `layer-2`, `relay-1`, `designer`.
    pub fn pid_of(&self, slot: &str) -> Pid {
        let pids = std::fs::read(self.dir.join("processes.json")).unwrap();
        let pids: Value = serde_json::from_slice(&pids).unwrap();
        Pid::from_raw(pids[slot].as_i64().unwrap() as i32).unwrap()
    }

    /// Interrupts it.
    pub fn interrupt(&self) {
        signal(Pid::from_raw(self.runner.id() as i32).unwrap(), Signal::INT);
    }

    /// Its exit code, and what it said.
    pub fn ended(mut self) -> (Option<i32>, String) {
        let code = self.runner.wait().unwrap().code();
        (code, self.said())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Its children end with it.
        let _ = self.runner.kill();
        let _ = self.runner.wait();
    }
}

/// An answer over HTTP/1.1.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The elements of the one output, as they were written.
    pub fn outputs(&self) -> Value {
        self.json()["outputs"][0]["data"].clone()
    }
}

/// Sends bytes, and reads until the server closes; `None` if there is no whole answer.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(bytes).ok()?;
    read(&mut stream)
}

/// Reads until the server closes.
pub fn read(stream: &mut TcpStream) -> Option<Answer> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).ok()?;
    let text = String::from_utf8_lossy(&all).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

/// The head of a request that says `length` of its body.
pub fn head(method: &str, path: &str, length: usize) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

pub fn ask(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Option<Answer> {
    raw(address, &[head(method, path, body.len()).as_bytes(), body].concat())
}

pub fn infer(address: SocketAddr, body: &Value) -> Option<Answer> {
    ask(address, "POST", "/v2/models/secret-name/infer", body.to_string().as_bytes())
}

/// A request of `n` samples that differ with `seed`.
pub fn request(n: usize, seed: usize) -> Value {
    let value = |i: usize| ((i * 31 + seed * 7919) % 251) as f32 / 125.0 - 1.0;
    let data: Vec<f32> = (0..n * SAMPLE).map(value).collect();
    json!({"inputs": [{"name": "input", "datatype": "FP32", "shape": [n, 1, 28, 28], "data": data}]})
}

/// Runs a script of `e2e/tests/clients` by one of `scripts/`; `None`, said aloud, where what it needs
/// cannot be had. Gives what it said.
pub fn script(by: &str, name: &str, args: &[&str]) -> Option<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // What they leave behind is nobody's.
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(here.join("../scripts").join(by))
        .arg(here.join("tests/clients").join(name))
        .args(args)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
    if output.status.code() == Some(3) {
        // Past the test harness, which keeps what passing tests say.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {name}: scripts/{by} says:\n{said}");
        return None;
    }
    assert!(output.status.success(), "{name}: {said}");
    Some(said)
}
