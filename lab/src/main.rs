//! `mixnn-lab`: measures what cover traffic hides, and writes the figures.

use anyhow::Context;
use clap::Parser;
use mixnn_lab::report::{Extent, Report, run};
use mixnn_lab::{page, picture};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Attacks lanes under every regime; writes figures and a picture.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  mixnn-lab --out docs/privacy.json --picture docs/privacy.svg --page docs/privacy.md"
)]
struct Args {
    /// The figures.
    #[arg(long, value_name = "FILE", required_unless_present = "from")]
    out: Option<PathBuf>,
    /// The picture.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// The page whose tables are written anew.
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Figures of an earlier run: nothing is measured, only picture and page are written
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    from: Option<PathBuf>,
    /// Few trials, for a look; their intervals are wide.
    #[arg(long)]
    quick: bool,
    /// Lanes that cross at the relay [default: 8,16; quick: 8]
    #[arg(long, value_delimiter = ',', value_name = "K")]
    lanes: Vec<usize>,
    /// Steps observed [default: 2,10,100; quick: 2,10]
    #[arg(long, value_delimiter = ',', value_name = "N")]
    steps: Vec<usize>,
    /// Trials of each experiment under constant rate with 8 lanes [default: 2000; quick: 40]
    #[arg(long, value_name = "N")]
    trials: Option<usize>,
    /// Of all trials.
    #[arg(long, default_value_t = 20)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let report = match &args.from {
        Some(path) => serde_json::from_str(&read(path)?)?,
        None => measure(&args)?,
    };
    if let Some(path) = &args.out {
        write(path, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(path) = &args.picture {
        let k = report.rows.first().map_or(8, |row| row.k);
        write(path, &picture::svg(&report, k))?;
    }
    if let Some(path) = &args.page {
        let new = page::rewrite(&read(path)?, &report);
        write(path, &new.with_context(|| format!("{}: no marks", path.display()))?)?;
    }
    Ok(())
}

fn measure(args: &Args) -> anyhow::Result<Report> {
    let mut extent = if args.quick { Extent::bounded() } else { Extent::full() };
    if !args.lanes.is_empty() {
        extent.lanes.clone_from(&args.lanes);
    }
    if !args.steps.is_empty() {
        extent.steps.clone_from(&args.steps);
    }
    if let Some(trials) = args.trials {
        extent.covered = trials;
    }
    let mut log = std::io::stderr();
    run(&extent, args.seed, |what| {
        // Progress that cannot be written is no reason to stop.
        let _ = writeln!(log, "{what}");
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| path.display().to_string())
}
