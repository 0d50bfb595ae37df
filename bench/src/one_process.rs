//! The same model in one process, with as many threads and parts of a batch as suit it.

use anyhow::Context;
use mixnn_designer::{Emitter, Sources, prepare, run_reference};
use mixnn_nn::OwnerSecret;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How to time a model.
#[derive(clap::Args)]
pub struct Args {
    /// The MixNNModel
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Threads within operations
    #[arg(long, default_value_t = 1)]
    pub threads: i32,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Timed {
    median_step_ms: f64,
}

/// Trains, and writes the time of a step to standard output.
pub fn run(args: &Args) -> anyhow::Result<()> {
    mixnn_nn::profile::set_threads(args.threads);
    let model = mixnn_crds::parse_file(&args.file)?;
    let sources = Sources { file: &args.file, layers: None, data: None };
    let owner = OwnerSecret::from_bytes([1; 32]);
    let prepared = prepare(model.spec, sources, owner, &mut |_| {})?;
    let outcome = run_reference(&prepared, None, None, &mut Emitter::new(std::io::sink()))?;
    let timed = Timed { median_step_ms: outcome.median_step_ms };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&timed)?)?;
    Ok(())
}

/// Times a model's file in a process of its own; gives milliseconds a step.
pub fn time(file: &Path, threads: u32) -> anyhow::Result<f64> {
    let output = Command::new(std::env::current_exe()?)
        .args(["one-process", "--threads", &threads.to_string(), "--file"])
        .arg(file)
        .env("ATEN_CPU_CAPABILITY", "avx2")
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let timed: Timed = serde_json::from_slice(&output.stdout).with_context(|| said)?;
    Ok(timed.median_step_ms)
}
