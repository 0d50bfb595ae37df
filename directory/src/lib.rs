//! Registration and the directory of public keys: what the platform runs.
//!
//! [`Registry`] holds the rules, without sockets. [`serve`] puts it behind HTTPS. The local runner
//! and the operator use both; they differ in their [`Authenticator`] and in the [`Backend`] that keeps
//! the registrations.

mod auth;
mod backend;
mod core;
mod heads;
mod http;
mod serve;

pub use auth::{Authenticator, Identity, ModelKey, StaticTokens};
pub use backend::{Backend, InMemory};
pub use core::{Refused, Registry, check};
pub use heads::Seat;
pub use serve::{Patience, Service, serve};
