//! A run of `mixnn run`, and what its processes take while it lasts.

use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Between two looks at the processes.
const LOOK: Duration = Duration::from_millis(50);
/// Ticks of a CPU second in /proc (USER_HZ).
const TICKS: f64 = 100.0;

/// What a run took.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// Median time of a step.
    pub step_ms: f64,
    /// Time in all steps.
    pub train_seconds: f64,
    /// From the command to the first step.
    pub first_step_ms: f64,
    /// CPU seconds of all relays together, after the first step.
    pub relay_cpu: f64,
    /// The most memory of a relay, MiB.
    pub relay_memory: f64,
    /// The most memory of each layer process, MiB.
    pub layer_memory: Vec<f64>,
}

#[derive(Clone, Copy, Default)]
struct Use {
    cpu: f64,
    peak: f64,
}

/// Trains a model's file over layer processes and relays, with a checkpoint every so many steps (0: none).
pub fn train(file: &Path, folder: &Path, checkpoint_every: u32) -> anyhow::Result<Run> {
    let start = Instant::now();
    let mut runner = Command::new(beside("mixnn")?)
        .args(["run", "-o", "json", "--checkpoint-every", &checkpoint_every.to_string(), "-f"])
        .arg(file)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (lines, said) = mpsc::channel();
    let stderr = runner.stderr.take().context("standard error")?;
    std::thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| {
            let _ = lines.send((Instant::now(), line));
        });
    });
    let (mut first, mut last_words, mut uses) = (None, String::new(), HashMap::new());
    let mut relay_cpu_before = 0.0;
    let status = loop {
        look(runner.id(), &mut uses);
        for (when, line) in said.try_iter() {
            if first.is_none() && line.contains(": step 1/") {
                first = Some(when - start);
                relay_cpu_before = cpu_of(&uses, "mixnn-relay");
            }
            last_words = line;
        }
        if let Some(status) = runner.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    let mut out = Vec::new();
    runner.stdout.take().context("standard output")?.read_to_end(&mut out)?;
    if !status.success() {
        bail!("mixnn run ended with {status}: {last_words}");
    }
    let outcome: Value = serde_json::from_slice(&out).context("reading the outcome")?;
    let of = |program: &str| -> Vec<Use> {
        uses.iter().filter(|((name, _), _)| name == program).map(|(_, used)| *used).collect()
    };
    let (relays, layers) = (of("mixnn-relay"), of("mixnn-layer"));
    Ok(Run {
        step_ms: outcome["medianStepMs"].as_f64().context("medianStepMs")?,
        train_seconds: outcome["trainSeconds"].as_f64().context("trainSeconds")?,
        first_step_ms: first.context("no first step was seen")?.as_secs_f64() * 1e3,
        relay_cpu: cpu_of(&uses, "mixnn-relay") - relay_cpu_before,
        relay_memory: relays.iter().map(|u| u.peak).fold(0.0, f64::max),
        layer_memory: layers.iter().map(|u| u.peak).collect(),
    })
}

/// What each process has used, by program and id.
type Uses = HashMap<(String, u32), Use>;

/// CPU seconds of all processes of a program.
fn cpu_of(uses: &Uses, program: &str) -> f64 {
    uses.iter().filter(|((name, _), _)| name == program).map(|(_, used)| used.cpu).sum()
}

fn look(parent: u32, uses: &mut Uses) {
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for entry in processes.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let Some((of, cpu)) = stat(pid) else { continue };
        let Ok(program) = std::fs::read_link(entry.path().join("exe")) else { continue };
        let Some(name) = program.file_name().filter(|_| of == parent) else { continue };
        let peak = peak(pid).unwrap_or(0.0);
        uses.insert((name.to_string_lossy().into_owned(), pid), Use { cpu, peak });
    }
}

/// Parent and CPU seconds.
fn stat(pid: u32) -> Option<(u32, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((fields.get(1)?.parse().ok()?, (ticks(11)? + ticks(12)?) / TICKS))
}

fn peak(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<f64>().ok()? / 1024.0)
}

/// A program in the folder of this one.
pub fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    bail!("{} is missing: run `make bench`, which builds it", path.display())
}
