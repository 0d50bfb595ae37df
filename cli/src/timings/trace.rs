//! All times in the Trace Event format that Perfetto and Chrome read.
//!
//! A process is a process there, with threads for what it computes, what comes in on each lane and what it
//! seals; a message is a flow from its sealing to its coming.

use super::Timings;
use super::path::sender;
use mixnn_events::{Doing, Span, Times};
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// The format's own names: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.
#[derive(Serialize)]
struct Event {
    name: &'static str,
    /// `X`: from when to when; `M`: a name; `s`, `f`: from where to where.
    ph: &'static str,
    pid: usize,
    tid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    /// In microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// A flow ends at the span that holds it, not at the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<serde_json::Value>,
}

const THREADS: [&str; 4] = ["computes", "comes forward", "comes backward", "seals"];

const fn thread(doing: Doing) -> usize {
    match doing {
        Doing::ForwardCame => 1,
        Doing::BackwardCame => 2,
        Doing::ForwardSealed | Doing::BackwardSealed => 3,
        _ => 0,
    }
}

pub(super) const fn name(doing: Doing) -> &'static str {
    match doing {
        Doing::Forward => "forward",
        Doing::Backward => "backward",
        Doing::Apply => "optimizer",
        Doing::Loss => "loss",
        Doing::Inputs => "batch",
        Doing::ForwardCame => "activations come",
        Doing::BackwardCame => "gradients come",
        Doing::ForwardSealed => "activations sealed",
        Doing::BackwardSealed => "gradients sealed",
    }
}

pub(super) fn write(timings: &Timings, path: &Path) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut between = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
    let mut put = |event: &Event| -> std::io::Result<()> {
        file.write_all(std::mem::replace(&mut between, ",\n").as_bytes())?;
        serde_json::to_writer(&mut file, event).map_err(Into::into)
    };
    for (pid, process) in timings.names.iter().enumerate() {
        put(&named("process_name", process, pid, 0))?;
        for (tid, thread) in THREADS.iter().enumerate() {
            put(&named("thread_name", thread, pid, tid))?;
        }
    }
    let zero = timings.steps.values().map(|times| times.begun).fold(f64::MAX, f64::min);
    for times in timings.steps.values() {
        for (pid, row) in times.rows.iter().enumerate() {
            for span in &row.spans {
                put(&slice(times, zero, pid, span))?;
                for event in flow(times, zero, pid, span).into_iter().flatten() {
                    put(&event)?;
                }
            }
        }
    }
    file.write_all(b"\n]}\n")?;
    file.flush()
}

fn named(name: &'static str, is: &str, pid: usize, tid: usize) -> Event {
    Event { args: Some(serde_json::json!({ "name": is })), ..bare(name, "M", pid, tid) }
}

const fn bare(name: &'static str, ph: &'static str, pid: usize, tid: usize) -> Event {
    Event { name, ph, pid, tid, cat: None, ts: None, dur: None, id: None, bp: None, args: None }
}

/// To the microsecond, from the first step on.
fn ts(times: &Times, zero: f64, at: f64) -> f64 {
    ((times.begun - zero + at) * 1e3).round()
}

fn slice(times: &Times, zero: f64, pid: usize, span: &Span) -> Event {
    let error = times.rows[pid].error;
    Event {
        cat: Some("step"),
        ts: Some(ts(times, zero, span.at)),
        dur: Some((span.took * 1e3).round()),
        args: Some(serde_json::json!({
            "step": times.step, "microBatch": span.micro_batch, "clockErrorMs": error,
        })),
        ..bare(name(span.doing), "X", pid, thread(span.doing))
    }
}

/// The way of a message that came.
fn flow(times: &Times, zero: f64, pid: usize, came: &Span) -> Option<[Event; 2]> {
    if !matches!(came.doing, Doing::ForwardCame | Doing::BackwardCame) {
        return None;
    }
    let (from, sent) = sender(times, pid, came)?;
    let lane = if came.doing == Doing::ForwardCame { "activations" } else { "gradients" };
    let id = format!("{lane} {from} {} {}", times.step, came.micro_batch);
    let end = |ph, pid, span: &Span, bp| Event {
        cat: Some("wire"),
        ts: Some(ts(times, zero, span.at)),
        id: Some(id.clone()),
        bp,
        ..bare(lane, ph, pid, thread(span.doing))
    };
    Some([end("s", from, &sent, None), end("f", pid, came, Some("e"))])
}
