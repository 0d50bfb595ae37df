//! One layer of a model, as a pod runs it.
//!
//! * [`Machine`]: what the layer does with each message, without sockets.
//! * [`Pod`]: registration, letters and lanes around it.
//!
//! A pod starts blank. It learns its owner's claim at registration, its lanes from a letter signed
//! under the claim, and what to compute over its command lane: never its own name or place, nor
//! anything of another layer.

mod journal;
mod lanes;
mod machine;
mod pod;
mod shelf;
mod stopwatch;
mod work;

pub use lanes::Lane;
pub use machine::{Done, Machine, Send};
pub use pod::Pod;
