//! The same model on this machine, without Kubernetes.

use crate::kube::{field, run};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

/// What it comes to.
pub struct Truth {
    /// Keyed digest of the weights of one process.
    pub digest: String,
    /// Median over local processes.
    pub step_ms: f64,
    /// Median in one process.
    pub reference_ms: f64,
    /// `model.yaml`, and in `run` the weights of one process.
    folder: tempfile::TempDir,
}

impl Truth {
    /// A file of it.
    pub fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// `mixnn run --compare` with the owner's secret.
pub fn compare(manifest: &Value, secret: &str) -> Truth {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (file, key, runs) = (path("model.yaml"), path("secret"), path("run"));
    std::fs::write(&file, manifest.to_string()).unwrap();
    std::fs::write(&key, secret).unwrap();
    let args =
        ["run", "--compare", "-o", "json", "-f", &file, "--owner-secret", &key, "--run-dir", &runs];
    let result: Value = serde_json::from_str(&run(&mixnn(), &args, "")).unwrap();
    let (distributed, reference) = (&result["distributed"], &result["reference"]);
    assert_eq!(distributed["digest"], reference["digest"]);
    Truth {
        digest: field(reference, "/digest").to_owned(),
        step_ms: distributed["medianStepMs"].as_f64().unwrap(),
        reference_ms: reference["medianStepMs"].as_f64().unwrap(),
        folder,
    }
}

/// The command line of this build.
pub fn mixnn() -> String {
    format!("{}/../target/{}/mixnn", env!("CARGO_MANIFEST_DIR"), profile())
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

/// One process that serves the weights of one process.
pub struct OneProcess {
    /// Where it answers.
    pub url: String,
    process: Child,
    /// Held open: it goes on to tell how it does.
    _said: BufReader<ChildStderr>,
}

impl OneProcess {
    /// Serves what `truth` came to.
    pub fn serving(truth: &Truth) -> Self {
        let (file, weights, dir) = (
            truth.path("model.yaml"),
            truth.path("run/reference.safetensors"),
            truth.path("served"),
        );
        let mut process = Command::new(mixnn())
            .args(["serve", "--one-process", "--address", "127.0.0.1:0", "-f", &file])
            .args(["--weights", &weights, "--run-dir", &dir])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let mut all = String::new();
        // lenet5: http://127.0.0.1:40123/v2/models/lenet5 answers with version 1
        let line = loop {
            let begun = all.len();
            assert!(said.read_line(&mut all).unwrap() > 0, "it serves nothing: {all}");
            if all[begun..].contains("answers with version") {
                break all[begun..].to_owned();
            }
        };
        let (_, rest) = line.split_once("http://").unwrap();
        let url = format!("http://{}", rest.split('/').next().unwrap());
        Self { url, process, _said: said }
    }
}

impl Drop for OneProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
