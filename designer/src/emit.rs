//! Lines of what happens, on standard output.

use mixnn_events::Event;
use std::io::Write;

/// Writes events, one JSON object a line, each flushed.
pub struct Emitter<W>(W);

impl<W: Write> Emitter<W> {
    /// An emitter to `out`.
    pub const fn new(out: W) -> Self {
        Self(out)
    }

    /// Writes an event. A reader that has gone away must not stop the training.
    pub fn emit(&mut self, event: &Event) {
        let line = serde_json::to_string(event).unwrap_or_default();
        let _ = writeln!(self.0, "{line}").and_then(|()| self.0.flush());
    }
}
