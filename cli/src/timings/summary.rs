//! The table: what each process did in a step, and how long messages were on their way.

use super::path::{longest, sender};
use super::{Timings, median};
use crate::table::{align, new_table};
use mixnn_events::{Doing, Row, Sums};
use std::fmt::Write;

type Part = (&'static str, fn(&Sums) -> f64);

/// What a process does in a step.
const PARTS: [Part; 6] = [
    ("batches", |sums| sums.inputs),
    ("forward", |sums| sums.forward),
    ("backward", |sums| sums.backward),
    ("optimizer", |sums| sums.apply),
    ("sealing", |sums| sums.sealing),
    ("opening", |sums| sums.opening),
];

pub(super) fn draw(timings: &Timings) -> String {
    let period = median(timings.steps.keys().filter_map(|s| timings.periods.get(s).copied()));
    let mut out = format!(
        "where the time of a step goes: medians of {} steps, in ms ({} from step to step)\n{}\n{}\n",
        timings.steps.len(),
        period.map_or("?".into(), |ms| format!("{ms:.2}")),
        processes(timings),
        lanes(timings),
    );
    // Writing to a String cannot fail.
    let _ = write!(out, "{}", way(timings));
    out
}

fn processes(timings: &Timings) -> comfy_table::Table {
    let parts = PARTS.iter().map(|(name, _)| *name);
    let header: Vec<&str> =
        std::iter::once("").chain(parts).chain(["waiting", "clock ±"]).collect();
    let mut table = new_table(&header);
    for (i, name) in timings.names.iter().enumerate() {
        let rows = || timings.steps.values().map(|times| (times.step, &times.rows[i]));
        let of = |part: fn(&Sums) -> f64| shown(median(rows().map(|(_, row)| part(&row.sums))));
        let waiting = |(step, row): (u64, &Row)| {
            Some((timings.periods.get(&step)? - row.sums.computing()).max(0.0))
        };
        let mut cells = vec![name.clone()];
        cells.extend(PARTS.iter().map(|(_, part)| of(*part)));
        cells.push(shown(median(rows().filter_map(waiting))));
        cells.push(shown(median(rows().filter_map(|(_, row)| row.error))));
        table.add_row(cells);
    }
    align(&mut table, header.len() - 1);
    table
}

/// Wire times between neighbours, forward and backward.
fn lanes(timings: &Timings) -> comfy_table::Table {
    let mut table = new_table(&["on the wire", "forward", "backward", "±"]);
    let rows = timings.names.len();
    for to in 1..=rows {
        let (from, to) = (to - 1, to % rows);
        let forward = wire(timings, to, Doing::ForwardCame);
        // Nobody needs the gradient by the data: no lane leads back from the first layer.
        let backward = if from == 0 { Some(0.0) } else { wire(timings, from, Doing::BackwardCame) };
        let error =
            |row: usize| median(timings.steps.values().filter_map(|times| times.rows[row].error));
        let both = error(from).zip(error(to)).map(|(a, b)| a + b);
        let names = format!("{} – {}", timings.names[from], timings.names[to]);
        table.add_row([names, shown(forward), shown(backward), shown(both)]);
    }
    align(&mut table, 3);
    table
}

/// The median from the last cell's sealing to its opening, of messages that came to a row.
fn wire(timings: &Timings, row: usize, came: Doing) -> Option<f64> {
    let of = |times: &mixnn_events::Times| -> Vec<f64> {
        let spans = times.rows[row].spans.iter().filter(|span| span.doing == came);
        let wire = |span: &mixnn_events::Span| {
            let (_, sent) = sender(times, row, span)?;
            Some(span.at + span.took - sent.at - sent.took)
        };
        spans.filter_map(wire).collect()
    };
    median(timings.steps.values().flat_map(of))
}

fn way(timings: &Timings) -> String {
    let ways: Vec<_> = timings.steps.values().filter_map(longest).collect();
    let of = |part: fn(&super::path::Way) -> f64| median(ways.iter().map(part)).unwrap_or_default();
    format!(
        "the longest way through a step, from its inputs to the last layer that applies it: {:.2} ms; computing {:.2}, sealing {:.2}, wire {:.2}, waiting for a processor {:.2}",
        of(super::path::Way::sum),
        of(|way| way.compute),
        of(|way| way.seal),
        of(|way| way.wire),
        of(|way| way.wait),
    )
}

fn shown(milliseconds: Option<f64>) -> String {
    match milliseconds {
        None => "?".into(),
        Some(0.0) => "–".into(),
        Some(ms) => format!("{ms:.2}"),
    }
}
