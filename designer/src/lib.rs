//! The owner's side: deals layers to pods, draws lanes, drives the four phases, holds data, labels
//! and loss.
//!
//! ```text
//! prepare    model file, data, owner's secret        -> Prepared
//! pool       registration, claims, the directory     -> Pool
//! deal       who runs which layer, over which relays -> Deal
//! ring       lanes and letters                       -> Ring
//! train      forward, backward, test                 -> Outcome
//! reference  the same in one process
//! ```

mod cover;
mod deal;
mod emit;
mod error;
mod judge;
mod leases;
mod mailbox;
mod pool;
mod prepare;
mod reference;
mod ring;
mod secret;
mod step;
mod train;
mod watch;

pub use deal::{Deal, deal};
pub use emit::Emitter;
pub use error::DesignerError;
pub use prepare::{Prepared, prepare};
pub use reference::run as run_reference;
pub use secret::load_or_make as load_or_make_secret;
pub use train::{Training, run as run_training};
