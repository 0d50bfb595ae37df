//! The commands that look at a cluster: `kubectl mixnn ..`.
//!
//! They ask the API server as the person who runs them, and nothing that an owner could not be told. What only the
//! designer knows, its page tells who has the owner's Secret.

mod advice;
pub mod args;
mod check;
mod connect;
mod desk;
mod events;
mod keeper;
mod logs;
mod owned;
mod status;
mod told;

pub use check::check;
pub use events::events;
pub use logs::logs;
pub use owned::{checkpoints, export, page};
pub use status::status;
