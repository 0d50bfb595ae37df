//! Letters: one-shot, set-up only, nested through relays, always 16,384 bytes.
//!
//! ```text
//! version(1) suite(1) enc(1120 or 32)
//! HPKE[ head ]      action(1) reserved(1) body length(2) next(16) token nonce(32) token(256), tag(16)
//! body              AES-256-GCM under HPKE export "letter body": ciphertext, tag(16)
//! random bytes up to 16,384
//! ```
//!
//! The head is sealed by HPKE with the first two bytes as associated data. A relay that is told to
//! *forward* finds the next letter in the body, fills it up with random bytes and sends it on; at
//! every hop a letter looks alike: where the body ends is known to the head's reader alone.
//! A relay learns from the length its place on the letter's way, which the classes of its
//! neighbours tell it anyway.

mod ends;
mod hop_setup;
mod lease;
mod pod_setup;
mod seal;

pub use ends::{ReceivingEnd, SendingEnd};
pub use hop_setup::{HopRole, HopSetup, MAX_QUOTA};
pub use lease::Lease;
pub use pod_setup::{LaneEnd, PodSetup};
pub use seal::{Draft, Letter, LetterError, Opened, SealedLetter, open, route};
