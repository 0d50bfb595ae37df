//! Child processes: started with a clean environment, watched, and ended without exception.

use super::folder::RunFolder;
use anyhow::Context;
use mixnn_events::Event;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// Between asking a process to end and ending it.
const GRACE: Duration = Duration::from_secs(3);
/// How much of a log is shown.
const TAIL: u64 = 2048;
/// The longest line of events.
const MAX_LINE: u64 = 64 << 10;

/// All processes of a run.
pub struct Children {
    running: Vec<Running>,
    exits_send: mpsc::UnboundedSender<Exit>,
    exits: mpsc::UnboundedReceiver<Exit>,
}

struct Running {
    name: String,
    pid: Pid,
    watch: tokio::task::JoinHandle<()>,
}

/// A process that has ended.
pub struct Exit {
    /// Its name in the run.
    pub name: String,
    /// Its exit status, in words.
    pub how: String,
    /// Whether it ended as one that has done its work.
    pub in_order: bool,
    /// Whether a signal ended it: nothing that it did itself.
    pub by_signal: bool,
    log: PathBuf,
}

impl Exit {
    /// The last lines of its log.
    pub fn tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        read().unwrap_or_default()
    }
}

impl Children {
    /// None yet.
    pub fn new() -> Self {
        let (exits_send, exits) = mpsc::unbounded_channel();
        Self { running: Vec::new(), exits_send, exits }
    }

    /// Starts a process whose output goes to `logs/NAME.log`; its standard output to `events`, if
    /// given.
    pub fn start(
        &mut self,
        name: &str,
        program: &Path,
        flags: Vec<OsString>,
        folder: &RunFolder,
        events: Option<mpsc::Sender<Event>>,
    ) -> anyhow::Result<()> {
        let log = folder.path().join("logs").join(format!("{name}.log"));
        // What an earlier process of this name has said stays.
        let file = OpenOptions::new().create(true).append(true).open(&log);
        let file = file.with_context(|| log.display().to_string())?;
        let out = if events.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut command = Command::new(program);
        // Through a pipe and from the root folder: a layer's process shall not read the model's name
        // off the path of its own log.
        command.args(flags).current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped());
        // A group of its own, so that Ctrl-C reaches only this process, which then ends all in order.
        command.process_group(0).env_clear().envs(environment());
        if events.is_some() {
            // The owner's process reads data and writes checkpoints, perhaps in an object store, and curves.
            command.envs(mixnn_place::store_settings());
            command.envs(std::env::vars().filter(|(name, _)| name.starts_with("MLFLOW_TRACKING_")));
        }
        let mut child =
            command.spawn().with_context(|| format!("starting {}", program.display()))?;
        let pid =
            child.id().and_then(|id| Pid::from_raw(id as i32)).context("a process without id")?;
        if let (Some(events), Some(out)) = (events, child.stdout.take()) {
            tokio::spawn(forward(out, events));
        }
        let copying = child.stderr.take().map(|err| tokio::spawn(copy(err, file.into())));
        let exits = self.exits_send.clone();
        let watch = tokio::spawn(watch(child, name.to_owned(), log, copying, exits));
        self.running.retain(|r| !r.watch.is_finished());
        self.running.push(Running { name: name.to_owned(), pid, watch });
        Ok(())
    }

    /// Names and process ids of those that run.
    pub fn pids(&self) -> impl Iterator<Item = (&str, i32)> {
        let running = self.running.iter().filter(|r| !r.watch.is_finished());
        running.map(|r| (r.name.as_str(), r.pid.as_raw_nonzero().get()))
    }

    /// Asks a process to end, and waits for it so long.
    pub async fn ask_to_end(&mut self, name: &str, within: Duration) {
        let ours = |r: &&mut Running| r.name == name && !r.watch.is_finished();
        let Some(running) = self.running.iter_mut().find(ours) else { return };
        // Gone between the check and the signal: what was wanted.
        let _ = kill_process(running.pid, Signal::TERM);
        let _ = tokio::time::timeout(within, &mut running.watch).await;
        // A handle that has been waited for must not be waited for again.
        self.running.retain(|r| r.name != name || !r.watch.is_finished());
    }

    /// Ends a process at once.
    pub fn kill(&self, name: &str) {
        for running in self.running.iter().filter(|r| r.name == name && !r.watch.is_finished()) {
            // Gone between the check and the signal: what was wanted.
            let _ = kill_process(running.pid, Signal::KILL);
        }
    }

    /// The next process that ends.
    pub async fn next_exit(&mut self) -> Exit {
        match self.exits.recv().await {
            Some(exit) => exit,
            // Not while this holds a sender.
            None => std::future::pending().await,
        }
    }

    /// Asks every process to end, and ends those that do not.
    pub async fn end_all(&mut self) {
        for signal in [Signal::TERM, Signal::KILL] {
            self.running.retain(|r| !r.watch.is_finished());
            for running in &self.running {
                // Gone between the check and the signal: what was wanted.
                let _ = kill_process(running.pid, signal);
            }
            let all = async {
                for running in &mut self.running {
                    let _ = (&mut running.watch).await;
                }
            };
            if tokio::time::timeout(GRACE, all).await.is_ok() {
                break;
            }
        }
        self.running.clear();
    }
}

/// Copies a process's log until it ends.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: tokio::fs::File) {
    // A full disk costs the log, not the training.
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.flush().await;
}

async fn watch(
    mut child: Child,
    name: String,
    log: PathBuf,
    copying: Option<tokio::task::JoinHandle<()>>,
    exits: mpsc::UnboundedSender<Exit>,
) {
    let (how, in_order, by_signal) = match child.wait().await {
        Ok(status) => (status.to_string(), status.success(), status.signal().is_some()),
        Err(error) => (error.to_string(), false, false),
    };
    if let Some(copying) = copying {
        let _ = copying.await;
    }
    let _ = exits.send(Exit { name, how, in_order, by_signal, log });
}

/// Reads events line by line; what is none is left out.
async fn forward(out: impl AsyncRead + Unpin, events: mpsc::Sender<Event>) {
    let mut reader = BufReader::new(out);
    loop {
        let mut line = Vec::new();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                if let Ok(event) = serde_json::from_slice(&line)
                    && events.send(event).await.is_err()
                {
                    return;
                }
            }
        }
    }
}

/// Runs a process that does one thing.
///
/// # Errors
/// What it said when it failed.
pub async fn once(program: &Path, flags: Vec<OsString>) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(flags).arg("--die-with-parent").current_dir("/").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env_clear().envs(environment()).envs(mixnn_place::store_settings());
    let done = command.output().await;
    let done = done.with_context(|| format!("starting {}", program.display()))?;
    if done.status.success() {
        return Ok(());
    }
    let said = |line: &[u8]| match serde_json::from_slice(line) {
        Ok(Event::Failed(failed)) => Some(failed.message),
        _ => None,
    };
    let message = done.stdout.split(|b| *b == b'\n').find_map(said);
    anyhow::bail!(message.unwrap_or_else(|| format!("{} {}", program.display(), done.status)))
}

/// All that a child gets of the environment: the numeric profile, logs, and where libraries are.
fn environment() -> Vec<(OsString, OsString)> {
    let profile = [
        ("ATEN_CPU_CAPABILITY", "avx2"),
        ("OMP_NUM_THREADS", "1"),
        ("NVIDIA_TF32_OVERRIDE", "0"),
        ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
    ];
    let mut all: Vec<(OsString, OsString)> =
        profile.iter().map(|(name, value)| (name.into(), value.into())).collect();
    for name in ["MIXNN_LOG", "LD_LIBRARY_PATH"] {
        if let Some(value) = std::env::var_os(name) {
            all.push((name.into(), value));
        }
    }
    all
}
