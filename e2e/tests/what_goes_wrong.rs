//! Each fault ends with one clear error, a code that is not zero, and nobody left running.

#![allow(clippy::unwrap_used)]

mod common;

use clap::Parser;
use common::{LENET5, Running, Spec, long, mixnn, run, runner_pid, signal, stderr, with_wrapper};
use mixnn_node::{NodeArgs, RegistryClient};
use mixnn_protocol::control::Profile;
use mixnn_protocol::registration::NodeClass;
use mixnn_protocol::{KeyPair, SystemRng};
use rustix::process::Signal;
use std::path::Path;

/// Runs a model's text and gives the error, which must be the last thing said.
fn error_of(text: &str, more: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.yaml");
    std::fs::write(&file, text).unwrap();
    let output = run(folder.path(), &[&["run", "-f", file.to_str().unwrap()], more].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stderr(&output);
    assert_eq!(said.matches("error:").count(), 1, "{said}");
    said
}

fn model() -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::read_to_string(Spec::default().write(folder.path())).unwrap()
}

#[test]
fn an_unknown_field_is_named_with_its_place() {
    let said = error_of(&model().replace("\"padding\"", "\"pading\""), &[]);
    assert!(said.contains("spec.layers[0].ops[0]") && said.contains("`pading`"), "{said}");
}

#[test]
fn a_shape_that_does_not_fit_names_layer_op_and_both_shapes() {
    let said = error_of(&model().replace("\"in\": 400", "\"in\": 401"), &[]);
    for part in ["\"fc1\"", "op 1", "linear", "401", "[400]"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

fn on_files() -> String {
    model().replace(r#"{"digits": {"train": 650, "test": 100}}"#, r#"{"idx": {}}"#)
}

#[test]
fn missing_data_says_what_to_give() {
    let said = error_of(&on_files(), &[]);
    assert!(said.contains("--data DIR") && said.contains("train-images"), "{said}");
    let empty = tempfile::tempdir().unwrap();
    let said = error_of(&on_files(), &["--data", empty.path().to_str().unwrap()]);
    assert!(said.contains("train-images-idx3-ubyte"), "{said}");
}

#[test]
fn a_truncated_data_file_is_named() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_str().unwrap();
    let made =
        run(data.path(), &["data", "digits", "--out", folder, "--train", "100", "--test", "10"]);
    assert!(made.status.success());
    let file = data.path().join("train-images-idx3-ubyte");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    let said = error_of(&on_files(), &["--data", folder]);
    assert!(said.contains("train-images-idx3-ubyte") && said.contains("cut short"), "{said}");
    std::fs::write(&file, [bytes.as_slice(), &[0]].concat()).unwrap();
    let said = error_of(&on_files(), &["--data", folder]);
    assert!(said.contains("goes on after"), "{said}");
}

#[test]
fn a_loss_that_is_not_finite_ends_the_training() {
    let said = error_of(&model().replace("\"lr\": 0.03", "\"lr\": 1e30"), &[]);
    assert!(said.contains("the loss is not finite") && said.contains("learning rate"), "{said}");
}

fn run_with(bin: &Path, spec: &Spec) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = spec.write(folder.path());
    let output = mixnn(folder.path())
        .env("MIXNN_BIN_DIR", bin)
        .args(["run", "-f", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let weights = std::fs::read_dir(folder.path().join("run")).unwrap().flatten().next().unwrap();
    assert!(!weights.path().join("model.safetensors").exists(), "nothing is half-written");
    stderr(&output)
}

/// A batch whose convolution needs gigabytes, in a process that may have two and a half.
#[test]
fn a_layer_out_of_memory_is_named() {
    let bin = with_wrapper("mixnn-layer", "ulimit -v 2500000; exec REAL \"$@\"");
    let layers = r#"[
        {"name": "greedy", "ops": [{"conv2d": {"in": 1, "out": 900, "kernel": 3, "padding": 1}}, {"maxPool2d": {"kernel": 28}}, {"flatten": {}}]},
        {"name": "last", "ops": [{"linear": {"in": 900, "out": 10}}]}]"#;
    let said = run_with(
        bin.path(),
        &Spec { layers, batch: 1000, train: 1000, micro_batches: 1, ..Spec::default() },
    );
    assert!(said.contains("layer \"greedy\"") && said.contains("out of memory"), "{said}");
}

#[test]
fn a_program_that_does_not_start_shows_why() {
    let script = "echo 'error while loading shared libraries: libtorch.so: cannot open shared object file' >&2; exit 127";
    let bin = with_wrapper("mixnn-layer", script);
    let said = run_with(bin.path(), &Spec::default());
    assert!(said.contains("ended before its time") && said.contains("libtorch.so"), "{said}");
}

#[test]
fn a_missing_program_says_how_to_build_it() {
    let empty = tempfile::tempdir().unwrap();
    let said = run_with(empty.path(), &Spec { layers: LENET5, ..Spec::default() });
    assert!(said.contains("make build"), "{said}");
}

#[test]
fn an_interrupt_ends_all_and_says_what_is_left() {
    let running = Running::start(&long());
    let children = running.all_children();
    assert_eq!(children.len(), 3 + 5 + 1);
    signal(runner_pid(&running), Signal::INT);
    let (code, said) = running.ended(&children);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("interrupted") && said.contains("secret-name-1"), "{said}");
}

#[test]
fn children_do_not_outlive_a_runner_that_is_killed() {
    let running = Running::start(&long());
    let children = running.all_children();
    signal(runner_pid(&running), Signal::KILL);
    running.ended(&children);
}

/// A stop that ends in time costs a step that is taken back, and nothing else.
#[test]
fn a_relay_that_goes_on_in_time_costs_nothing_but_time() {
    let spec = Spec { train: 4000, ..Spec::default() };
    let running = Running::start_with(&spec, &["--stall", "1", "--compare"]);
    let children = running.all_children();
    let relay = running.children("mixnn-relay")[0];
    signal(relay, Signal::STOP);
    std::thread::sleep(std::time::Duration::from_millis(1300));
    signal(relay, Signal::CONT);
    let (code, said) = running.ended(&children);
    assert_eq!(code, Some(0), "the weights are those of one process: {said}");
}

#[test]
fn a_libtorch_of_another_version_is_refused_before_anything_is_built() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("build-version"), "2.1.0").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let output = std::process::Command::new(root.join("scripts/libtorch.sh"))
        .env("LIBTORCH", folder.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = stderr(&output);
    assert!(said.contains("holds version '2.1.0', tch needs 2.13.0"), "{said}");
}

const FLAGS: &str = "MISFIT_FLAGS";

#[derive(Parser)]
struct Misfit {
    #[command(flatten)]
    node: NodeArgs,
}

/// A layer pod on a machine with other kernels. Run by the test below, as a process of its own.
#[test]
#[ignore = "a layer's process of the test below"]
fn plays_a_misfit() {
    let flags = std::env::var(FLAGS).unwrap();
    let args = Misfit::parse_from(std::iter::once("layer").chain(flags.split(' '))).node;
    let started = mixnn_node::start(&args).unwrap();
    let profile = Profile { cpu_capability: "avx512".into(), ..mixnn_nn::profile::pin().unwrap() };
    let registry = RegistryClient::new(&args).unwrap().with_profile(profile);
    let keys = KeyPair::generate(args.suite.into(), &mut SystemRng);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(registry.register(NodeClass::Layer, &started.url, keys.public())).unwrap();
    // It is ended by its runner.
    loop {
        std::thread::park();
    }
}

#[test]
fn pods_whose_bits_would_be_others_get_no_layer_and_are_named() {
    let script = format!(
        "{FLAGS}=\"$*\" exec '{}' --ignored --exact plays_a_misfit",
        std::env::current_exe().unwrap().display()
    );
    let said = run_with(with_wrapper("mixnn-layer", &script).path(), &Spec::default());
    for part in ["another numeric profile", "avx512", "nodeSelector"] {
        assert!(said.contains(part), "{part} in {said}");
    }
}
