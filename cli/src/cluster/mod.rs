//! The commands that look at a cluster: `kubectl mixnn ..`.
//!
//! They ask the API server as the person who runs them, and nothing that an owner could not be told.

mod advice;
pub mod args;
mod check;
mod connect;
mod events;
mod logs;
mod status;

pub use check::check;
pub use events::events;
pub use logs::logs;
pub use status::status;
