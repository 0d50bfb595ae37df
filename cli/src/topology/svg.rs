//! The pipeline as an SVG picture, light or dark as its viewer is.

use super::facts::{LayerFacts, Topology, bytes, cells_of, flops};
use crate::markup::{begin_svg, escape};
use std::fmt::Write;

const WIDTH: u32 = 640;
const BOX: u32 = 76;
const GAP: u32 = 56;
const MARGIN: u32 = 24;
/// Width of the bar for all work.
const BAR: f64 = 160.0;

const STYLE: &str = "
  text { font: 14px system-ui, sans-serif; fill: #1b1f24 }
  .name { font-weight: 600 } .small { font-size: 12px; fill: #57606a }
  .pod { fill: #eef4ff; stroke: #4f7cd1 } .owner { fill: #eafbea; stroke: #3d8b40 }
  .bar { fill: #4f7cd1 } .lane { stroke: #57606a; stroke-width: 1.5; fill: none }
  .head { fill: #57606a } .page { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9aa4af } .page { fill: #0d1117 }
    .pod { fill: #16233b } .owner { fill: #14291a } .lane { stroke: #9aa4af } .head { fill: #9aa4af }
  }";

/// Draws the pipeline.
pub(super) fn draw(topology: &Topology) -> String {
    let boxes = topology.layers.len() as u32 + 2;
    let height = 2 * MARGIN + boxes * BOX + (boxes - 1) * GAP;
    let title = "The model as a pipeline of layer pods";
    let mut out = begin_svg(WIDTH, height, title, STYLE);
    let mut y = MARGIN;
    owner(&mut out, y, "designer: data, labels, loss");
    y += BOX;
    lane(&mut out, y, &topology.input, topology.input_bytes, topology.input_cells);
    for layer in &topology.layers {
        y += GAP;
        pod(&mut out, y, layer);
        y += BOX;
        lane(&mut out, y, &layer.output, layer.message_bytes, layer.message_cells);
    }
    owner(&mut out, y + GAP, "designer");
    out.push_str("</svg>\n");
    out
}

fn frame(out: &mut String, y: u32, class: &str) {
    let width = WIDTH - 2 * MARGIN;
    let _ = writeln!(
        out,
        "<rect class=\"{class}\" x=\"{MARGIN}\" y=\"{y}\" width=\"{width}\" height=\"{BOX}\" rx=\"8\"/>"
    );
}

fn text(out: &mut String, x: u32, y: u32, class: &str, content: &str) {
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{}</text>", escape(content));
}

fn owner(out: &mut String, y: u32, name: &str) {
    frame(out, y, "owner");
    text(out, MARGIN + 16, y + BOX / 2 + 5, "name", name);
}

fn pod(out: &mut String, y: u32, layer: &LayerFacts) {
    frame(out, y, "pod");
    let x = MARGIN + 16;
    text(out, x, y + 22, "name", &layer.name);
    text(out, x, y + 42, "", &shortened(&layer.ops.join(" → ")));
    let counts = format!(
        "{} parameters · {} FLOPs · {} of memory",
        layer.parameters,
        flops(layer.flops),
        bytes(layer.memory_bytes)
    );
    text(out, x, y + 62, "small", &counts);
    let (width, x) = ((BAR * layer.share).max(1.0), WIDTH - MARGIN - 16 - BAR as u32);
    let _ = writeln!(
        out,
        "<rect class=\"bar\" x=\"{x}\" y=\"{}\" width=\"{width:.1}\" height=\"10\" rx=\"2\"/>",
        y + 14
    );
    text(out, x, y + 40, "small", &format!("{:.0} % of the work", 100.0 * layer.share));
}

fn lane(out: &mut String, y: u32, shape: &str, size: u64, cells: usize) {
    let (x, end) = (WIDTH / 2, y + GAP);
    let _ = writeln!(out, "<path class=\"lane\" d=\"M{x} {y} V{}\"/>", end - 8);
    let _ = writeln!(out, "<path class=\"head\" d=\"M{} {} h12 l-6 8 z\"/>", x - 6, end - 9);
    let label = format!("{shape} · {} · {}", bytes(size), cells_of(cells));
    text(out, x + 14, y + GAP / 2 + 4, "small", &label);
}

/// What fits into a box.
fn shortened(text: &str) -> String {
    const MOST: usize = 56;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain(" ..".chars()).collect()
}
