//! When messages pass an endpoint, where its owner asks for it.

use super::LaneId;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// When a message came in or went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Its first cell came, or its first cell was about to be sealed.
    pub began: Instant,
    /// Its last cell was open, or sealed.
    pub ended: Instant,
    /// Of that, spent on opening or sealing.
    pub sealing: Duration,
}

/// Of the messages that are coming in.
#[derive(Default)]
pub(super) struct Passages {
    open: HashMap<LaneId, Passage>,
}

impl Passages {
    /// A cell of a lane came at `began` and is open now.
    pub(super) fn cell(&mut self, lane: LaneId, began: Instant) {
        let ended = Instant::now();
        let new = Passage { began, ended, sealing: Duration::ZERO };
        let passage = self.open.entry(lane).or_insert(new);
        passage.ended = ended;
        passage.sealing += ended.saturating_duration_since(began);
    }

    /// A message of the lane is whole.
    pub(super) fn take(&mut self, lane: LaneId) -> Passage {
        // What was held back because a cell before it was missing comes when it is let go.
        let now = Instant::now();
        let held = Passage { began: now, ended: now, sealing: Duration::ZERO };
        self.open.remove(&lane).unwrap_or(held)
    }
}
