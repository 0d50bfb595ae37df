//! The tables of `docs/performance.md`, written from the figures.

use crate::report::{Report, Training};
use std::fmt::Write;

const BEGIN: &str = "<!-- written by make bench: begin -->\n";
const END: &str = "<!-- written by make bench: end -->\n";

/// The page with its tables written anew. Nothing if it has no place for them.
pub fn rewrite(page: &str, report: &Report) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{}{END}{after}", tables(report)))
}

/// All tables.
pub fn tables(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, report);
    out
}

fn write(out: &mut String, report: &Report) -> std::fmt::Result {
    let m = &report.machine;
    writeln!(
        out,
        "\n{}, {} cores, {} MiB, Linux {}; load average before: {}. Medians of {} rounds.\n",
        m.processor, m.cores, m.memory, m.kernel, m.load_before, report.rounds
    )?;
    writeln!(
        out,
        "| model | over relays, ms a step | one process, same bits | times it | fastest one process | times it |\n| --- | --- | --- | --- | --- | --- |"
    )?;
    report.trainings.iter().try_for_each(|training| row(out, training))?;
    peers(out, report)?;
    writeln!(out, "\n| what | figure |\n| --- | --- |")?;
    writeln!(
        out,
        "| a relay, of cells, in a second of CPU | {:.2} GB |",
        report.relay.gigabytes_per_cpu_second
    )?;
    writeln!(out, "| a relay's memory at most | {:.0} MiB |", report.relay.memory)?;
    writeln!(out, "| a layer process' memory at most, LeNet-5 | {:.0} MiB |", report.layer_memory)?;
    writeln!(
        out,
        "| from the command to the first step, LeNet-5 | {:.0} ms |",
        report.first_step_ms
    )?;
    let more = (report.checkpoints_ratio - 1.0) * 100.0;
    writeln!(out, "| a checkpoint every 100 steps, LeNet-5: more time | {more:.1} % |")?;
    faults(out, report)?;
    for curve in &report.curves {
        let (xs, times): (Vec<String>, Vec<String>) =
            curve.points.iter().map(|(x, ms)| (x.to_string(), format!("{ms:.2}"))).unzip();
        let rule = " --- |".repeat(xs.len() + 1);
        let rounds = if curve.rounds == 1 { " (one round)" } else { "" };
        writeln!(out, "\n| {}{rounds} | {} |\n|{rule}", curve.over, xs.join(" | "))?;
        writeln!(out, "| ms a step | {} |", times.join(" | "))?;
    }
    writeln!(out)
}

fn faults(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.faults.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n| killed while LeNet-5 trains, batch 64 | to the end of the next step, median | most | steps made again |\n| --- | --- | --- | --- |"
    )?;
    report.faults.iter().try_for_each(|fault| {
        writeln!(
            out,
            "| {} | {:.0} ms | {:.0} ms | {} |",
            fault.what, fault.ms, fault.most_ms, fault.steps_again
        )
    })
}

/// Beside `torch.distributed.pipelining`, where it was timed.
fn peers(out: &mut String, report: &Report) -> std::fmt::Result {
    let mut timed = report.trainings.iter().filter_map(|t| Some((t, t.peer.as_ref()?))).peekable();
    if timed.peek().is_none() {
        return Ok(());
    }
    writeln!(
        out,
        "\n| model | torch.distributed.pipelining, plain text, ms a step | its one process | over relays, times it |\n| --- | --- | --- | --- |"
    )?;
    for (training, peer) in timed {
        writeln!(
            out,
            "| {} | {:.2} ({}, {} parts) | {:.2} | {:.2} |",
            training.model,
            peer.ms,
            peer.schedule,
            peer.micro_batches,
            peer.one_process_ms,
            peer.ratio
        )?;
    }
    Ok(())
}

fn row(out: &mut String, t: &Training) -> std::fmt::Result {
    let same = t.one_process.first().map_or(f64::NAN, |way| way.ms);
    let fastest = t.one_process.iter().min_by(|a, b| a.ms.total_cmp(&b.ms));
    let fastest = fastest.map_or_else(String::new, |way| {
        let parts = if way.micro_batches == 1 { "whole batches" } else { "the same parts" };
        format!("{:.2} ({} threads, {parts})", way.ms, way.threads)
    });
    writeln!(
        out,
        "| {} | {:.2} | {same:.2} | {:.2} | {fastest} | {:.2} |",
        t.model, t.over_relays_ms, t.ratio_same_bits, t.ratio
    )
}
