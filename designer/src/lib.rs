//! The owner's side: deals layers to pods, draws lanes, drives the four phases, holds data, labels
//! and loss.
//!
//! ```text
//! prepare    model file, data, owner's secret        -> Prepared
//! pool       registration, claims, the directory     -> Pool
//! deal       who runs which layer                    -> Deal
//! ring       lanes, and over which relays each goes  -> Ring
//! session    a ring that works: at the start, and again after every fault
//! train      forward, backward, test                 -> Outcome
//! reference  the same in one process
//! serve      batches of requests through the ring, or through one process
//! ```

mod checkpoints;
mod cover;
mod curves;
mod deal;
mod emit;
mod error;
mod fault;
mod gathering;
mod import;
mod judge;
mod keeper;
mod known;
mod leases;
mod logs;
mod lookout;
mod mailbox;
mod mlflow;
mod page;
mod pool;
mod prepare;
mod questions;
mod record;
mod reference;
mod ring;
mod secret;
mod serve;
mod session;
mod setup;
mod shunned;
mod step;
mod tensorboard;
mod timeline;
mod train;
mod view;
mod watch;
mod weights;

pub use checkpoints::CheckpointSpec;
pub use emit::Emitter;
pub use error::DesignerError;
pub use import::{ExportArgs, ImportArgs, export, import};
pub use mlflow::{Mlflow, MlflowArgs, MlflowRun};
pub use page::{Beside, KeepArgs, PageArgs, keep};
pub use prepare::{Prepared, Sources, prepare};
pub use questions::{Asking, Questions};
pub use reference::run as run_reference;
pub use secret::{load_or_make as load_or_make_secret, parse as parse_secret};
pub use serve::{
    After, ServeArgs, ServeReferenceArgs, run as run_serving,
    run_reference as run_serving_reference,
};
pub use tensorboard::TensorBoard;
pub use train::{Training, run as run_training};
