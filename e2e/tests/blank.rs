//! What the system tells a layer's process: nothing of its model or place.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use common::{Running, long, runner_pid, signal};
use rustix::process::{Pid, Signal};

fn proc(pid: Pid, file: &str) -> String {
    let bytes = std::fs::read(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap();
    String::from_utf8_lossy(&bytes).replace('\0', "\n")
}

/// Command line, environment, working folder, open files, and the files that flags point to.
fn all_that_it_was_given(pid: Pid) -> String {
    let mut out = proc(pid, "cmdline") + &proc(pid, "environ");
    for path in out.clone().lines().filter(|l| l.starts_with('/')) {
        out += &std::fs::read_to_string(path).unwrap_or_default();
    }
    let links = ["cwd".into(), "root".into()].into_iter().chain(
        std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))
            .unwrap()
            .map(|fd| format!("fd/{}", fd.unwrap().file_name().display())),
    );
    for link in links {
        let target = std::fs::read_link(format!("/proc/{}/{link}", pid.as_raw_nonzero()));
        out += &target.map(|t| t.display().to_string()).unwrap_or_default();
        out.push('\n');
    }
    out
}

/// Nodes turn off reading by processes of the same user; only root can look into them.
fn may_look(pid: Pid) -> bool {
    std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).is_ok()
}

#[test]
fn a_layers_process_is_told_nothing_of_model_or_place() {
    let running = Running::start(&long());
    let layers = running.children("mixnn-layer");
    assert_eq!(layers.len(), 5);
    if !may_look(layers[0]) {
        eprintln!("SKIPPED: looking into a layer's process takes root");
        return;
    }
    let given: Vec<String> = layers.iter().map(|&pid| all_that_it_was_given(pid)).collect();
    for text in &given {
        // The test would see nothing if it could not read: the flags must be there.
        assert!(text.contains("--registry") && text.contains("ATEN_CPU_CAPABILITY=avx2"), "{text}");
        for secret in
            ["secret-name", "conv1", "conv2", "fc1", "fc2", "fc3", "lenet", "model", "layer-"]
        {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    // Apart from tokens and addresses they are alike: nothing counts them.
    let shape = |text: &String| text.lines().next().unwrap().to_owned();
    assert!(given.iter().all(|text| shape(text) == shape(&given[0])));
    let children = running.all_children();
    signal(runner_pid(&running), Signal::TERM);
    running.ended(&children);
}
