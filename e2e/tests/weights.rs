//! Weights in and out: trained elsewhere, trained on here, and back.

#![allow(clippy::unwrap_used)]

mod common;

use common::served::{Served, infer, request, script, small, weights};
use common::{ADAM, MLP, Running, SGD, Spec, run, signal, stderr};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;

/// As in `clients/pytorch.py`; the middle layer stays as it was.
const NET: &str = r#"[
    {"name": "conv", "ops": [{"conv2d": {"in": 1, "out": 4, "kernel": 5, "padding": 2}}, {"batchNorm": {"channels": 4}}, {"relu": {}}, {"maxPool2d": {"kernel": 4}}]},
    {"name": "hidden", "trainable": false, "ops": [{"flatten": {}}, {"linear": {"in": 196, "out": 32}}, {"tanh": {}}]},
    {"name": "last", "ops": [{"linear": {"in": 32, "out": 10}}]}]"#;
/// Sums are taken in another order.
const TOLERANCE: f64 = 1e-4;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

/// PyTorch's logits for a request with these weights, which it makes if told to; `None` where there is
/// no PyTorch.
fn in_pytorch(folder: &Path, what: &str, weights: &Path) -> Option<Vec<f64>> {
    let (inputs, out) = (folder.join("request.json"), folder.join("logits.json"));
    std::fs::write(&inputs, request(3, 5).to_string()).unwrap();
    let paths = [weights, &inputs, &out].map(|p| p.to_str().unwrap());
    script("pytorch.sh", "pytorch.py", &[&[what], &paths[..]].concat())?;
    Some(numbers(&serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap()))
}

fn served(folder: &Path, name: &str, from: &[&str]) -> Vec<f64> {
    let server = Served::start(folder, name, &[from, &["--one-process"]].concat());
    numbers(&infer(server.address, &request(3, 5)).unwrap().outputs())
}

fn assert_near(a: &[f64], b: &[f64]) {
    assert!(a.len() == 30 && b.len() == 30);
    let far = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(far < TOLERANCE, "{far}: {a:?} {b:?}");
}

#[test]
fn weights_come_from_pytorch_and_go_back_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    Spec { layers: NET, optimizer: SGD, more: r#", "clipNorm": 1.0"#, ..small() }.write(at);
    let theirs = at.join("theirs.safetensors");
    let Some(logits) = in_pytorch(at, "train", &theirs) else { return };
    let from = ["--weights", "theirs.safetensors"];
    assert_near(&logits, &served(at, "before", &from));

    let trained =
        run(at, &["run", "--compare", "-f", "model.yaml", "--run-dir", "run", from[0], from[1]]);
    assert!(trained.status.success(), "other bits than in one process: {}", stderr(&trained));
    let exported = run(at, &["export", "run", "--out", "ours.safetensors"]);
    assert!(exported.status.success(), "{}", stderr(&exported));
    let ours = at.join("ours.safetensors");
    let logits = in_pytorch(at, "logits", &ours).unwrap();
    assert_near(&logits, &served(at, "after", &["--from", "run"]));

    let (before, after) = (std::fs::read(&theirs).unwrap(), std::fs::read(&ours).unwrap());
    let tensor = |file: &[u8], name: &str| {
        let file = safetensors::SafeTensors::deserialize(file).unwrap();
        file.tensor(name).unwrap().data().to_vec()
    };
    let same = |name: &str| tensor(&before, name) == tensor(&after, name);
    assert!(same("hidden.1.weight") && same("hidden.1.bias"), "it is not trainable");
    assert!(!same("conv.0.weight") && !same("last.0.bias"));
}

/// Programs of `torch.export` become models that give the same logits, weights and all.
#[test]
fn programs_of_pytorch_are_converted() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = folder.path().join("request.json");
    std::fs::write(&inputs, request(3, 5).to_string()).unwrap();
    let paths = [inputs.as_path(), folder.path()].map(|p| p.to_str().unwrap());
    if script("pytorch.sh", "export.py", &paths).is_none() {
        return;
    }
    let convert =
        ["convert", "secret-name.pt2", "--out", "model.yaml", "--weights", "w.safetensors"];
    for name in ["lenet", "residual", "sequence"] {
        let at = folder.path().join(name);
        let converted = run(&at, &convert);
        assert!(converted.status.success(), "{name}: {}", stderr(&converted));
        // Generated digits, which have the shape of their samples in the model's file.
        let file = at.join("model.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("not converted"), "{name}: {text}");
        let idx = "      idx:\n        classes: 10\n";
        assert!(text.contains(idx), "{name}: {text}");
        std::fs::write(&file, text.replace(idx, "      digits: {train: 64, test: 64}\n")).unwrap();
        let valid = run(&at, &["validate", "-f", "model.yaml"]);
        assert!(valid.status.success(), "{name}: {}", stderr(&valid));
        let logits = std::fs::read(at.join("logits.json")).unwrap();
        let logits = numbers(&serde_json::from_slice(&logits).unwrap());
        assert_near(&logits, &served(&at, "served", &["--weights", "w.safetensors"]));
    }
    let strange = folder.path().join("strange");
    let refused = run(&strange, &convert);
    assert!(!refused.status.success() && stderr(&refused).contains("not all of the program"));
    let skeleton = run(&strange, &convert[..4]);
    assert!(skeleton.status.success(), "{}", stderr(&skeleton));
    let text = std::fs::read_to_string(strange.join("model.yaml")).unwrap();
    assert!(
        text.contains("aten.cumsum.default is no operation") && text.contains("in: 784"),
        "{text}"
    );
}

/// A layer that is lost before the first step's checkpoint gets the weights that were brought in, not
/// those of its key.
#[test]
fn imported_weights_survive_a_lost_layer() {
    let folder = tempfile::tempdir().unwrap();
    small().write(folder.path());
    let file = weights(folder.path(), "a");
    let spec = Spec { layers: MLP, optimizer: ADAM, suite: "X25519", ..Spec::default() };
    let spec = Spec { train: 6000, hops: 2, ..spec };
    let more = ["--compare", "--checkpoint-every", "1000", "--weights", file.to_str().unwrap()];
    let running = Running::start_with(&spec, &more);
    signal(running.pid_of("layer-2"), Signal::KILL);
    running.wait_for("recovery", || running.said().contains("another pod for"));
    assert!(running.said().contains("at step 1,"), "{}", running.said());
    let (code, said) = running.ended(&[]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn what_is_not_the_models_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    small().write(at);
    let file = weights(at, "a");
    let refused = |args: &[&str], said: &str| {
        let output = run(at, args);
        assert!(!output.status.success() && stderr(&output).contains(said), "{}", stderr(&output));
    };
    let name = file.to_str().unwrap();
    let import = |file: &str, rename: &str, said: &str| {
        let rule = ["import", "-f", "model.yaml", "--weights", file, "--rename", rename];
        refused(&rule, said);
    };
    import(name, "last.0.bias=x", "tensor 'last.0.bias' is missing");
    import(name, "last.0.bias=x", "tensor 'last.0.bias' is not the model's");
    import(name, "last.0.weight=middle.0.weight", "renamed to 'middle.0.weight'");
    import(name, "nothing", "OLD=NEW");
    // A header that says more than there is.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.truncate(bytes.len() - 4);
    std::fs::write(at.join("short.safetensors"), &bytes).unwrap();
    import("short.safetensors", "a=b", "is no safetensors file");
    std::fs::write(at.join("lies.safetensors"), [0xFF; 64]).unwrap();
    import("lies.safetensors", "a=b", "header would have");
    refused(&["serve", "-f", "model.yaml", "--weights", "lies.safetensors"], "lies.safetensors");
    refused(&["export", at.to_str().unwrap(), "--out", "x"], "give the folder of a run");

    let skeleton = run(at, &["convert", name, "--out", "skeleton.yaml"]);
    assert!(skeleton.status.success(), "{}", stderr(&skeleton));
    let text = std::fs::read_to_string(at.join("skeleton.yaml")).unwrap();
    assert!(text.contains("in: 784") && text.contains("--rename hidden.1=hidden-1.0"), "{text}");
    refused(&["convert", "lies.safetensors"], "header would have");
}
