//! The layer's log: for its owner alone, over the report lane. What a host can collect of this process, its standard
//! error, has lines of its class only.
//!
//! Lines wait in memory, a bounded number of them, and leave once a second at the most, in one cell.

use mixnn_protocol::journal::{Entry, Journal, Level, MAX_LINES, plain};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Lines that may wait: what no report has carried yet.
const WAITING: usize = 256;
/// From one report to the next.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Notes {
    waiting: VecDeque<(Instant, Level, String)>,
    left_out: u32,
    told: Option<Instant>,
}

impl Notes {
    /// Writes a line down.
    pub(crate) fn note(&mut self, now: Instant, level: Level, text: &str) {
        if self.waiting.len() == WAITING {
            // The newest say most of why something ended.
            self.waiting.pop_front();
            self.left_out = self.left_out.saturating_add(1);
        }
        self.waiting.push_back((now, level, plain(text)));
    }

    /// What is to be told now, if anything.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Journal> {
        let early = self.told.is_some_and(|told| now.duration_since(told) < EVERY);
        if early || self.waiting.is_empty() {
            return None;
        }
        self.told = Some(now);
        let count = self.waiting.len().min(MAX_LINES);
        let line = |(at, level, text): (Instant, Level, String)| {
            let before = now.duration_since(at).as_millis();
            Entry { level, before: u32::try_from(before).unwrap_or(u32::MAX), text }
        };
        let lines = self.waiting.drain(..count).map(line).collect();
        Some(Journal { lines, left_out: std::mem::take(&mut self.left_out) })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_leave_once_a_second_and_the_oldest_give_way() {
        let (mut notes, start) = (Notes::default(), Instant::now());
        assert_eq!(notes.take(start), None);
        for i in 0..WAITING + 3 {
            notes.note(start, Level::Info, &i.to_string());
        }
        let first = notes.take(start + Duration::from_millis(7)).unwrap();
        assert_eq!((first.lines.len(), first.left_out), (MAX_LINES, 3));
        assert_eq!((first.lines[0].text.as_str(), first.lines[0].before), ("3", 7));
        assert_eq!(notes.take(start + Duration::from_millis(900)), None, "not so soon again");
        let second = notes.take(start + 2 * EVERY).unwrap();
        assert_eq!((second.lines[0].text.as_str(), second.left_out), ("35", 0));
    }
}
