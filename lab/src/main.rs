//! `mixnn-lab`: measures what cover traffic hides, and writes the figures.

use anyhow::Context;
use clap::Parser;
use mixnn_lab::picture;
use mixnn_lab::report::{Extent, run};
use std::io::Write;
use std::path::PathBuf;

/// Attacks lanes under every regime; writes figures and a picture.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  mixnn-lab --out docs/privacy.json --picture docs/privacy.svg"
)]
struct Args {
    /// The figures.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The picture.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Few trials, for a look; their intervals are wide.
    #[arg(long)]
    quick: bool,
    /// Lanes that cross at the relay [default: 8,16; quick: 8]
    #[arg(long, value_delimiter = ',', value_name = "K")]
    lanes: Vec<usize>,
    /// Steps observed [default: 2,10,100; quick: 2,10]
    #[arg(long, value_delimiter = ',', value_name = "N")]
    steps: Vec<usize>,
    /// Of all trials.
    #[arg(long, default_value_t = 20)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut extent = if args.quick { Extent::bounded() } else { Extent::full() };
    if !args.lanes.is_empty() {
        extent.lanes = args.lanes;
    }
    if !args.steps.is_empty() {
        extent.steps = args.steps;
    }
    let mut log = std::io::stderr();
    let report = run(&extent, args.seed, |what| {
        // Progress that cannot be written is no reason to stop.
        let _ = writeln!(log, "{what}");
    })?;
    let json = serde_json::to_string_pretty(&report)? + "\n";
    std::fs::write(&args.out, json).with_context(|| args.out.display().to_string())?;
    if let Some(path) = &args.picture {
        std::fs::write(path, picture::svg(&report, extent.lanes[0]))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}
