//! The pipeline as text.

use super::facts::{Topology, bytes, cells_of, flops};
use crate::output;
use std::fmt::Write;

/// Width of the bar for all work.
const BAR: f64 = 24.0;

/// Draws the ring from the designer to the designer.
pub(super) fn draw(topology: &Topology) -> String {
    let mut out = String::from("designer (data, labels, loss)\n");
    edge(&mut out, &topology.input, topology.input_bytes, topology.input_cells);
    for layer in &topology.layers {
        let bar = "█".repeat((BAR * layer.share).round() as usize);
        let _ = writeln!(out, "┌─ {}", output::strong(&layer.name));
        let _ = writeln!(out, "│  {}", layer.ops.join(" → "));
        let _ = writeln!(
            out,
            "│  {} parameters, {} FLOPs, {} of memory {bar}",
            layer.parameters,
            flops(layer.flops),
            bytes(layer.memory_bytes)
        );
        out.push_str("└─\n");
        edge(&mut out, &layer.output, layer.message_bytes, layer.message_cells);
    }
    out.push_str("designer\n");
    let _ = write!(
        out,
        "each arrow is a lane over {} of {} mix relays, and so is the way of the gradient back",
        topology.hops, topology.relays
    );
    out
}

fn edge(out: &mut String, shape: &str, size: u64, cells: usize) {
    let _ = writeln!(out, "   │  {shape}, {} in {}\n   ▼", bytes(size), cells_of(cells));
}
