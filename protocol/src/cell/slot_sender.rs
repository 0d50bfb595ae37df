//! The sending end of a lane under constant-rate cover: one cell a slot, whatever there is to say.

use super::{Cell, CellDrop, LaneSender};
use crate::frame::{FrameHeader, Kind, MessageHeader};
use crate::letter::SendingEnd;
use crate::sizes::{FRAME_DATA, cells_for};
use std::collections::VecDeque;

/// Queues messages and gives one cell a slot: the next of a message, or a dummy that only the
/// receiving end can tell from it.
pub struct SlotSender {
    sender: LaneSender,
    waiting: VecDeque<Waiting>,
    /// Cells that wait, over all messages.
    cells: usize,
    quota: usize,
}

struct Waiting {
    message: MessageHeader,
    id: u64,
    payload: Vec<u8>,
    index: u32,
    count: u32,
}

impl SlotSender {
    /// The sending end with the secrets of `end`; at most `quota` cells wait.
    pub fn new(end: &SendingEnd, quota: u32) -> Self {
        let sender = LaneSender::new(end);
        Self { sender, waiting: VecDeque::new(), cells: 0, quota: quota as usize }
    }

    /// Queues a message. One that waits already is not queued again: what is repeated until it is
    /// answered would fill a slow lane with itself.
    ///
    /// # Errors
    /// More cells would wait than the quota: nothing of the message is sent.
    ///
    /// # Panics
    /// The lane does not carry messages of this kind, or the payload has 2^32 cells: both are
    /// mistakes of this program, never of a peer.
    pub fn push(&mut self, message: MessageHeader, payload: Vec<u8>) -> Result<(), CellDrop> {
        let role = self.sender.role();
        assert!(role.carries(message.kind), "{role:?} lanes carry no {:?}", message.kind);
        let repeats = |w: &Waiting| w.index == 0 && w.message == message && w.payload == payload;
        if self.waiting.iter().any(repeats) {
            return Ok(());
        }
        let cells = cells_for(payload.len());
        if self.cells + cells > self.quota {
            return Err(CellDrop::OverQuota);
        }
        self.cells += cells;
        let count = u32::try_from(cells).expect("less than 2^32 cells");
        let id = self.sender.next_message();
        self.waiting.push_back(Waiting { message, id, payload, index: 0, count });
        Ok(())
    }

    /// Cells that wait for a slot.
    pub const fn waiting(&self) -> usize {
        self.cells
    }

    /// Writes the slot's cell.
    ///
    /// # Errors
    /// The lane's counter is used up: rebuild it.
    pub fn slot(&mut self, cell: &mut Cell) -> Result<(), CellDrop> {
        let Some(first) = self.waiting.front_mut() else { return self.dummy(cell) };
        let start = FRAME_DATA * first.index as usize;
        let data = &first.payload[start..first.payload.len().min(start + FRAME_DATA)];
        let header = FrameHeader {
            message: first.message,
            id: first.id,
            index: first.index,
            count: first.count,
            length: data.len() as u16,
        };
        self.sender.seal(&header, data, cell)?;
        first.index += 1;
        self.cells -= 1;
        if first.index == first.count {
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn dummy(&mut self, cell: &mut Cell) -> Result<(), CellDrop> {
        let message =
            MessageHeader { kind: Kind::Cover, term: 0, attempt: 0, step: 0, micro_batch: 0 };
        let header = FrameHeader { message, id: 0, index: 0, count: 1, length: 0 };
        self.sender.seal(&header, &[], cell)
    }
}
