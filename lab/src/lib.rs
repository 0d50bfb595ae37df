//! The adversary's laboratory.
//!
//! It measures how well an adversary tells which link into a crossing relay belongs with which link
//! out of it, while `k` lanes cross there. The adversary sees every link and controls every relay but
//! the crossing one, and neither end: so it knows the lanes of all links on both sides, their cells'
//! times and counts, and may delay or cut what goes in. What it must guess is the permutation.
//!
//! ```text
//! workload -> senders -> [tap] -> crossing relay under a regime -> [tap]
//!                          |                                        |
//!                          +--------------- attackers --------------+      truth, held apart
//! ```
//!
//! Time is virtual, so no result depends on the machine's load. The slots are those of the product
//! ([`mixnn_protocol::cover::Pacer`]); [`real`] runs the product's relay with real cells and shows that
//! leaving the cells' bytes out changes no time and no count.

pub mod attack;
pub mod chance;
pub mod learn;
pub mod picture;
pub mod real;
pub mod report;
pub mod sim;
pub mod workload;
