//! What one fault costs: a process is killed in the middle of training, again and again.

use crate::models::{Model, lenet5};
use crate::processes::beside;
use crate::report::{Fault, median};
use anyhow::{Context, bail};
use mixnn_events::{Event, Line};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What is killed at once. Which layer a process has is drawn. Of relays, another one each round: lanes go over
/// those that live, and one that has just taken the place of another has none.
const KINDS: [(&str, &[&str]); 4] = [
    ("a relay", &["relay"]),
    ("a layer", &["layer-3"]),
    ("the designer", &["designer"]),
    ("a layer and a relay", &["layer-1", "relay"]),
];
const RELAYS: u32 = 6;
/// Steps before the first fault, and from one to the next.
const STEPS_BETWEEN: u64 = 60;
/// Longer than any recovery.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(2);

/// Kills processes of each kind, `rounds` times each.
///
/// # Errors
/// A run ended, or did not go on.
pub fn all(rounds: u32) -> anyhow::Result<Vec<Fault>> {
    let model = lenet5(64, 100).for_epochs(1000);
    let folder = tempfile::tempdir()?;
    let mut running = Running::start(&model, folder.path())?;
    let mut faults = Vec::new();
    for (what, slots) in KINDS {
        let costs: Vec<(f64, f64)> =
            (0..rounds).map(|round| running.fault(slots, round)).collect::<anyhow::Result<_>>()?;
        let (ms, again): (Vec<f64>, Vec<f64>) = costs.into_iter().unzip();
        faults.push(Fault {
            what: what.to_owned(),
            most_ms: ms.iter().copied().fold(0.0, f64::max),
            ms: median(ms),
            steps_again: median(again),
        });
    }
    Ok(faults)
}

/// A training that runs; ends when dropped.
struct Running {
    runner: Child,
    record: BufReader<File>,
    processes: std::path::PathBuf,
    line: String,
}

impl Running {
    fn start(model: &Model, folder: &Path) -> anyhow::Result<Self> {
        let file = model.write(folder)?;
        let runner = Command::new(beside("mixnn")?)
            .args(["run", "-f"])
            .arg(file)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let kept = folder.join("run/bench-1");
        let record = wait_for(&kept.join("model.events.jsonl"))?;
        let processes = kept.join("processes.json");
        Ok(Self { runner, record: BufReader::new(record), processes, line: String::new() })
    }

    /// Lets some steps pass, kills, and gives the milliseconds until the next step, and how many steps
    /// were made again.
    fn fault(&mut self, slots: &[&str], round: u32) -> anyhow::Result<(f64, f64)> {
        let first = self.next_step()?;
        let mut newest = first;
        while newest < first + STEPS_BETWEEN {
            newest = self.next_step()?;
        }
        let pids: HashMap<String, i32> = serde_json::from_slice(&std::fs::read(&self.processes)?)?;
        let start = Instant::now();
        for slot in slots {
            let relay = format!("relay-{}", 1 + round % RELAYS);
            let slot = if *slot == "relay" { &relay } else { *slot };
            let pid = pids.get(slot).and_then(|pid| Pid::from_raw(*pid));
            kill_process(pid.with_context(|| format!("no {slot}"))?, Signal::KILL)?;
        }
        self.until_recovered(&mut newest)?;
        let again = self.next_step()?;
        Ok((start.elapsed().as_secs_f64() * 1e3, (newest + 1).saturating_sub(again) as f64))
    }

    /// Reads until the training goes on; steps that were committed before count.
    fn until_recovered(&mut self, newest: &mut u64) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.next()? {
                Event::Step(step) => *newest = (*newest).max(step.step),
                // A new designer says its plan instead.
                Event::Recovered(_) | Event::Plan(_) => return Ok(()),
                _ => {}
            }
        }
        bail!("no recovery: what was killed was in nobody's way")
    }

    fn next_step(&mut self) -> anyhow::Result<u64> {
        loop {
            if let Event::Step(step) = self.next()? {
                return Ok(step.step);
            }
        }
    }

    fn next(&mut self) -> anyhow::Result<Event> {
        let start = Instant::now();
        loop {
            self.record.read_line(&mut self.line)?;
            if self.line.ends_with('\n') {
                // A designer that is killed may leave a line that was cut short.
                if let Ok(line) = serde_json::from_str::<Line>(&std::mem::take(&mut self.line)) {
                    return Ok(line.event);
                }
                continue;
            }
            if let Some(status) = self.runner.try_wait()? {
                bail!("mixnn run ended with {status}");
            }
            if start.elapsed() > PATIENCE {
                bail!("training has not gone on for {PATIENCE:?}");
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It ends its own processes.
        if let Some(pid) = Pid::from_raw(self.runner.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.runner.wait();
    }
}

fn wait_for(path: &Path) -> anyhow::Result<File> {
    let start = Instant::now();
    loop {
        match File::open(path) {
            Ok(file) => return Ok(file),
            Err(error) if start.elapsed() > PATIENCE => {
                return Err(error).with_context(|| path.display().to_string());
            }
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}
