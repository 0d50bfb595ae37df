//! Checkpoints at rest.
//!
//! ```text
//! checkpoints/NUMBER/NAME        a layer's state, sealed by the layer (mixnn_protocol::shard), padded
//! checkpoints/NUMBER/manifest    sealed under the owner's key; written last: without it there is no checkpoint
//! sessions/TERM                  sealed under the owner's key: what a designer that takes over must know
//! ```
//!
//! A store sees numbers, random names, padded sizes and times. Every shard is sealed to a key pair that
//! follows from the owner's key, a random salt of the checkpoint and the layer's name: nothing is
//! common to two layers or to two checkpoints, and no secret half is ever written down.
//!
//! Not in this crate: when to take a checkpoint, and how states reach the designer.

mod error;
mod key;
mod manifest;
mod store;

pub use error::VaultError;
pub use key::{Keys, load_or_make};
pub use manifest::{Checkpoint, Manifest, ShardEntry};
pub use store::{Listed, Vault, open_store};
