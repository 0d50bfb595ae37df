//! Lines of what happens, on standard output, and whoever else is told.

use mixnn_events::{Event, Record};
use std::io::Write;

type Observer = dyn FnMut(&Event);

/// Writes events, one JSON object a line, each flushed.
pub struct Emitter<W> {
    out: W,
    observers: Vec<Box<Observer>>,
    record: Option<Record>,
}

impl<W: Write> Emitter<W> {
    /// An emitter to `out`.
    pub const fn new(out: W) -> Self {
        Self { out, observers: Vec::new(), record: None }
    }

    /// From now on every event is kept in this record too.
    pub fn record(&mut self, record: Record) {
        self.record = Some(record);
    }

    /// From now on `observer` is told every event too, before it is written.
    pub fn observe(&mut self, observer: impl FnMut(&Event) + 'static) {
        self.observers.push(Box::new(observer));
    }

    /// Keeps an event in the record, and tells nobody else of it.
    pub fn keep(&mut self, event: &Event) {
        let Some(record) = &mut self.record else { return };
        // A full disk costs the record, not the training.
        if let Err(error) = record.keep(event) {
            tracing::warn!(%error, "the record of the run ends here: it cannot be written");
            self.record = None;
        }
    }

    /// Writes an event. A reader that has gone away must not stop the training.
    pub fn emit(&mut self, event: &Event) {
        self.observers.iter_mut().for_each(|observer| observer(event));
        self.keep(event);
        let line = serde_json::to_string(event).unwrap_or_default();
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }
}
