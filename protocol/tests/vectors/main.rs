//! Test vectors: published ones of the primitives, and this protocol's own.
//!
//! `mixnn-v1.json` is written by
//! `cargo test -p mixnn-protocol --test vectors -- --ignored regenerate`, and reproduced, byte for
//! byte, by the ordinary test. `decoder/` reads it with other code in another language.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod lanes;
mod letters;
mod messages;
mod own;
mod published;
mod setups;
