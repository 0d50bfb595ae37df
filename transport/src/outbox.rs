//! What waits for one peer: a queue for each lane, so that no lane takes another's place.

use bytes::{Bytes, BytesMut};
use mixnn_protocol::sizes::CELL;
use mixnn_protocol::{Cell, CellDrop};
use std::collections::{BTreeMap, VecDeque};
use std::task::Waker;
use std::time::Instant;

/// The most bytes handed to a connection at once. hyper never joins chunks, so cells that go out one
/// by one stay one by one on every later hop; large chunks cost a third of the CPU.
pub(crate) const CHUNK: usize = 512 << 10;
/// What one lane may put into a chunk while others wait.
const TURN: usize = 4 * CELL;

/// Queues of the lanes that leave for one peer.
#[derive(Default)]
pub(crate) struct Outbox {
    lanes: BTreeMap<u64, Lane>,
    /// Lanes with bytes, in the order of their turns.
    ready: VecDeque<u64>,
    next_lane: u64,
    waker: Option<Waker>,
    /// Since when bytes have been waiting without any being taken.
    pub(crate) waiting_since: Option<Instant>,
}

struct Lane {
    cells: BytesMut,
    quota: usize,
    /// The owner has let go of it: forget it when it is empty.
    closing: bool,
}

impl Outbox {
    pub(crate) fn open_lane(&mut self, quota: u32) -> u64 {
        let id = self.next_lane;
        self.next_lane += 1;
        let quota = quota as usize * CELL;
        self.lanes.insert(id, Lane { cells: BytesMut::new(), quota, closing: false });
        id
    }

    pub(crate) fn close_lane(&mut self, id: u64) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.closing = true;
            if lane.cells.is_empty() {
                self.lanes.remove(&id);
            }
        }
        self.wake();
    }

    pub(crate) fn push_with(
        &mut self,
        id: u64,
        write: impl FnOnce(&mut Cell) -> Result<bool, CellDrop>,
    ) -> Result<bool, CellDrop> {
        let Some(lane) = self.lanes.get_mut(&id) else { return Err(CellDrop::OverQuota) };
        let at = lane.cells.len();
        if at + CELL > lane.quota {
            return Err(CellDrop::OverQuota);
        }
        lane.cells.resize(at + CELL, 0);
        let slot = (&mut lane.cells[at..]).try_into().expect("resized by one cell");
        match write(slot) {
            Ok(true) => {}
            refused => {
                lane.cells.truncate(at);
                return refused;
            }
        }
        if at == 0 {
            self.ready.push_back(id);
        }
        if self.waiting_since.is_none() {
            self.waiting_since = Some(Instant::now());
        }
        self.wake();
        Ok(true)
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn wait(&mut self, waker: &Waker) {
        self.waker = Some(waker.clone());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Whether no lane is left: the connection may end.
    pub(crate) fn is_closed(&self) -> bool {
        self.lanes.is_empty()
    }

    /// The next chunk: all that is ready, up to [`CHUNK`], each lane in its turn.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        let first = self.take_from_next(if self.ready.len() == 1 { CHUNK } else { TURN })?;
        let chunk = if self.ready.is_empty() {
            first.freeze()
        } else {
            let mut chunk = first;
            while chunk.len() < CHUNK
                && let Some(more) = self.take_from_next(TURN.min(CHUNK - chunk.len()))
            {
                chunk.extend_from_slice(&more);
            }
            chunk.freeze()
        };
        self.waiting_since = if self.ready.is_empty() { None } else { Some(Instant::now()) };
        Some(chunk)
    }

    fn take_from_next(&mut self, most: usize) -> Option<BytesMut> {
        let id = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&id)?;
        let taken = lane.cells.split_to(lane.cells.len().min(most));
        if !lane.cells.is_empty() {
            self.ready.push_back(id);
        } else if lane.closing {
            self.lanes.remove(&id);
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(outbox: &mut Outbox, lane: u64, fill: u8) -> Result<bool, CellDrop> {
        outbox.push_with(lane, |cell| {
            cell.fill(fill);
            Ok(true)
        })
    }

    #[test]
    fn a_lane_that_floods_does_not_delay_another() {
        let mut outbox = Outbox::default();
        let (flood, other) = (outbox.open_lane(1000), outbox.open_lane(4));
        for _ in 0..1000 {
            push(&mut outbox, flood, 1).expect("within the quota");
        }
        push(&mut outbox, other, 2).expect("within the quota");
        let chunk = outbox.take().expect("bytes are ready");
        assert_eq!(chunk.len(), CHUNK);
        assert!(chunk.chunks(CELL).any(|cell| cell[0] == 2));
    }

    #[test]
    fn the_quota_holds_and_a_refused_cell_leaves_no_trace() {
        let mut outbox = Outbox::default();
        let lane = outbox.open_lane(2);
        push(&mut outbox, lane, 1).expect("first");
        let refused = outbox.push_with(lane, |_| Err(CellDrop::BadTag));
        assert_eq!(refused, Err(CellDrop::BadTag));
        push(&mut outbox, lane, 2).expect("second");
        assert_eq!(push(&mut outbox, lane, 3), Err(CellDrop::OverQuota));
        let chunk = outbox.take().expect("bytes are ready");
        let firsts: Vec<u8> = chunk.chunks(CELL).map(|cell| cell[0]).collect();
        assert_eq!(firsts, [1, 2]);
        assert!(outbox.take().is_none());
    }

    #[test]
    fn a_closed_lane_is_emptied_first() {
        let mut outbox = Outbox::default();
        let lane = outbox.open_lane(2);
        push(&mut outbox, lane, 1).expect("first");
        outbox.close_lane(lane);
        assert!(!outbox.is_closed());
        assert_eq!(outbox.take().map(|c| c.len()), Some(CELL));
        assert!(outbox.is_closed());
    }
}
