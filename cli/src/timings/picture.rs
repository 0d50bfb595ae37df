//! One step as a picture, light or dark as its viewer is: a row for each process, a line for each message.

use super::path::sender;
use super::trace::name;
use super::{Timings, median};
use crate::markup::{begin_svg, escape};
use mixnn_events::{Doing, Span, Times};
use std::fmt::Write;

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 130.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 84.0;
const ROW: f64 = 52.0;
/// Height of what is computed, and of what comes and leaves above and below it.
const BAR: f64 = 20.0;
const THIN: f64 = 5.0;

const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #1b1f24 } .soft { fill: #57606a } .right { text-anchor: end } .middle { text-anchor: middle }
  .page { fill: #ffffff } .grid { stroke: #d0d7de } .row { fill: #f6f8fa }
  .forward { fill: #0072b2 } .backward { fill: #d55e00 } .apply { fill: #a6508a } .designer { fill: #007a5a } .cells { fill: #8c959f }
  .wire { fill: none; stroke-width: 1.2; opacity: .7 } .wire.forward { stroke: #0072b2 } .wire.backward { stroke: #d55e00 }
  .other { opacity: .25 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .soft { fill: #9aa4af } .page { fill: #0d1117 } .grid { stroke: #30363d } .row { fill: #161b22 }
    .forward { fill: #56b4e9 } .backward { fill: #f0a35e } .apply { fill: #d98cbf } .designer { fill: #2fbf93 }
    .wire.forward { stroke: #56b4e9; fill: none } .wire.backward { stroke: #f0a35e; fill: none }
  }";

const KEYS: [(&str, &str); 5] = [
    ("forward", "forward"),
    ("backward", "backward"),
    ("apply", "optimizer"),
    ("designer", "batches, losses"),
    ("cells", "opening (above) and sealing (below) of cells"),
];

/// Draws the step that stands for the others.
pub(super) fn draw(timings: &Timings) -> String {
    let Some(step) = timings.typical() else { return String::new() };
    let length = step.rows.iter().flat_map(|row| &row.spans).map(end).fold(0.1, f64::max);
    let drawing = Drawing { timings, step, scale: (WIDTH - LEFT - RIGHT) / length };
    let rows = timings.names.len() + 1;
    let height = TOP + rows as f64 * ROW + 56.0;
    let title = format!("Where the time of step {} went", step.step);
    let mut out = begin_svg(WIDTH, height, &title, STYLE);
    drawing.head(&mut out);
    drawing.axis(&mut out, length, TOP + rows as f64 * ROW);
    drawing.names(&mut out);
    drawing.wires(&mut out);
    // Steps overlap: what was done of those before and after it is there too, pale.
    let around = timings.steps.range(step.step.saturating_sub(2)..=step.step + 2);
    for (_, times) in around {
        drawing.bars(&mut out, times, length);
    }
    out.push_str("</svg>\n");
    out
}

struct Drawing<'a> {
    timings: &'a Timings,
    step: &'a Times,
    /// Pixels of a millisecond.
    scale: f64,
}

fn end(span: &Span) -> f64 {
    span.at + span.took
}

impl Drawing<'_> {
    fn x(&self, at: f64) -> f64 {
        LEFT + at * self.scale
    }

    /// The designer is there twice, as the ring's beginning and as its end.
    fn y(&self, row: usize, doing: Doing) -> f64 {
        let ends = matches!(doing, Doing::Loss | Doing::ForwardCame | Doing::BackwardSealed);
        let row = if row == 0 && ends { self.timings.names.len() } else { row };
        TOP + row as f64 * ROW
    }

    // Writing to a String cannot fail.
    fn head(&self, out: &mut String) {
        let errors = self.step.rows.iter().skip(1).filter_map(|row| row.error);
        let error = median(errors).map_or("?".into(), |ms| format!("{ms:.2}"));
        let _ = writeln!(
            out,
            "<text x=\"12\" y=\"24\">step {}: {:.2} ms after the one before; rows lie to each other within {error} ms (median)</text>",
            self.step.step,
            self.timings.periods.get(&self.step.step).copied().unwrap_or_default(),
        );
        let mut x = 12.0;
        for (class, says) in KEYS {
            let _ = writeln!(
                out,
                "<rect class=\"{class}\" x=\"{x}\" y=\"38\" width=\"14\" height=\"14\" rx=\"3\"/><text class=\"soft\" x=\"{}\" y=\"50\">{says}</text>",
                x + 20.0
            );
            x += 44.0 + 7.0 * says.len() as f64;
        }
        let _ = writeln!(
            out,
            "<text class=\"soft\" x=\"{x}\" y=\"50\">lines: messages over relays; pale: other steps</text>"
        );
    }

    fn axis(&self, out: &mut String, length: f64, bottom: f64) {
        let unit = tick(length);
        for i in 0..=(length / unit) as u32 {
            let at = f64::from(i) * unit;
            let x = self.x(at);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/><text class=\"soft middle\" x=\"{x:.1}\" y=\"{}\">{}</text>",
                bottom + 20.0,
                (at * 1e3).round() / 1e3
            );
        }
        let _ = writeln!(
            out,
            "<text class=\"soft middle\" x=\"{}\" y=\"{}\">ms</text>",
            f64::midpoint(LEFT, WIDTH - RIGHT),
            bottom + 42.0
        );
    }

    fn names(&self, out: &mut String) {
        let last = std::iter::once(&self.timings.names[0]);
        for (i, name) in self.timings.names.iter().chain(last).enumerate() {
            let y = TOP + i as f64 * ROW;
            let name: String = name.chars().take(17).collect();
            let _ = writeln!(
                out,
                "<rect class=\"row\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{}\" height=\"{BAR}\"/><text class=\"right\" x=\"{}\" y=\"{:.1}\">{}</text>",
                y + 14.0,
                WIDTH - LEFT - RIGHT,
                LEFT - 10.0,
                y + 29.0,
                escape(&name)
            );
        }
    }

    fn wires(&self, out: &mut String) {
        for (row, times) in self.step.rows.iter().enumerate() {
            for came in &times.spans {
                let class = match came.doing {
                    Doing::ForwardCame => "forward",
                    Doing::BackwardCame => "backward",
                    _ => continue,
                };
                let Some((from, sent)) = sender(self.step, row, came) else { continue };
                let (x1, x2) = (self.x(end(&sent)), self.x(end(came)));
                let (y1, y2) = (self.y(from, sent.doing), self.y(row, came.doing));
                let _ = writeln!(
                    out,
                    "<line class=\"wire {class}\" x1=\"{x1:.1}\" y1=\"{:.1}\" x2=\"{x2:.1}\" y2=\"{:.1}\"/>",
                    y1 + 24.0,
                    y2 + 24.0
                );
            }
        }
    }

    fn bars(&self, out: &mut String, times: &Times, length: f64) {
        let shift = times.begun - self.step.begun;
        let other = if times.step == self.step.step { "" } else { " other" };
        for (row, (process, of)) in self.timings.names.iter().zip(&times.rows).enumerate() {
            for span in &of.spans {
                let (from, to) = (span.at + shift, end(span) + shift);
                if to < 0.0 || from > length {
                    continue;
                }
                let (class, above, height) = form(span.doing);
                let (x, to) = (self.x(from.max(0.0)), self.x(to.min(length)));
                let _ = writeln!(
                    out,
                    "<rect class=\"{class}{other}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height}\"><title>{}: {} of micro-batch {}, step {}: {:.3} ms</title></rect>",
                    self.y(row, span.doing) + above,
                    (to - x).max(0.8),
                    escape(process),
                    name(span.doing),
                    span.micro_batch,
                    times.step,
                    span.took
                );
            }
        }
    }
}

/// Class, place below the row's top, height.
const fn form(doing: Doing) -> (&'static str, f64, f64) {
    match doing {
        Doing::Forward => ("forward", 14.0, BAR),
        Doing::Backward => ("backward", 14.0, BAR),
        Doing::Apply => ("apply", 14.0, BAR),
        Doing::Loss | Doing::Inputs => ("designer", 14.0, BAR),
        Doing::ForwardCame | Doing::BackwardCame => ("cells", 7.0, THIN),
        Doing::ForwardSealed | Doing::BackwardSealed => ("cells", 36.0, THIN),
    }
}

/// A round number of milliseconds, about a tenth of all.
fn tick(length: f64) -> f64 {
    let power = 10_f64.powf((length / 10.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| length / step <= 12.0).unwrap_or(length)
}
