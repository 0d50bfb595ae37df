//! The mix relay.
//!
//! [`RelayCore`] is the relay without sockets or clock: letters install hops, cells go through them.
//! [`Relay`] is its shell on [`mixnn_transport`].

mod budget;
mod core;
mod shell;

pub use budget::{Budget, LetterRate};
pub use core::{Egress, LaneKey, LetterDrop, LetterOutcome, Passed, RelayCore};
pub use shell::Relay;
