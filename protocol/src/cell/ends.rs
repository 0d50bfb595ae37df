//! The two ends of a lane.

use super::hop::Mark;
use super::key::CellKey;
use super::{Cell, CellDrop, Resequencer, TagKey};
use crate::frame::{FrameHeader, MessageHeader};
use crate::letter::{ReceivingEnd, SendingEnd};
use crate::message::{Message, Reassembler};
use crate::rng;
use crate::sizes::{
    AEAD_TAG, CELL, E2E_COUNTER, FRAME, FRAME_DATA, FRAME_HEADER, LINK_TAG, MARK, SEALED_FRAME,
    SENDER_LAYER, cells_for,
};
use std::time::{Duration, Instant};

/// How long a receiving end waits for a missing cell before it goes on without it.
const PATIENCE: Duration = Duration::from_millis(500);

/// The sending end of a lane: cuts messages into frames and wraps each for the sender half.
pub struct LaneSender {
    /// One per sender-half hop, first hop first.
    layers: Vec<(TagKey, CellKey)>,
    e2e: CellKey,
    next_cell: u64,
    next_message: u64,
    role: crate::lane::LaneRole,
}

impl LaneSender {
    /// The sending end with the secrets of `end`.
    pub fn new(end: &SendingEnd) -> Self {
        let layer = |(tag, open): &(_, _)| (TagKey::new(tag), CellKey::new(open, end.epoch));
        Self {
            layers: end.layers.iter().map(layer).collect(),
            e2e: CellKey::new(&end.e2e, end.epoch),
            next_cell: 0,
            next_message: 0,
            role: end.role,
        }
    }

    /// Starts a message. Call [`MessageSealer::next_cell`] until it gives `false`: cells of two
    /// messages of one lane are never interleaved.
    ///
    /// # Panics
    /// The lane does not carry messages of this kind, or the payload has 2^32 cells: both are
    /// mistakes of this program, never of a peer.
    pub fn message<'a>(
        &'a mut self,
        header: MessageHeader,
        payload: &'a [u8],
    ) -> MessageSealer<'a> {
        assert!(self.role.carries(header.kind), "{:?} lanes carry no {:?}", self.role, header.kind);
        let count = u32::try_from(cells_for(payload.len())).expect("less than 2^32 cells");
        let id = self.next_message;
        self.next_message += 1;
        MessageSealer { lane: self, header, id, payload, index: 0, count }
    }

    /// The number of the next message.
    pub(super) const fn next_message(&mut self) -> u64 {
        let id = self.next_message;
        self.next_message += 1;
        id
    }

    pub(super) const fn role(&self) -> crate::lane::LaneRole {
        self.role
    }

    pub(super) fn seal(
        &mut self,
        header: &FrameHeader,
        data: &[u8],
        cell: &mut Cell,
    ) -> Result<(), CellDrop> {
        let number = self.next_cell;
        self.next_cell += 1;
        let frame_at = SENDER_LAYER * self.layers.len();
        let end = frame_at + SEALED_FRAME;
        write_frame(header, data, &mut cell[end - FRAME..end]);
        cell[frame_at..frame_at + E2E_COUNTER].copy_from_slice(&number.to_be_bytes());
        self.e2e.seal(number, cell, frame_at + E2E_COUNTER, end)?;
        for (j, (tag, open)) in self.layers.iter_mut().enumerate().rev() {
            let at = SENDER_LAYER * j;
            cell[at..at + LINK_TAG].copy_from_slice(&tag.tag(number));
            open.seal(number, cell, at + LINK_TAG, end)?;
        }
        rng::fill(&mut cell[end..]);
        Ok(())
    }
}

fn write_frame(header: &FrameHeader, data: &[u8], frame: &mut [u8]) {
    let (head, body) = frame.split_at_mut(FRAME_HEADER);
    header.write(head.try_into().expect("split at the header's length"));
    let (text, pad) = body.split_at_mut(data.len());
    text.copy_from_slice(data);
    pad.fill(0);
}

/// One message on its way into cells.
pub struct MessageSealer<'a> {
    lane: &'a mut LaneSender,
    header: MessageHeader,
    id: u64,
    payload: &'a [u8],
    index: u32,
    count: u32,
}

impl MessageSealer<'_> {
    /// How many cells are still to come.
    pub const fn remaining(&self) -> usize {
        (self.count - self.index) as usize
    }

    /// Writes the message's next cell; `false` when there is none left.
    ///
    /// # Errors
    /// The lane's counter is used up: rebuild it.
    pub fn next_cell(&mut self, cell: &mut Cell) -> Result<bool, CellDrop> {
        if self.index == self.count {
            return Ok(false);
        }
        let start = FRAME_DATA * self.index as usize;
        let data = &self.payload[start..self.payload.len().min(start + FRAME_DATA)];
        let header = FrameHeader {
            message: self.header,
            id: self.id,
            index: self.index,
            count: self.count,
            length: data.len() as u16,
        };
        self.index += 1;
        self.lane.seal(&header, data, cell)?;
        Ok(true)
    }

    /// Appends all remaining cells to `out`.
    ///
    /// # Errors
    /// The lane's counter is used up: rebuild it.
    pub fn append_to(mut self, out: &mut Vec<u8>) -> Result<(), CellDrop> {
        out.reserve(self.remaining() * CELL);
        while self.remaining() > 0 {
            let at = out.len();
            out.resize(at + CELL, 0);
            let cell = (&mut out[at..]).try_into().expect("resized by one cell");
            self.next_cell(cell)?;
        }
        Ok(())
    }
}

/// The receiving end of a lane: opens the receiver half, checks order and replay, joins messages.
pub struct LaneReceiver {
    /// Outermost first: the last relay's, .., the crossing relay's.
    layers: Vec<CellKey>,
    e2e: CellKey,
    order: Resequencer<Box<[u8]>>,
    joined: Reassembler,
    scratch: [Box<Cell>; 2],
}

impl LaneReceiver {
    /// The receiving end with the secrets of `end`.
    pub fn new(end: &ReceivingEnd) -> Self {
        Self {
            layers: end.layers.iter().map(|s| CellKey::new(s, end.epoch)).collect(),
            e2e: CellKey::new(&end.e2e, end.epoch),
            order: Resequencer::new(end.quota as usize, PATIENCE),
            joined: Reassembler::new(end.role, end.quota),
            scratch: [Box::new([0; CELL]), Box::new([0; CELL])],
        }
    }

    /// Opens the hops' layers of the link's cell `number`. On `Ok` the tag is to be spent; then call
    /// [`accept`](Self::accept) with the sealed frame it gives.
    ///
    /// # Errors
    /// [`CellDrop::BadTag`]: the cell was changed on its last links.
    pub(crate) fn open_hops(
        &mut self,
        number: u64,
        cell: &Cell,
    ) -> Result<Option<Opened>, CellDrop> {
        let [a, b] = &mut self.scratch;
        let (mut from, mut to) = (a, b);
        let mut length = AEAD_TAG * self.layers.len() + MARK + SEALED_FRAME;
        from[..length].copy_from_slice(&cell[LINK_TAG..LINK_TAG + length]);
        for key in &mut self.layers {
            key.open(number, &from[..length], &mut to[..length - AEAD_TAG])?;
            length -= AEAD_TAG;
            std::mem::swap(&mut from, &mut to);
        }
        let swapped = self.layers.len() % 2 == 1;
        Ok(match from[0] {
            m if m == Mark::Real as u8 => Some(Opened { in_second: swapped }),
            m if m == Mark::Dummy as u8 => None,
            _ => return Err(CellDrop::BadFrame),
        })
    }

    /// Opens the end-to-end layer of what [`open_hops`](Self::open_hops) left, and takes the frame.
    ///
    /// # Errors
    /// Why the frame was refused.
    pub(crate) fn accept(&mut self, now: Instant, at: Opened) -> Result<(), CellDrop> {
        let [a, b] = &mut self.scratch;
        let (from, to) = if at.in_second { (b, a) } else { (a, b) };
        let sealed = &from[MARK..][..SEALED_FRAME];
        let (counter, sealed) = sealed.split_at(E2E_COUNTER);
        let number = u64::from_be_bytes(counter.try_into().expect("split at the counter"));
        let frame = &mut to[..FRAME];
        self.e2e.open(number, sealed, frame).map_err(|_| CellDrop::EndToEnd)?;
        if self.order.is_next(number) {
            self.order.skip_queue();
            return self.joined.frame(frame).map_err(|_| CellDrop::BadFrame);
        }
        let boxed = frame.to_vec().into_boxed_slice();
        self.order.insert(now, number, boxed).map_err(|_| CellDrop::Replayed)?;
        self.release(now)
    }

    /// Lets frames go on whose turn has come, or whose predecessor was waited for long enough.
    ///
    /// # Errors
    /// A frame that was held is not valid.
    pub fn release(&mut self, now: Instant) -> Result<(), CellDrop> {
        while let Some(frame) = self.order.pop(now) {
            self.joined.frame(&frame).map_err(|_| CellDrop::BadFrame)?;
        }
        Ok(())
    }

    /// The next whole message.
    pub fn poll(&mut self) -> Option<Message> {
        self.joined.poll()
    }

    /// Whether a message is on its way, or waits to be taken.
    pub(crate) fn is_amid(&self) -> bool {
        self.joined.is_amid()
    }

    /// Messages that were given up because a cell of theirs never came.
    pub const fn incomplete(&self) -> u64 {
        self.joined.incomplete()
    }

    /// When [`release`](Self::release) should be called even if no cell comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.order.deadline()
    }
}

/// Which scratch buffer holds a sealed frame.
#[derive(Clone, Copy)]
pub(crate) struct Opened {
    in_second: bool,
}
