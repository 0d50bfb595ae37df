//! Every example trains over layer pods and relays to the bits of one process, and learns.

#![allow(clippy::unwrap_used)]

mod common;

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;

/// First weights and the order of samples follow from it: how well a short training learns, too.
const SECRET: &str = "ecd5f17ce69021b2e76e111eb2a3acd2c0700053485a11f96afee214ddc57203";

/// Runs an example with fewer samples and epochs; gives the result.
fn example(name: &str, changes: &[(&str, &str)]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut text = std::fs::read_to_string(path.join("examples").join(name)).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no {from}");
        text = text.replace(from, to);
    }
    std::fs::write(folder.path().join("model.yaml"), text).unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let args = ["run", "--compare", "-o", "json", "-f", "model.yaml", "--owner-secret", "secret"];
    let output = common::run(folder.path(), &args);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let result: Value = serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{name}: {said}\n{}", common::stderr(&output)));
    assert_eq!(result["sameBits"], true, "{result:#}");
    assert_eq!(result["distributed"]["tested"], result["reference"]["tested"]);
    result
}

fn accuracy(result: &Value) -> f64 {
    let tested = &result["distributed"]["tested"];
    tested["correct"].as_f64().unwrap() / tested["answers"].as_f64().unwrap()
}

#[test]
fn resnet20() {
    // It learns nothing for its first epoch: fewer samples would not do.
    let small = [("train: 4000, test: 1000", "train: 4000, test: 200"), ("epochs: 3", "epochs: 2")];
    let result = example("resnet20.yaml", &small);
    assert!(accuracy(&result) > 0.2, "chance is 0.1: {result:#}");
}

#[test]
fn text_classifier() {
    let small =
        [("train: 3000, test: 1000", "train: 1500, test: 300"), ("batchSize: 64", "batchSize: 32")];
    let result = example("text-classifier.yaml", &small);
    assert!(accuracy(&result) > 0.5, "chance is 0.25: {result:#}");
}

#[test]
fn language_model() {
    let small = [("train: 2000, test: 400", "train: 640, test: 100"), ("epochs: 4", "epochs: 3")];
    let result = example("language-model.yaml", &small);
    let perplexity = result["distributed"]["tested"]["perplexity"].as_f64().unwrap();
    assert!(perplexity < 30.0, "chance is 69: {result:#}");
}
