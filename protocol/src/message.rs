//! Messages: any number of bytes, cut into frames and joined again.

use crate::codec::Malformed;
use crate::frame::{self, FrameHeader, Kind, MessageHeader};
use crate::lane::LaneRole;
use crate::sizes::FRAME_DATA;
use std::collections::VecDeque;

/// A whole message as it came out of a lane. Its payload never shows in Debug.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is and where it belongs.
    pub header: MessageHeader,
    /// Its bytes.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({:?}, {} bytes)", self.header, self.payload.len())
    }
}

/// Joins the frames of one lane, which come in order, into messages.
pub(crate) struct Reassembler {
    role: LaneRole,
    max_frames: u32,
    partial: Option<Partial>,
    whole: VecDeque<Message>,
    incomplete: u64,
    /// The message that was given up last, so that its later frames do not count again.
    given_up: Option<u64>,
}

struct Partial {
    header: FrameHeader,
    payload: Vec<u8>,
}

/// The largest buffer that a header alone may reserve; beyond it, memory follows what has come.
const RESERVE: usize = 1 << 20;

impl Reassembler {
    pub(crate) const fn new(role: LaneRole, max_frames: u32) -> Self {
        let whole = VecDeque::new();
        Self { role, max_frames, partial: None, whole, incomplete: 0, given_up: None }
    }

    /// Takes the next frame of the lane.
    pub(crate) fn frame(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (header, data) = frame::parse(bytes)?;
        if header.message.kind == Kind::Cover {
            return Ok(());
        }
        if !self.role.carries(header.message.kind) || header.count > self.max_frames {
            return Err(Malformed { what: "kind or size for this lane", at: 0 });
        }
        if !self.continues(&header) {
            if let Some(partial) = self.partial.take() {
                self.give_up(partial.header.id);
            }
            if header.index != 0 {
                // The start was lost with a link; a new message will come with the next attempt.
                self.give_up(header.id);
                return Ok(());
            }
            let reserve = (header.count as usize * FRAME_DATA).min(RESERVE).max(data.len());
            self.partial = Some(Partial { header, payload: Vec::with_capacity(reserve) });
        }
        let Some(partial) = &mut self.partial else { return Ok(()) };
        partial.payload.extend_from_slice(data);
        partial.header.index = header.index;
        if header.index + 1 == header.count
            && let Some(Partial { header, payload }) = self.partial.take()
        {
            self.whole.push_back(Message { header: header.message, payload });
        }
        Ok(())
    }

    fn give_up(&mut self, id: u64) {
        self.incomplete += u64::from(self.given_up.replace(id) != Some(id));
    }

    fn continues(&self, next: &FrameHeader) -> bool {
        self.partial.as_ref().is_some_and(|p| {
            p.header.id == next.id
                && p.header.index + 1 == next.index
                && p.header.count == next.count
                && p.header.message == next.message
        })
    }

    pub(crate) fn poll(&mut self) -> Option<Message> {
        self.whole.pop_front()
    }

    /// Whether a message is on its way, or waits to be polled.
    pub(crate) fn is_amid(&self) -> bool {
        self.partial.is_some() || !self.whole.is_empty()
    }

    pub(crate) const fn incomplete(&self) -> u64 {
        self.incomplete
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sizes::{FRAME, FRAME_HEADER};

    fn frame(id: u64, index: u32, count: u32) -> Vec<u8> {
        frame_of(id, id, index, count)
    }

    fn frame_of(step: u64, id: u64, index: u32, count: u32) -> Vec<u8> {
        let message =
            MessageHeader { kind: Kind::Activation, term: 1, attempt: 0, step, micro_batch: 0 };
        let length = if index + 1 < count { FRAME_DATA as u16 } else { 1 };
        let mut bytes = vec![0; FRAME];
        let header = FrameHeader { message, id, index, count, length };
        header.write((&mut bytes[..FRAME_HEADER]).try_into().unwrap());
        bytes
    }

    #[test]
    fn a_message_that_misses_a_frame_is_given_up_once() {
        let mut joined = Reassembler::new(LaneRole::Forward, 8);
        for (id, index, count) in [(0, 0, 5), (0, 2, 5), (0, 3, 5), (0, 4, 5), (1, 0, 1)] {
            joined.frame(&frame(id, index, count)).unwrap();
        }
        assert_eq!(joined.poll().unwrap().header.step, 1);
        assert_eq!((joined.poll(), joined.incomplete()), (None, 1));
        // A message whose start never came counts once, and one cut short by the next, too.
        for (id, index, count) in [(2, 1, 3), (2, 2, 3), (3, 0, 2), (4, 0, 1)] {
            joined.frame(&frame(id, index, count)).unwrap();
        }
        assert_eq!(joined.poll().unwrap().header.step, 4);
        assert_eq!((joined.poll(), joined.incomplete()), (None, 3));
    }

    #[test]
    fn frames_of_two_messages_with_one_header_are_not_joined() {
        let mut joined = Reassembler::new(LaneRole::Forward, 8);
        joined.frame(&frame_of(1, 0, 0, 2)).unwrap();
        joined.frame(&frame_of(1, 1, 1, 2)).unwrap();
        assert_eq!((joined.poll(), joined.incomplete()), (None, 2));
    }

    #[test]
    fn a_message_larger_than_the_lane_is_refused_before_any_memory_is_spent() {
        let mut joined = Reassembler::new(LaneRole::Forward, 8);
        assert!(joined.frame(&frame(0, 0, 9)).is_err());
        assert!(joined.frame(&frame(0, 0, u32::MAX)).is_err());
        assert!(joined.partial.is_none());
    }
}
