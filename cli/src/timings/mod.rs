//! Where the time of steps went: a table, a picture of one step, a trace of all.

mod path;
mod picture;
mod summary;
mod trace;

use crate::args::{Format, RunArgs};
use crate::output;
use crate::run::{MODEL, record_of};
use anyhow::{Context, bail};
use mixnn_events::{History, Plan, Times};
use std::collections::BTreeMap;
use std::path::Path;

/// What the picture is called, in the run's folder.
const PICTURE: &str = "timings.svg";

/// All that is known of a run's times.
struct Timings {
    /// The designer, then the layers, input first.
    names: Vec<String>,
    steps: BTreeMap<u64, Times>,
    /// From each step to the next, in milliseconds.
    periods: BTreeMap<u64, f64>,
}

/// Prints where the time of a run's steps went, draws it, and writes it as a trace where that is asked for.
pub fn tell(args: &RunArgs, folder: &Path) -> anyhow::Result<()> {
    let record = record_of(folder, MODEL);
    let history = mixnn_events::read(&record).with_context(|| record.display().to_string())?;
    let timings = Timings::of(history)?;
    let text = summary::draw(&timings);
    match args.model.output {
        Format::Text => output::line(text),
        // The result is one value.
        Format::Json | Format::Yaml => output::note(text),
    }
    let picture = folder.join(PICTURE);
    std::fs::write(&picture, picture::draw(&timings))
        .with_context(|| picture.display().to_string())?;
    output::note(format!("one step as a picture: {}", picture.display()));
    if let Some(path) = &args.times.trace {
        trace::write(&timings, path).with_context(|| path.display().to_string())?;
        output::note(format!("all steps, for ui.perfetto.dev: {}", path.display()));
    }
    Ok(())
}

impl Timings {
    fn of(history: History) -> anyhow::Result<Self> {
        let Some(Plan { layers, .. }) = history.plan else { bail!("the run has no plan") };
        let names: Vec<String> = std::iter::once("designer".to_owned()).chain(layers).collect();
        let mut steps = history.times;
        // Of another number of layers than the plan's: not of this run.
        steps.retain(|_, times| times.rows.len() == names.len());
        if steps.is_empty() {
            bail!("the run's record says of no step where its time went");
        }
        let periods = history.steps.values().map(|step| (step.step, step.milliseconds)).collect();
        Ok(Self { names, steps, periods })
    }

    /// The step that took the median time, of those after the first tenth: it stands for the others.
    fn typical(&self) -> Option<&Times> {
        let mut known: Vec<(f64, &Times)> = self
            .steps
            .values()
            .skip(self.steps.len() / 10)
            .filter_map(|times| Some((*self.periods.get(&times.step)?, times)))
            .collect();
        known.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let middle = known.get(known.len() / 2).map(|(_, times)| *times);
        middle.or_else(|| self.steps.values().next_back())
    }
}

/// The median, if there is one.
fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}
