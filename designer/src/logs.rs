//! What layers write into their logs: taken from each at a bounded rate, and kept for a moment until it is told.

use crate::Emitter;
use crate::session::Session;
use mixnn_events::{Event, Said};
use mixnn_protocol::journal::{Entry, Journal, Level};
use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

/// Lines that may wait to be told, of all layers together.
const WAITING: usize = 4096;
/// Reports of one layer that are taken at once, and how long one takes the place of another. A layer of ours sends
/// one a second at the most.
const BURST: u32 = 8;
const EVERY: Duration = Duration::from_millis(800);

/// Lines that have not been told.
pub(crate) struct Logs {
    waiting: VecDeque<(usize, Entry, Instant)>,
    /// Of each layer: when it would have used up what it may send.
    due: Vec<Option<Instant>>,
}

impl Logs {
    pub(crate) fn new(layers: usize) -> Self {
        Self { waiting: VecDeque::new(), due: vec![None; layers] }
    }

    /// Takes what a layer's pod says of itself. What is out of bounds, or too much, is dropped.
    pub(crate) fn take(&mut self, layer: usize, journal: Journal, now: Instant) {
        let Some(due) = self.due.get_mut(layer) else { return };
        let next = due.map_or(now, |due| due.max(now)) + EVERY;
        if next > now + BURST * EVERY || !journal.is_bounded() {
            return;
        }
        *due = Some(next);
        if journal.left_out > 0 {
            let text = format!("{} lines before this one had no place", journal.left_out);
            self.waiting.push_back((layer, Entry { level: Level::Warn, before: 0, text }, now));
        }
        self.waiting.extend(journal.lines.into_iter().map(|line| (layer, line, now)));
        while self.waiting.len() > WAITING {
            self.waiting.pop_front();
        }
    }
}

impl Session<'_> {
    /// What layers have written into their logs since this was asked last.
    pub(crate) fn said(&mut self) -> Vec<Said> {
        let waiting = std::mem::take(&mut self.mailbox.logs.waiting);
        let said = |(layer, entry, came): (usize, Entry, Instant)| {
            let waited = u32::try_from(came.elapsed().as_millis()).unwrap_or(u32::MAX);
            let level = match entry.level {
                Level::Info => "info",
                Level::Warn => "warn",
                Level::Error => "error",
            };
            Said {
                layer: self.layer_name(layer),
                level: level.to_owned(),
                before: entry.before.saturating_add(waited),
                text: entry.text,
            }
        };
        waiting.into_iter().map(said).collect()
    }

    /// Keeps it in the record.
    pub(crate) fn hear<W: Write>(&mut self, emit: &mut Emitter<W>) {
        self.said().into_iter().for_each(|said| emit.keep(&Event::Said(said)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(text: &str) -> Journal {
        let line = Entry { level: Level::Info, before: 0, text: text.to_owned() };
        Journal { lines: vec![line], left_out: 0 }
    }

    #[test]
    fn a_layer_that_talks_too_much_is_not_heard_and_others_are() {
        let (mut logs, now) = (Logs::new(2), Instant::now());
        (0..1000).for_each(|_| logs.take(0, journal("again"), now));
        assert_eq!(logs.waiting.len(), BURST as usize);
        logs.take(1, journal("else"), now);
        logs.take(1, journal("no\nline"), now);
        assert_eq!(logs.waiting.len(), BURST as usize + 1);
        logs.take(0, journal("later"), now + 2 * EVERY);
        assert_eq!(logs.waiting.len(), BURST as usize + 2);
    }
}
