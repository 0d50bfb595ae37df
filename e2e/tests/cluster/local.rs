//! The same model on this machine, without Kubernetes.

use crate::kube::{field, run};
use serde_json::Value;

/// What it comes to.
pub struct Truth {
    /// Keyed digest of the weights of one process.
    pub digest: String,
    /// Median over local processes.
    pub step_ms: f64,
    /// Median in one process.
    pub reference_ms: f64,
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
    }
}

/// The command line of this build.
pub fn mixnn() -> String {
    format!("{}/../target/{}/mixnn", env!("CARGO_MANIFEST_DIR"), profile())
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}
