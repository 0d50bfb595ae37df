//! LeNet-5 on the real MNIST, as the paper tested it: at least 98.5 % and one process's bits.
//!
//! The four files of MNIST are not part of this repository. `MIXNN_MNIST` names their folder; without
//! it they are looked for in `../shared/data/mnist` beside the checkout.

#![allow(clippy::unwrap_used)]

mod common;

use common::{run, stderr};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What the example's defaults must reach in three epochs.
const ACCURACY: f64 = 0.985;
const SAMPLES: f64 = 10_000.0;

fn mnist() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let beside = || root.parent().map(|parent| parent.join("shared/data/mnist"));
    let folder = std::env::var_os("MIXNN_MNIST").map(PathBuf::from).or_else(beside)?;
    folder.is_dir().then_some(folder)
}

#[test]
fn lenet5_reaches_the_papers_accuracy_with_the_bits_of_one_process() {
    let Some(data) = mnist() else {
        // Not eprintln: the test harness would keep it to itself.
        let text = "\nSKIPPED: NO MNIST: set MIXNN_MNIST to the folder of its four IDX files\n";
        let _ = std::io::stderr().write_all(text.as_bytes());
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let file = root.join("examples/lenet5-mnist.yaml");
    let folder = tempfile::tempdir().unwrap();
    let (file, data) = (file.to_str().unwrap(), data.to_str().unwrap());
    let args = ["run", "--compare", "-o", "json", "-f", file, "--data", data];
    let output = run(folder.path(), &args);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert_eq!(result["sameBits"], true, "{result:#}\n{}", stderr(&output));
    for who in ["distributed", "reference"] {
        let correct = result[who]["tested"]["correct"].as_f64().unwrap();
        let text = format!("MNIST, {who}: {:.2} %\n", 100.0 * correct / SAMPLES);
        let _ = std::io::stderr().write_all(text.as_bytes());
        assert!(correct / SAMPLES >= ACCURACY, "{result:#}");
    }
}
