//! The receiving side of a node that is an end of lanes: cells in, messages out.

use crate::cell::{Cell, CellDrop, LaneReceiver, LinkTag, TagKey, TagTable};
use crate::letter::ReceivingEnd;
use crate::message::Message;
use crate::sizes::LINK_TAG;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// All receiving ends of one node. `L` is the node's own name for a lane.
///
/// Sans-IO: after each [`cell`](Self::cell) and at [`deadline`](Self::deadline), call
/// [`poll`](Self::poll) until it gives nothing.
pub struct Inbox<L> {
    tags: TagTable<L>,
    lanes: HashMap<L, LaneReceiver>,
}

impl<L: Copy + Eq + Hash> Default for Inbox<L> {
    fn default() -> Self {
        Self { tags: TagTable::default(), lanes: HashMap::new() }
    }
}

impl<L: Copy + Eq + Hash> Inbox<L> {
    /// Adds a lane, or replaces the one of this name: the old one's cells are refused from now on.
    pub fn insert(&mut self, lane: L, end: &ReceivingEnd) {
        self.tags.insert(lane, TagKey::new(&end.link_tag), end.quota);
        self.lanes.insert(lane, LaneReceiver::new(end));
    }

    /// Forgets a lane.
    pub fn remove(&mut self, lane: L) {
        self.tags.remove(lane);
        self.lanes.remove(&lane);
    }

    /// The lane that a cell claims to belong to, by its tag.
    pub fn lane_of(&self, cell: &Cell) -> Option<L> {
        let tag = cell.first_chunk::<LINK_TAG>()?;
        self.tags.look_up(tag).map(|(lane, _)| lane)
    }

    /// Takes a cell.
    ///
    /// # Errors
    /// Why it was dropped. [`CellDrop::EndToEnd`] and [`CellDrop::BadFrame`] say that a relay or the
    /// other end misbehaves; the rest can come from anybody.
    pub fn cell(&mut self, now: Instant, cell: &Cell) -> Result<L, CellDrop> {
        let mut tag: LinkTag = [0; LINK_TAG];
        tag.copy_from_slice(&cell[..LINK_TAG]);
        let (lane, number) = self.tags.look_up(&tag).ok_or(CellDrop::UnknownTag)?;
        let receiver = self.lanes.get_mut(&lane).ok_or(CellDrop::UnknownTag)?;
        let opened = receiver.open_hops(number, cell)?;
        self.tags.spend(lane, number);
        if let Some(opened) = opened {
            receiver.accept(now, opened)?;
        }
        Ok(lane)
    }

    /// The next whole message of `lane`.
    pub fn poll(&mut self, lane: L) -> Option<Message> {
        self.lanes.get_mut(&lane)?.poll()
    }

    /// Whether a message of `lane` is on its way, or waits to be polled.
    pub fn is_amid(&self, lane: L) -> bool {
        self.lanes.get(&lane).is_some_and(LaneReceiver::is_amid)
    }

    /// When [`release`](Self::release) should be called even if no cell comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.lanes.values().filter_map(LaneReceiver::deadline).min()
    }

    /// Lets go what was held back long enough; then poll every lane it names.
    pub fn release(&mut self, now: Instant) -> Vec<(L, Result<(), CellDrop>)> {
        let overdue = |r: &LaneReceiver| r.deadline().is_some_and(|d| now >= d);
        self.lanes
            .iter_mut()
            .filter(|(_, r)| overdue(r))
            .map(|(lane, r)| (*lane, r.release(now)))
            .collect()
    }
}
