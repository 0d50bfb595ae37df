//! Lines of what happens, on standard output, and whoever else is told.

use mixnn_events::Event;
use std::io::Write;

type Observer = dyn FnMut(&Event);

/// Writes events, one JSON object a line, each flushed.
pub struct Emitter<W> {
    out: W,
    observer: Option<Box<Observer>>,
}

impl<W: Write> Emitter<W> {
    /// An emitter to `out`.
    pub const fn new(out: W) -> Self {
        Self { out, observer: None }
    }

    /// From now on `observer` is told every event too, before it is written.
    pub fn observe(&mut self, observer: impl FnMut(&Event) + 'static) {
        self.observer = Some(Box::new(observer));
    }

    /// Writes an event. A reader that has gone away must not stop the training.
    pub fn emit(&mut self, event: &Event) {
        if let Some(observer) = &mut self.observer {
            observer(event);
        }
        let line = serde_json::to_string(event).unwrap_or_default();
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }
}
