//! Frames: what one cell carries, inside the end-to-end seal.
//!
//! ```text
//! kind(1) reserved(1) length(2) term(4) attempt(4) step(8) micro-batch(4)
//! message id(8) index(4) count(4) data(length) zeros up to 16,264
//! ```

use crate::codec::{Malformed, Reader};
use crate::lane::LaneRole;
use crate::sizes::{FRAME, FRAME_DATA, FRAME_HEADER};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal on [$($role:ident),*];)*) => {
        /// What a message is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name = $code),* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The kind with this code.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// The lanes that carry this kind.
            pub const fn roles(self) -> &'static [LaneRole] {
                match self { $(Self::$name => &[$(LaneRole::$role),*]),* }
            }
        }
    };
}

kinds! {
    /// Nothing: a sender's dummy. Data is empty.
    Cover = 0 on [Forward, Backward, Command, Report];
    /// A tensor: the input of a layer in training.
    Activation = 1 on [Forward];
    /// A tensor: the input of a layer in evaluation; no gradient will follow.
    Evaluation = 2 on [Forward];
    /// A tensor: the gradient of the loss by a layer's output.
    Gradient = 3 on [Backward];
    /// A tensor of i64: the labels of a micro-batch, when the last layer computes the loss.
    Labels = 4 on [Backward];
    /// JSON: an instruction of the designer to a layer pod.
    Command = 5 on [Command];
    /// JSON: a layer pod's answer to the designer.
    Report = 6 on [Report];
    /// safetensors: parameters and optimizer state.
    Weights = 7 on [Command, Report];
    /// Nothing: shows that a lane works, before anything is entrusted to it.
    Probe = 8 on [Forward, Backward];
}

/// Where a message belongs: which run of which step, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHeader {
    /// What the message is.
    pub kind: Kind,
    /// The designer's term: rises when another designer takes over.
    pub term: u32,
    /// Rises with every rollback, so that nothing of an abandoned attempt is taken up.
    pub attempt: u32,
    /// The optimizer step, from 1; in evaluation the number of the evaluation batch.
    pub step: u64,
    /// The micro-batch within the step, from 0.
    pub micro_batch: u32,
}

/// The header of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The message that this frame is a part of.
    pub message: MessageHeader,
    /// The message's number on its lane.
    pub id: u64,
    /// This frame's place in the message.
    pub index: u32,
    /// How many frames the message has, at least one.
    pub count: u32,
    /// Data bytes in this frame.
    pub length: u16,
}

impl FrameHeader {
    /// Writes the header.
    pub fn write(&self, out: &mut [u8; FRAME_HEADER]) {
        let m = &self.message;
        out[0] = m.kind as u8;
        out[1] = 0;
        out[2..4].copy_from_slice(&self.length.to_be_bytes());
        out[4..8].copy_from_slice(&m.term.to_be_bytes());
        out[8..12].copy_from_slice(&m.attempt.to_be_bytes());
        out[12..20].copy_from_slice(&m.step.to_be_bytes());
        out[20..24].copy_from_slice(&m.micro_batch.to_be_bytes());
        out[24..32].copy_from_slice(&self.id.to_be_bytes());
        out[32..36].copy_from_slice(&self.index.to_be_bytes());
        out[36..40].copy_from_slice(&self.count.to_be_bytes());
    }
}

/// Parses a frame of exactly 16,264 bytes into its header and data.
///
/// # Errors
/// The bytes are not the one way to write a frame: unknown kind, reserved byte set, lengths that do
/// not agree, padding that is not zero.
pub fn parse(frame: &[u8]) -> Result<(FrameHeader, &[u8]), Malformed> {
    let mut r = Reader::new(frame);
    if frame.len() != FRAME {
        return Err(r.malformed("frame length"));
    }
    let kind = Kind::from_code(r.u8()?).ok_or_else(|| r.malformed("frame kind"))?;
    if r.u8()? != 0 {
        return Err(r.malformed("reserved byte"));
    }
    let length = r.u16()?;
    let message = MessageHeader {
        kind,
        term: r.u32()?,
        attempt: r.u32()?,
        step: r.u64()?,
        micro_batch: r.u32()?,
    };
    let header = FrameHeader { message, id: r.u64()?, index: r.u32()?, count: r.u32()?, length };
    if !is_canonical(&header) {
        return Err(r.malformed("frame length, index or count"));
    }
    let (data, pad) = r.rest().split_at(usize::from(length));
    if pad.iter().any(|&b| b != 0) {
        return Err(Malformed { what: "padding", at: FRAME_HEADER + data.len() });
    }
    Ok((header, data))
}

/// Whether a sender could have cut a message so: every frame but the last is full, and the last is
/// empty only where the whole message is.
fn is_canonical(header: &FrameHeader) -> bool {
    let &FrameHeader { message, index, count, length, .. } = header;
    let length = usize::from(length);
    let lengths = match count {
        0 => return false,
        1 if message.kind == Kind::Cover => 0..=0,
        _ if message.kind == Kind::Cover => return false,
        1 => 0..=FRAME_DATA,
        _ if index < count - 1 => FRAME_DATA..=FRAME_DATA,
        _ => 1..=FRAME_DATA,
    };
    index < count && lengths.contains(&length)
}
