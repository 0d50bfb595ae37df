//! Cells: 16,384 bytes on every link, re-encrypted at every hop of a lane.
//!
//! A lane with `h` relays has a *crossing* relay, the `ceil(h/2)`-th. Links are numbered from 1 (out
//! of the sending end) to `h + 1` (into the receiving end).
//!
//! ```text
//! sender half, links 1..=c          O_j  = T_j(16) tag(16) AES-256-GCM_{open_j}[ O_{j+1} ]
//!                                   O_{c+1} = F
//! receiver half, link c+1           T(16) tag(16) AES-256-GCM_{seal_c}[ mark(1) F ]
//! receiver half, link i+1, i > c    T(16) tag(16) AES-256-GCM_{seal_i}[ what came after T ]
//! F (sealed frame, 16,288)          counter(8) tag(16) AES-256-GCM_{e2e}[ frame ]
//! cell                              the above, then random bytes up to 16,384
//! ```
//!
//! Nonces are the link's number (in the sender half and end to end: the sender's; in the receiver
//! half: the crossing relay's own), as 12 big-endian bytes. The associated data is the protocol
//! version and the epoch. `T` is a one-time tag: AES-256 of the number under the link's tag key, so
//! that only the two ends of a link can tell which lane a cell belongs to, and no two cells look
//! alike.

mod ends;
mod hop;
pub(crate) mod key;
mod resequence;
mod slot_sender;
mod tags;

pub use ends::{LaneReceiver, LaneSender, MessageSealer};
pub use hop::{CrossingHop, Hop, HopOutcome, ReceiverHop, SenderHop};
pub use key::Epoch;
pub use resequence::Resequencer;
pub use slot_sender::SlotSender;
pub use tags::{LinkTag, TagKey, TagTable};

/// The bytes of one cell.
pub type Cell = [u8; crate::sizes::CELL];

/// Why a cell was dropped. Each reason is counted; no reply ever tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CellDrop {
    /// The link tag is not one that is awaited: forged, replayed, too old, or of an unknown lane.
    #[error("unknown link tag")]
    UnknownTag,
    /// The AEAD does not open: the cell was changed on its way.
    #[error("cell does not open")]
    BadTag,
    /// The hops' layers open, the end-to-end layer does not: a relay of this lane, from the crossing
    /// one on, changed or made the cell. Never to be taken for cover.
    #[error("end-to-end seal does not open")]
    EndToEnd,
    /// The end-to-end seal opens, but what is inside is no valid frame for this lane.
    #[error("malformed frame")]
    BadFrame,
    /// The end-to-end counter was accepted before, or is too old.
    #[error("replayed end to end")]
    Replayed,
    /// The lane has as many cells in flight as it declared.
    #[error("over the lane's quota")]
    OverQuota,
    /// The cell came after its place in the order was given up.
    #[error("too late to be put in order")]
    TooLate,
    /// The address of the node that comes next is not known (yet).
    #[error("next node not in the directory")]
    UnknownNode,
    /// The lane's counter is used up.
    #[error("lane exhausted")]
    Exhausted,
}

impl CellDrop {
    /// A stable name for metrics.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::UnknownTag => "unknown_tag",
            Self::BadTag => "bad_tag",
            Self::EndToEnd => "end_to_end",
            Self::BadFrame => "bad_frame",
            Self::Replayed => "replayed",
            Self::OverQuota => "over_quota",
            Self::TooLate => "too_late",
            Self::UnknownNode => "unknown_node",
            Self::Exhausted => "exhausted",
        }
    }
}
