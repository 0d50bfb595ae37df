//! The owner's data: IDX files, generated digits, shuffling, batches.
//!
//! Pure Rust: tensors are made of [`Batch`]es elsewhere.

mod batch;
pub mod digits;
mod error;
pub mod idx;
mod shuffle;
mod source;

pub use batch::{Batch, Batches, Normalisation, micro_batches};
pub use error::DataError;
pub use shuffle::shuffled;
pub use source::{Data, Dataset, Split};
