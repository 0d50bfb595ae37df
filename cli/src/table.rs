//! The table at the end, and its JSON.

use crate::output;
use comfy_table::{CellAlignment, Table, presets};
use mixnn_events::{Outcome, Tested};
use serde::Serialize;

/// The distributed training, and the same in one process.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Over relays.
    pub distributed: Outcome,
    /// In one process.
    pub reference: Outcome,
    /// Distributed by reference, of median step times.
    pub step_time_ratio: f64,
    /// Whether all weights are bit for bit the same.
    pub same_bits: bool,
}

impl Comparison {
    /// Puts the two beside each other.
    pub fn new(distributed: Outcome, reference: Outcome) -> Self {
        let step_time_ratio = distributed.median_step_ms / reference.median_step_ms.max(1e-9);
        let same_bits = distributed.digest == reference.digest;
        Self { distributed, reference, step_time_ratio, same_bits }
    }

    /// Draws the table.
    pub fn draw(&self) -> String {
        let (d, r) = (&self.distributed, &self.reference);
        let mut table = new_table(&["", "over mix relays", "in one process"]);
        let mut row = |name: &str, of: &dyn Fn(&Outcome) -> String| {
            table.add_row([name.to_owned(), of(d), of(r)]);
        };
        rows(&mut row, &d.tested);
        align(&mut table, 2);
        let verdict = if self.same_bits {
            output::good("the weights are bit for bit the same")
        } else {
            output::bad("THE WEIGHTS DIFFER")
        };
        format!("{table}\n{:.2} x the time of one process a step; {verdict}", self.step_time_ratio)
    }
}

/// Draws one outcome.
pub fn draw_one(title: &str, outcome: &Outcome) -> String {
    let mut table = new_table(&["", title]);
    let mut row = |name: &str, of: CellOf<'_>| {
        table.add_row([name.to_owned(), of(outcome)]);
    };
    rows(&mut row, &outcome.tested);
    align(&mut table, 1);
    table.to_string()
}

/// Gives one cell of an outcome.
type CellOf<'a> = &'a dyn Fn(&Outcome) -> String;

/// The metrics that a test has, with their names.
pub fn metrics(tested: &Tested) -> Vec<(&'static str, String)> {
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    [
        ("accuracy", tested.accuracy().map(percent)),
        ("top-5", tested.top5_accuracy().map(percent)),
        ("perplexity", tested.perplexity.map(|p| format!("{p:.3}"))),
        ("loss", Some(format!("{:.6}", tested.loss))),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn rows(row: &mut dyn FnMut(&str, CellOf<'_>), of: &Tested) {
    for (name, _) in metrics(of) {
        let value = |o: &Outcome| {
            let found = metrics(&o.tested).into_iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| value).unwrap_or_default()
        };
        row(&format!("test {name}"), &value);
    }
    row("ms a step (median)", &|o| format!("{:.2}", o.median_step_ms));
    row("training", &|o| format!("{:.1} s, {} steps", o.train_seconds, o.steps));
    row("digest of the weights", &|o| o.digest.chars().take(16).collect());
}

/// A table in the house's form.
pub fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

/// The columns after the first hold numbers.
pub fn align(table: &mut Table, columns: usize) {
    for i in 1..=columns {
        if let Some(column) = table.column_mut(i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
