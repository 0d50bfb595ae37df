//! MixNN's wire protocol, sans-IO: bytes in, bytes out.
//!
//! Two kinds of traffic:
//!
//! * [`letter`]s set up: one-shot HPKE, nested through relays. They tell a relay its hop of a lane,
//!   and a layer pod who owns it and which lanes it has.
//! * [`cell`]s carry everything else over [`lane`]s: symmetric keys only, a fresh link tag and a
//!   fresh encryption on every link.
//!
//! ```text
//! designer                     relay                        layer pod
//! LanePlan::draw -> letters -> letter::open -> Hop::new
//! PodSetup::sign -> letter  -> (forward)    -> letter::open -> PodSetup::verify
//! LaneSender -> cell        -> Hop::forward -> ...          -> Inbox::cell -> Message
//! ```
//!
//! The byte layout stands in `docs/protocol.md`; every size in [`sizes`], every label in
//! [`labels`]. Not in this crate: sockets, clocks (time comes in as `now`), files, tasks.

pub mod admission;
pub mod cell;
pub mod claim;
pub mod control;
pub mod cover;
pub mod frame;
pub mod journal;
pub mod labels;
pub mod lane;
pub mod letter;
pub mod registration;
pub mod shard;
pub mod sizes;
pub mod tensor;
pub mod times;

mod codec;
mod id;
mod inbox;
mod message;
mod rng;
mod secret;
mod suite;
mod wire_base64;

pub use admission::{AdmissionKey, Token};
pub use cell::{Cell, CellDrop, Epoch};
pub use claim::{Claim, ClaimKey};
pub use codec::Malformed;
pub use cover::{Cover, WallClock};
pub use frame::{Kind, MessageHeader};
/// The random number traits that this crate's functions take.
pub use hpke::rand_core;
pub use id::NodeId;
pub use inbox::Inbox;
pub use lane::{LaneRole, RelayRef};
pub use message::Message;
pub use rng::{SystemRng, below};
pub use secret::Secret;
pub use suite::{KeyPair, PublicKey, Suite, SuiteError};

/// The protocol version that this crate speaks. It is the first byte of a letter, a part of every
/// cell's associated data, and checked at registration.
pub const VERSION: u8 = 1;
