//! The commands that need no other process, through the binary.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn mixnn(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mixnn")).args(args).current_dir(root()).output().unwrap()
}

/// What a command prints, which must succeed.
fn good(args: &[&str]) -> String {
    let output = mixnn(args);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&good(args)).unwrap()
}

#[test]
fn every_example_is_valid() {
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = good(&["validate", "-f", path.to_str().unwrap()]);
        assert!(text.trim_end().ends_with(": valid"), "{text}");
    }
}

const WRONG: &str = "apiVersion: mixnn.dev/v1alpha1
kind: MixNNModel
metadata:
  name: wrong
spec:
  layers:
    - name: conv1
      ops:
        - conv2d: {in: 1, out: 6, kernal: 5}
        - rellu: {}
    - nome: fc
      ops:
        - linear: {in: many, out: 10}
  training:
    dataset:
      digits: {train: 0, test: 200}
    batchSize: 64
    epochs: 1
    optimizer:
      sgd: {lr: 0.1}
  relays:
    hops: 9
";

#[test]
fn all_problems_are_told_at_once_with_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.yaml");
    std::fs::write(&file, WRONG).unwrap();
    let output = mixnn(&["validate", "-f", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "wrong.yaml:9:35: error: spec.layers[0].ops[0].conv2d.kernal: unknown field 'kernal': did you mean 'kernel'?",
        "wrong.yaml:10:11: error: spec.layers[0].ops[1].rellu: unknown name 'rellu': did you mean 'relu'?",
        "wrong.yaml:11:7: error: spec.layers[1].nome: unknown field 'nome': did you mean 'name'?",
        "wrong.yaml:13:20: error: spec.layers[1].ops[0].linear.in: is 'many'; it must be a whole number",
        "wrong.yaml:16:16: error: spec.training.dataset.digits.train: is 0; it must be",
        "wrong.yaml:22:5: error: spec.relays.hops: is 9; it must be from 1 to 5",
        "9 |         - conv2d: {in: 1, out: 6, kernal: 5}",
        "6 problems",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    assert!(!text.contains('\x1b'), "colours without a terminal");
    // Layers that do not fit each other are found when the rest is right.
    let shapes = std::fs::read_to_string(root().join("examples/lenet5.yaml")).unwrap();
    std::fs::write(&file, shapes.replace("in: 400", "in: 401")).unwrap();
    let output = mixnn(&["validate", "-f", file.to_str().unwrap(), "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let problem = &report[0]["problems"][0];
    assert_eq!(
        (&problem["line"], &problem["field"]),
        (&22.into(), &"spec.layers[2].ops[1]".into())
    );
    assert!(problem["problem"].as_str().unwrap().contains("401"), "{problem}");
    std::fs::write(&file, "a: [1,\nb: }").unwrap();
    let text =
        String::from_utf8(mixnn(&["validate", "-f", file.to_str().unwrap()]).stdout).unwrap();
    assert!(text.contains("wrong.yaml:2:"), "{text}");
    std::fs::write(&file, WRONG.replace("    epochs: 1\n", "    epochs: 1\n    epochs: 2\n"))
        .unwrap();
    let text =
        String::from_utf8(mixnn(&["validate", "-f", file.to_str().unwrap()]).stdout).unwrap();
    assert!(text.contains("epochs stands here twice"), "{text}");
}

#[test]
fn a_topology_counts_and_draws() {
    let topology = json(&["topology", "-f", "examples/lenet5.yaml", "-o", "json"]);
    let layers = topology["layers"].as_array().unwrap();
    let sum: u64 = layers.iter().map(|l| l["parameters"].as_u64().unwrap()).sum();
    assert_eq!((layers.len(), sum), (5, 61_706));
    // 5 x 5 x 6 weights, each used at 28 x 28 places, two operations each.
    assert!(layers[0]["flops"].as_u64().unwrap() >= 2 * 25 * 6 * 28 * 28);
    // 16 samples of 6 x 14 x 14 f32, and a header.
    let bytes = layers[0]["messageBytes"].as_u64().unwrap();
    assert!((75_264..75_400).contains(&bytes), "{bytes}");
    assert_eq!(layers[0]["messageCells"], 5);
    assert!(!topology["advice"].as_array().unwrap().is_empty());
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("a.svg");
    let drawn = good(&[
        "topology",
        "-f",
        "examples/lenet5.yaml",
        "--picture",
        "--svg",
        svg.to_str().unwrap(),
    ]);
    assert!(drawn.contains("┌─ conv1") && drawn.contains("[16, 5, 5]"), "{drawn}");
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("fc3"));
    assert!(good(&["topology", "-f", "examples/mlp.yaml"]).contains("hidden2"));
}

#[test]
fn data_are_listed_and_previewed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    good(&["data", "digits", "--out", out, "--train", "40", "--test", "10", "--gzip"]);
    let listing = json(&["data", "ls", "--data", out, "--count", "-o", "json"]);
    assert_eq!(
        (&listing["train"]["samples"], &listing["test"]["samples"]),
        (&40.into(), &10.into())
    );
    let classes = listing["classes"].as_array().unwrap();
    assert_eq!(classes.iter().map(|c| c["train"].as_u64().unwrap()).sum::<u64>(), 40);
    let grey = good(&["data", "preview", "--data", out, "-n", "1"]);
    assert!(
        grey.starts_with("sample 0: ") && grey.contains('█') && !grey.contains('\x1b'),
        "{grey}"
    );
    assert!(good(&["--color", "always", "data", "preview", "-n", "1"]).contains("\x1b[38;2;"));
    let missing = mixnn(&["data", "ls", "-f", "examples/lenet5-mnist.yaml"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("--data DIR"));
}

#[test]
fn init_writes_valid_models_from_flags_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (name, flags) in [
        ("digits.yaml", &["--yes"][..]),
        ("idx.yaml", &["--dataset", "idx"]),
        ("images.yaml", &["--dataset", "images", "--size", "64", "--classes", "3"]),
        (
            "csv.yaml",
            &["--dataset", "csv", "--features", "a,b c", "--target", "yes", "--hops", "2"],
        ),
        (
            "parquet.yaml",
            &[
                "--dataset",
                "parquet",
                "--features",
                "area,rooms",
                "--task",
                "number",
                "--target",
                "price",
            ],
        ),
        ("text.yaml", &["--dataset", "text", "--size", "32"]),
    ] {
        let out = file(name);
        good(&[&["init", "--out", &out], flags].concat());
        assert!(good(&["validate", "-f", &out]).contains(": valid"));
        assert!(!mixnn(&["init", "--out", &out]).status.success(), "written over");
    }
    let out = file("asked.yaml");
    let mut child = Command::new(env!("CARGO_BIN_EXE_mixnn"))
        .args(["init", "--ask", "--out", &out])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"mine\nnonsense\ndigits\n\n\n5\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let asked = String::from_utf8(output.stderr).unwrap();
    assert!(
        asked.contains("Name of the model [my-model]") && asked.contains("'nonsense'"),
        "{asked}"
    );
    let text = std::fs::read_to_string(&out).unwrap();
    assert!(text.contains("name: mine") && text.contains("epochs: 3"), "{text}");
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let folder = tempfile::tempdir().unwrap();
    good(&["man", "--out", folder.path().to_str().unwrap()]);
    for name in [
        "mixnn.1",
        "mixnn-validate.1",
        "mixnn-data-preview.1",
        "mixnn-init.1",
        "mixnn-status.1",
        "mixnn-check.1",
    ] {
        let page = std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(page.contains(".SH"), "{name}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = good(&["completions", shell]);
        assert!(
            script.contains("topology")
                && script.contains("preview")
                && script.contains("all-namespaces"),
            "{shell}"
        );
    }
}

#[test]
fn the_manifest_for_krew_is_of_its_archive() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let url = "https://example.org/v0.1.0/";
    let packed = Command::new(root().join("scripts/krew.sh"))
        .args(["/bin/sh", "v0.1.0", url, out])
        .output()
        .unwrap();
    assert!(packed.status.success(), "{packed:?}");
    let manifest = std::fs::read_to_string(folder.path().join("mixnn.yaml")).unwrap();
    let sum = Command::new("sha256sum")
        .arg(folder.path().join("kubectl-mixnn-linux-amd64.tar.gz"))
        .output()
        .unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap();
    let expected = [
        "version: v0.1.0",
        "uri: https://example.org/v0.1.0/kubectl-mixnn-linux-amd64.tar.gz",
        &format!("sha256: {}", sum.split_whitespace().next().unwrap()),
        "bin: kubectl-mixnn",
    ];
    for line in expected {
        assert!(manifest.lines().any(|l| l.trim() == line), "{line}: {manifest}");
    }
}
