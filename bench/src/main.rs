//! `mixnn-bench`: times training over layer processes and mix relays beside one process, and writes the
//! figures.

mod faults;
mod machine;
mod measure;
mod models;
mod one_process;
mod page;
mod peer;
mod picture;
mod processes;
mod report;

use anyhow::Context;
use clap::{Parser, Subcommand};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Times training over layer processes and mix relays beside one process of the same model.
///
/// Everything of a row is measured in turns within one run; figures are medians over the rounds. Nothing
/// else should run on the machine.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  mixnn-bench --out docs/performance.json --page docs/performance.md --picture docs/performance.svg
  mixnn-bench --quick --out /tmp/figures.json        a look, in two minutes
  mixnn-bench --from docs/performance.json --page docs/performance.md   the page again, nothing measured"
)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The figures
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The page whose tables are written anew
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// The picture
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Figures of an earlier run: nothing is measured
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    from: Option<PathBuf>,
    /// Rounds, of which each figure is the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// A peer to time LeNet-5 with, in the same rounds: a command that takes --batch and --steps
    #[arg(long, value_name = "COMMAND")]
    peer: Option<String>,
    /// Measure all but the curves, which take most of the time: the file of --out keeps those it has
    #[arg(long, requires = "out")]
    keep_curves: bool,
    /// One round, few points
    #[arg(long)]
    quick: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Time a model in this process alone, in the way its arguments say
    OneProcess(one_process::Args),
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(Command::OneProcess(args)) = &args.command {
        return one_process::run(args);
    }
    let kept = if args.keep_curves { report_of(args.out.as_deref())?.curves } else { Vec::new() };
    let mut report = if let Some(path) = &args.from {
        report_of(Some(path))?
    } else {
        let rounds = if args.quick { 1 } else { args.rounds };
        measure::all(rounds, args.quick, !args.keep_curves, args.peer.as_deref())?
    };
    report.curves.extend(kept);
    if let Some(path) = &args.out {
        write(path, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(path) = &args.picture {
        write(path, &picture::svg(&report.curves)?)?;
    }
    if let Some(path) = &args.page {
        let old = String::from_utf8(read(path)?)?;
        let new = page::rewrite(&old, &report);
        write(path, &new.with_context(|| format!("{} has no place for tables", path.display()))?)?;
    }
    std::io::stdout().write_all(page::tables(&report).as_bytes())?;
    Ok(())
}

/// Figures of an earlier run.
fn report_of(path: Option<&Path>) -> anyhow::Result<report::Report> {
    serde_json::from_slice(&read(path.context("no file of figures")?)?)
        .context("reading the figures")
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
