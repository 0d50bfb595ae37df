//! Messages: any number of bytes, cut into frames and joined again.

use crate::codec::Malformed;
use crate::frame::{self, FrameHeader, Kind, MessageHeader};
use crate::lane::LaneRole;
use crate::sizes::FRAME_DATA;
use std::collections::VecDeque;

/// A whole message as it came out of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is and where it belongs.
    pub header: MessageHeader,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// Joins the frames of one lane, which come in order, into messages.
pub(crate) struct Reassembler {
    role: LaneRole,
    max_frames: u32,
    partial: Option<Partial>,
    whole: VecDeque<Message>,
    incomplete: u64,
}

struct Partial {
    header: FrameHeader,
    payload: Vec<u8>,
}

/// The largest buffer that a header alone may reserve; beyond it, memory follows what has come.
const RESERVE: usize = 1 << 20;

impl Reassembler {
    pub(crate) const fn new(role: LaneRole, max_frames: u32) -> Self {
        Self { role, max_frames, partial: None, whole: VecDeque::new(), incomplete: 0 }
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
            self.incomplete += u64::from(self.partial.take().is_some());
            if header.index != 0 {
                // The start was lost with a link; a new message will come with the next attempt.
                self.incomplete += 1;
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

    pub(crate) const fn incomplete(&self) -> u64 {
        self.incomplete
    }
}
