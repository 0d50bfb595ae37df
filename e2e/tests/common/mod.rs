//! Runs the real binaries.

#![allow(clippy::unwrap_used, dead_code)]

pub mod link;
pub mod s3;
pub mod served;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// For what must come some time: a machine that does much else is slow, and not wrong.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The folder of the binaries: that of this test, two levels up.
pub fn bin_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap().parent().unwrap().to_owned();
    for name in ["mixnn", "mixnn-designer", "mixnn-layer", "mixnn-relay"] {
        let there = folder.join(name).is_file();
        assert!(
            there,
            "{name} is not built: run `cargo build --workspace` first, as `make test` does"
        );
    }
    folder
}

/// What a test's model is made of.
pub struct Spec {
    pub layers: &'static str,
    pub optimizer: &'static str,
    pub loss: &'static str,
    /// More fields of the training: `, "clipNorm": 1.0`.
    pub more: &'static str,
    pub micro_batches: u32,
    pub relays: u32,
    pub hops: u32,
    pub suite: &'static str,
    /// More fields of `relays`, each after a comma.
    pub cover: &'static str,
    pub train: u32,
    pub batch: u32,
    /// In place of generated digits, of which there would be `train`.
    pub dataset: &'static str,
}

pub const LENET5: &str = r#"[
    {"name": "conv1", "ops": [{"conv2d": {"in": 1, "out": 6, "kernel": 5, "padding": 2}}, {"relu": {}}, {"maxPool2d": {"kernel": 2}}]},
    {"name": "conv2", "ops": [{"conv2d": {"in": 6, "out": 16, "kernel": 5}}, {"relu": {}}, {"maxPool2d": {"kernel": 2}}]},
    {"name": "fc1", "ops": [{"flatten": {}}, {"linear": {"in": 400, "out": 120}}, {"relu": {}}]},
    {"name": "fc2", "ops": [{"linear": {"in": 120, "out": 84}}, {"relu": {}}]},
    {"name": "fc3", "ops": [{"linear": {"in": 84, "out": 10}}]}]"#;
pub const MLP: &str = r#"[
    {"name": "hidden", "ops": [{"flatten": {}}, {"linear": {"in": 784, "out": 64}}, {"relu": {}}, {"dropout": {"p": 0.3}}]},
    {"name": "middle", "ops": [{"linear": {"in": 64, "out": 32}}, {"tanh": {}}, {"dropout": {"p": 0.2}}]},
    {"name": "last", "ops": [{"linear": {"in": 32, "out": 10}}]}]"#;
pub const SGD: &str = r#"{"sgd": {"lr": 0.03, "momentum": 0.9, "weightDecay": 0.0005}}"#;
pub const ADAM: &str = r#"{"adam": {"lr": 0.002}}"#;

impl Default for Spec {
    fn default() -> Self {
        Self {
            layers: LENET5,
            optimizer: SGD,
            loss: "{}",
            more: "",
            micro_batches: 4,
            relays: 3,
            hops: 3,
            suite: "XWing",
            cover: "",
            train: 650,
            batch: 20,
            dataset: "",
        }
    }
}

impl Spec {
    /// Writes the model's file (JSON is YAML).
    pub fn write(&self, folder: &Path) -> PathBuf {
        let dataset = match self.dataset {
            "" => format!(r#"{{"digits": {{"train": {}, "test": 100}}}}"#, self.train),
            other => other.to_owned(),
        };
        let text = format!(
            r#"{{"apiVersion": "mixnn.dev/v1alpha1", "kind": "MixNNModel", "metadata": {{"name": "secret-name"}},
            "spec": {{"layers": {}, "training": {{"dataset": {dataset},
            "batchSize": {}, "microBatches": {}, "epochs": 1, "optimizer": {}, "loss": {}{}}},
            "relays": {{"replicas": {}, "hops": {}, "suite": "{}"{}}}}}}}"#,
            self.layers,
            self.batch,
            self.micro_batches,
            self.optimizer,
            self.loss,
            self.more,
            self.relays,
            self.hops,
            self.suite,
            self.cover
        );
        let path = folder.join("model.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// The number of a run's newest checkpoint that is known outside the store.
pub fn newest_checkpoint(folder: &Path) -> Option<u64> {
    let head = std::fs::read(folder.join("run/secret-name-1/head.json")).ok()?;
    serde_json::from_slice::<Value>(&head).ok()?["checkpoint"].as_u64()
}

/// `mixnn` with these arguments, in a folder.
pub fn mixnn(folder: &Path) -> Command {
    let mut command = Command::new(bin_dir().join("mixnn"));
    command.current_dir(folder).env_remove("MIXNN_BIN_DIR").stdin(Stdio::null());
    command
}

pub fn run(folder: &Path, args: &[&str]) -> Output {
    mixnn(folder).args(args).output().unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The result of `mixnn run --compare -o json`.
pub fn compare(spec: &Spec) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = spec.write(folder.path());
    let output =
        run(folder.path(), &["run", "--compare", "-o", "json", "-f", file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no result: {text}\n{}", stderr(&output)))
}

/// At least 30 steps over processes and relays, with the bits and the test results of one process.
pub fn assert_same_bits(spec: &Spec) {
    let result = compare(spec);
    let (distributed, reference) = (&result["distributed"], &result["reference"]);
    assert!(distributed["steps"].as_u64().unwrap() >= 30, "{result:#}");
    assert_eq!(distributed["digest"], reference["digest"], "{result:#}");
    assert_eq!(distributed["tested"], reference["tested"], "{result:#}");
    assert_eq!(result["sameBits"], true);
}

/// What a run starts.
pub const PROGRAMS: [&str; 3] = ["mixnn-designer", "mixnn-layer", "mixnn-relay"];

/// Programs of one name replaced by a script that may call the real one.
pub fn with_wrapper(name: &str, script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for program in PROGRAMS.iter().filter(|program| **program != name) {
        std::os::unix::fs::symlink(bin_dir().join(program), folder.path().join(program)).unwrap();
    }
    wrap(folder.path(), name, script);
    folder
}

/// Puts a script in a program's place.
pub fn wrap(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    let real = bin_dir().join(name).display().to_string();
    std::fs::write(&path, format!("#!/bin/sh\n{}\n", script.replace("REAL", &real))).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// A run on its way, with its children.
pub struct Running {
    pub runner: Child,
    pub folder: tempfile::TempDir,
}

impl Running {
    /// Starts a run that takes long, and waits until steps are being made.
    pub fn start(spec: &Spec) -> Self {
        Self::start_with(spec, &[])
    }

    /// The same with more arguments.
    pub fn start_with(spec: &Spec, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = spec.write(folder.path());
        let mut command = mixnn(folder.path());
        command.args(["run", "-f", file.to_str().unwrap()]).args(more);
        Self::spawn(command, folder)
    }

    /// Starts a command in its folder, and waits until steps are being made.
    pub fn spawn(mut command: Command, folder: tempfile::TempDir) -> Self {
        let log = std::fs::File::create(folder.path().join("stderr")).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        let running = Self { runner: command.spawn().unwrap(), folder };
        running.wait_for("step", || running.said().contains(": step "));
        running
    }

    /// What it has written to standard error.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// Children by the name of their program.
    pub fn children(&self, program: &str) -> Vec<Pid> {
        children_of(self.runner.id())
            .into_iter()
            .filter(|pid| {
                let exe = std::fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero()));
                exe.is_ok_and(|exe| exe.ends_with(program))
            })
            .collect()
    }

    /// The process in a slot of the run: `layer-2`, `relay-1`, `designer`.
    pub fn pid_of(&self, slot: &str) -> Pid {
        self.try_pid_of(slot).unwrap()
    }

    /// The same, if there is one just now.
    pub fn try_pid_of(&self, slot: &str) -> Option<Pid> {
        let run = self.folder.path().join("run/secret-name-1/processes.json");
        let pids: Value = serde_json::from_slice(&std::fs::read(run).ok()?).ok()?;
        Pid::from_raw(pids[slot].as_i64()? as i32)
    }

    /// Whether the runner has ended.
    pub fn has_ended(&self) -> bool {
        !is_alive(runner_pid(self))
    }

    pub fn all_children(&self) -> Vec<Pid> {
        children_of(self.runner.id())
    }

    pub fn wait_for(&self, what: &str, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < PATIENCE, "no {what}: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The exit code and what was said, once it has ended, and the folder that it leaves.
    pub fn ended_with_folder(mut self) -> (Option<i32>, String, tempfile::TempDir) {
        let code = self.runner.wait().unwrap().code();
        let said = self.said();
        (code, said, self.folder)
    }

    /// The exit code, once it has ended; all children must be gone then.
    pub fn ended(mut self, children: &[Pid]) -> (Option<i32>, String) {
        let code = self.runner.wait().unwrap().code();
        let start = Instant::now();
        while children.iter().any(|pid| is_alive(*pid)) {
            assert!(start.elapsed() < PATIENCE, "a process is left behind");
            std::thread::sleep(Duration::from_millis(20));
        }
        (code, self.said())
    }
}

/// A model that would train for minutes.
pub fn long() -> Spec {
    Spec { train: 200_000, ..Spec::default() }
}

pub fn signal(pid: Pid, signal: Signal) {
    kill_process(pid, signal).unwrap();
}

pub fn runner_pid(running: &Running) -> Pid {
    Pid::from_raw(running.runner.id() as i32).unwrap()
}

fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|s| !s.contains(") Z "))
}

fn children_of(parent: u32) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let child = |entry: std::fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let of: u32 = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?;
        (of == parent).then(|| Pid::from_raw(pid)).flatten()
    };
    processes.filter_map(child).collect()
}
