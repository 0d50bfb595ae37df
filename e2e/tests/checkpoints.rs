//! Checkpoints as a user has them: listed, checked, gone on from, refused.

#![allow(clippy::unwrap_used)]

mod common;

use common::{ADAM, MLP, Running, Spec, newest_checkpoint, run, runner_pid, signal, stderr};
use rustix::process::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

fn spec() -> Spec {
    let spec = Spec { layers: MLP, optimizer: ADAM, suite: "X25519", ..Spec::default() };
    Spec { train: 6000, hops: 2, ..spec }
}

const EVERY: [&str; 2] = ["--checkpoint-every", "20"];

/// A run that was interrupted after its second checkpoint.
fn interrupted() -> tempfile::TempDir {
    let running = Running::start_with(&spec(), &EVERY);
    let second = || newest_checkpoint(running.folder.path()) >= Some(2);
    running.wait_for("second checkpoint", second);
    signal(runner_pid(&running), Signal::INT);
    let Running { mut runner, folder } = running;
    runner.wait().unwrap();
    folder
}

fn checkpoints(folder: &Path, args: &[&str]) -> (Option<i32>, Value) {
    let args = [&["checkpoints"], args, &["run/secret-name-1", "-o", "json"]].concat();
    let output = run(folder, &args);
    let rows = serde_json::from_slice(&output.stdout);
    (output.status.code(), rows.unwrap_or_else(|_| panic!("{}", stderr(&output))))
}

fn resume(folder: &Path, file: &Path, more: &[&str]) -> Output {
    let resume = ["run", "--resume", "run/secret-name-1", "-f", file.to_str().unwrap()];
    run(folder, &[&resume, &EVERY[..], more].concat())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let inside = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().flat_map(|e| inside(e.unwrap().path())).collect();
    all.sort();
    all
}

/// Shards and manifest of the newest checkpoint that is known outside the store, and what was begun of
/// the next one when the run was interrupted.
fn newest(folder: &Path) -> Vec<PathBuf> {
    let checkpoints = folder.join("run/secret-name-1/checkpoints/checkpoints");
    let last = checkpoints.join(format!("{:012}", newest_checkpoint(folder).unwrap()));
    files(&checkpoints).into_iter().filter(|f| *f >= last).collect()
}

fn flip_a_bit(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_run_is_gone_on_with_over_other_relays_and_the_bits_are_the_same() {
    let folder = interrupted();
    let (code, listed) = checkpoints(folder.path(), &["ls"]);
    assert_eq!(code, Some(0));
    assert!(listed.as_array().unwrap().len() >= 2, "{listed}");
    assert_eq!(checkpoints(folder.path(), &["verify"]).0, Some(0));
    let file = Spec { relays: 4, hops: 3, suite: "XWing", ..spec() }.write(folder.path());
    let output = resume(folder.path(), &file, &["--compare", "-o", "json"]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["sameBits"], true, "{result:#}");
    let (_, removed) = checkpoints(folder.path(), &["prune", "--keep", "1"]);
    assert!(!removed.as_array().unwrap().is_empty());
    assert_eq!(checkpoints(folder.path(), &["ls"]).1.as_array().unwrap().len(), 1);
}

#[test]
fn a_damaged_shard_is_named_and_the_checkpoint_before_it_is_taken() {
    let folder = interrupted();
    let shard = newest(folder.path()).into_iter().find(|f| !f.ends_with("manifest")).unwrap();
    flip_a_bit(&shard);
    let (code, rows) = checkpoints(folder.path(), &["verify"]);
    assert_eq!(code, Some(1));
    assert!(rows.to_string().contains("is not the one that was written"), "{rows}");
    let output = resume(folder.path(), &folder.path().join("model.yaml"), &["--compare"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn what_does_not_belong_to_the_model_is_refused_with_the_reason() {
    let folder = interrupted();
    let file = folder.path().join("model.yaml");
    let refused = |file: &Path, more: &[&str], why: &str| {
        let output = resume(folder.path(), file, more);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    };
    let other = tempfile::tempdir().unwrap();
    let optimizer = r#"{"adam": {"lr": 0.003}}"#;
    let another = Spec { optimizer, ..spec() }.write(other.path());
    refused(&another, &[], "is of another model");

    let run = folder.path().join("run/secret-name-1");
    let key = run.join("checkpoint-key");
    let right = std::fs::read(&key).unwrap();
    std::fs::write(&key, format!("{}\n", "5a".repeat(32))).unwrap();
    refused(&file, &[], "does not open");
    // Rotated: the new key seals, the old one opens.
    let both = [format!("{}\n", "5a".repeat(32)).as_bytes(), &right].concat();
    std::fs::write(&key, both).unwrap();
    assert_eq!(checkpoints(folder.path(), &["verify"]).0, Some(0));

    for file in newest(folder.path()) {
        std::fs::remove_file(file).unwrap();
    }
    refused(&file, &[], "was put back to an earlier state");
    let output = resume(folder.path(), &file, &["--compare", "--accept-older"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}
