//! Cells and letters over HTTP/1.1.
//!
//! * [`Links`]: outgoing. One long-lived `POST /v1/cells` to each peer, whose streamed body is cells
//!   of many lanes back to back, and a `POST /v1/letters` for each letter.
//! * [`server`]: incoming. Hands whole cells and letters to a [`server::Receiver`].
//! * [`Endpoint`]: both, with the ends of lanes, on a thread of its own, for processes whose main
//!   thread computes.
//!
//! Everything runs on current-thread runtimes: a multi-threaded one took 1.66 times the CPU for the
//! same cells. Peers are `host:port`; nothing here knows what a lane is for.

mod authority;
mod body;
mod counters;
mod endpoint;
mod letter;
mod limits;
mod link;
mod links;
mod outbox;
pub mod pace;
pub mod server;

pub use authority::{Authority, BadUrl};
pub use counters::{Counters, serve_metrics};
pub use endpoint::{Endpoint, EndpointConfig, Event, Events, LaneId, Passage};
pub use letter::LetterPost;
pub use limits::Limits;
pub use links::{LaneSlot, Links};
