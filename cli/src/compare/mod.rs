//! `mixnn compare`: two trainings beside each other, from their records.

mod curve;
mod picture;

use crate::args::{CompareArgs, Format};
use crate::run::{MODEL, REFERENCE, record_of};
use crate::{output, table};
use anyhow::{Context, bail};
use curve::{Curves, POINTS, sparkline};
use mixnn_events::{History, Tested};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Characters of a curve in the terminal.
const WIDTH: usize = 32;

/// One of the two.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Side {
    name: String,
    record: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<u64>,
    /// Committed steps.
    steps: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_steps: Option<u64>,
    /// The last test.
    #[serde(skip_serializing_if = "Option::is_none")]
    tested: Option<Tested>,
    #[serde(skip_serializing_if = "Option::is_none")]
    median_step_ms: Option<f64>,
    train_seconds: f64,
    faults: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    curves: Curves,
}

/// Both.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Compared {
    a: Side,
    b: Side,
    /// Whether all weights are bit for bit the same, where both trainings have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    same_bits: Option<bool>,
    /// Steps that both records have.
    common_steps: usize,
    /// The first of them whose losses are not the same bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_different_step: Option<u64>,
    /// `a` by `b`, of median step times.
    #[serde(skip_serializing_if = "Option::is_none")]
    step_time_ratio: Option<f64>,
}

/// Compares two runs, or a run with its reference.
pub fn compare(args: &CompareArgs) -> anyhow::Result<()> {
    let [(a, first), (b, second)] = sides(args)?;
    let compared = Compared::new(a, b, &first, &second);
    if let Some(path) = &args.svg {
        write(path, &picture::svg(&compared)?)?;
    }
    if let Some(path) = &args.html {
        write(path, &picture::html(&compared)?)?;
    }
    match args.output {
        Format::Text => output::line(compared.draw()),
        other => output::value(other, &compared)?,
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    output::note(format!("the picture is in {}", path.display()));
    Ok(())
}

fn sides(args: &CompareArgs) -> anyhow::Result<[(Side, History); 2]> {
    let Some(other) = &args.other else {
        let of = |name, title: &str| {
            let record = record_of(&args.run, name);
            if !record.is_file() {
                bail!(
                    "{} is missing: a run has a reference beside it after mixnn run --compare; or name two runs",
                    record.display()
                );
            }
            Side::read(title.to_owned(), record)
        };
        return Ok([of(MODEL, "over mix relays")?, of(REFERENCE, "in one process")?]);
    };
    let (mut a, mut b) = (name_of(&args.run), name_of(other));
    if a == b {
        (a, b) = (args.run.display().to_string(), other.display().to_string());
    }
    Ok([Side::read(a, find(&args.run)?)?, Side::read(b, find(other)?)?])
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into())
}

/// The record that a path means.
pub fn find(path: &Path) -> anyhow::Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    let records = [MODEL, REFERENCE].map(|name| record_of(path, name));
    records.into_iter().find(|record| record.is_file()).with_context(|| {
        format!("{} holds no record of a training: name the folder of a run", path.display())
    })
}

impl Side {
    fn read(name: String, record: PathBuf) -> anyhow::Result<(Self, History)> {
        let history = mixnn_events::read(&record).with_context(|| record.display().to_string())?;
        if history.steps.is_empty() {
            bail!("{} has no step yet", record.display());
        }
        Ok((Self::new(name, record, &history), history))
    }

    fn new(name: String, record: PathBuf, history: &History) -> Self {
        let plan = history.plan.as_ref();
        Self {
            name,
            record,
            parameters: plan.map(|plan| plan.parameters),
            steps: history.steps.last_key_value().map_or(0, |(&step, _)| step),
            total_steps: plan.map(|plan| plan.steps),
            tested: history.last_test().cloned(),
            median_step_ms: history.median_step_ms(),
            train_seconds: history.train_seconds(),
            faults: history.faults.len(),
            digest: history.outcome.as_ref().map(|outcome| outcome.digest.clone()),
            curves: Curves::of(history, POINTS),
        }
    }
}

impl Compared {
    fn new(a: Side, b: Side, first: &History, second: &History) -> Self {
        let common = first.steps.iter().filter_map(|(n, s)| Some((*n, s, second.steps.get(n)?)));
        let different = |(_, a, b): &(u64, &mixnn_events::Step, &mixnn_events::Step)| {
            a.loss.to_bits() != b.loss.to_bits()
        };
        Self {
            same_bits: a.digest.as_ref().zip(b.digest.as_ref()).map(|(a, b)| a == b),
            common_steps: common.clone().count(),
            first_different_step: common.clone().find(different).map(|(n, ..)| n),
            step_time_ratio: a.median_step_ms.zip(b.median_step_ms).map(|(a, b)| a / b.max(1e-9)),
            a,
            b,
        }
    }

    /// Rows of names and both values.
    fn rows(&self) -> Vec<[String; 3]> {
        let mut rows = Vec::new();
        let mut row = |name: &str, of: &dyn Fn(&Side) -> Option<String>| {
            let (a, b) = (of(&self.a), of(&self.b));
            if a.is_some() || b.is_some() {
                rows.push([name.to_owned(), a.unwrap_or_default(), b.unwrap_or_default()]);
            }
        };
        for name in ["accuracy", "top-5", "perplexity", "loss"] {
            row(&format!("test {name}"), &|side| {
                let metrics = table::metrics(side.tested.as_ref()?);
                metrics.into_iter().find(|(other, _)| *other == name).map(|(_, value)| value)
            });
        }
        row("steps", &|side| {
            let of = side.total_steps.map_or_else(String::new, |total| format!(" of {total}"));
            Some(format!("{}{of}", side.steps))
        });
        row("ms a step (median)", &|side| side.median_step_ms.map(|ms| format!("{ms:.2}")));
        row("time in steps", &|side| Some(format!("{:.1} s", side.train_seconds)));
        row("faults", &|side| (side.faults > 0).then(|| side.faults.to_string()));
        row("parameters", &|side| side.parameters.map(|n| n.to_string()));
        row("digest of the weights", &|side| {
            Some(side.digest.as_ref()?.chars().take(16).collect())
        });
        rows
    }

    /// What the two have in common, in words, and whether that is good.
    fn verdicts(&self) -> Vec<(String, Option<bool>)> {
        let mut out = Vec::new();
        if let Some(ratio) = self.step_time_ratio {
            let (a, b) = (&self.a.name, &self.b.name);
            out.push((format!("a step of \"{a}\" takes {ratio:.2} x that of \"{b}\""), None));
        }
        out.push(match self.first_different_step {
            _ if self.common_steps == 0 => ("no step is in both records".into(), None),
            None => (
                format!(
                    "losses are equal, bit for bit, at all {} steps that both records have",
                    self.common_steps
                ),
                Some(true),
            ),
            Some(step) => (format!("losses differ from step {step} on"), Some(false)),
        });
        out.push(match self.same_bits {
            Some(true) => ("the weights are bit for bit the same".into(), Some(true)),
            Some(false) => ("the weights differ".into(), Some(false)),
            None => ("not both have ended: weights are not compared".into(), None),
        });
        out
    }

    fn draw(&self) -> String {
        let mut drawn = table::new_table(&["", &self.a.name, &self.b.name]);
        self.rows().into_iter().for_each(|row| {
            drawn.add_row(row);
        });
        let curves = [
            ("loss", curve::Which::Loss),
            ("accuracy", curve::Which::Accuracy),
            ("ms a step", curve::Which::Milliseconds),
        ];
        for (name, which) in curves {
            let both = [&self.a, &self.b].map(|side| side.curves.get(which));
            if both.iter().all(|curve| curve.len() > 1) {
                let [a, b] = sparkline(both, WIDTH);
                drawn.add_row([name.to_owned(), a, b]);
            }
        }
        table::align(&mut drawn, 2);
        let verdicts = self.verdicts().into_iter().map(|(text, good)| match good {
            Some(true) => output::good(&text),
            Some(false) => output::bad(&text),
            None => text,
        });
        std::iter::once(drawn.to_string()).chain(verdicts).collect::<Vec<_>>().join("\n")
    }
}
