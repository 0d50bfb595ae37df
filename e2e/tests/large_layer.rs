//! A layer so large that its state is kept as few times as can be.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Running, Spec, mixnn};
use rustix::process::Pid;
use std::time::Duration;

/// 67 million parameters in the middle: a state of 537 MB with momentum.
const WIDE: &str = r#"[
    {"name": "in", "ops": [{"flatten": {}}, {"linear": {"in": 784, "out": 8192}}, {"relu": {}}]},
    {"name": "wide", "ops": [{"linear": {"in": 8192, "out": 8192}}, {"relu": {}}]},
    {"name": "out", "ops": [{"linear": {"in": 8192, "out": 10}}]}]"#;

/// The most memory that a process has had, in MiB; 0 if it is gone.
fn peak(pid: Pid) -> u64 {
    let status = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[test]
fn it_trains_and_is_checkpointed_in_little_more_memory_than_one_process_takes() {
    let folder = tempfile::tempdir().unwrap();
    let spec = Spec { layers: WIDE, train: 40, batch: 10, micro_batches: 2, ..Spec::default() };
    let file = spec.write(folder.path());
    let mut command = mixnn(folder.path());
    command.args(["run", "--compare", "--checkpoint-every", "2", "-f", file.to_str().unwrap()]);
    let running = Running::spawn(command, folder);
    let (mut layer, mut one_process) = (0, 0);
    while !running.has_ended() {
        let most = |program| running.children(program).into_iter().map(peak).max().unwrap_or(0);
        layer = layer.max(most("mixnn-layer"));
        if running.said().contains("one process: step") {
            one_process = one_process.max(most("mixnn-designer"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let (code, said) = running.ended(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(layer > 800 && one_process > 800, "{layer} and {one_process} MiB: {said}");
    assert!(2 * layer <= 3 * one_process, "{layer} MiB; one process takes {one_process}");
}
