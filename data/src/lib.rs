//! The owner's data: files of several formats in a folder or an object store, generated digits,
//! shuffling, augmentation, batches.
//!
//! ```text
//! Place -> Store -> Source (blocks of samples) -> Dataset (which samples, what happens to each) -> Batches
//! ```
//!
//! A data set is never in memory as a whole, unless it is small: [`Batches`] has two windows of
//! [`WINDOW`] bytes. The order of samples and every random change follow from the owner's keys, so a
//! distributed run, the reference and a run that is taken up again see the same batches.
//!
//! Pure Rust: tensors are made of [`Batch`]es elsewhere.

mod batch;
mod block;
mod chance;
mod dataset;
pub mod digits;
mod error;
mod formats;
mod generated;
pub mod idx;
mod one;
mod open;
pub mod sentences;
pub mod shapes;
mod shuffle;
mod split;
mod store;
mod transform;

pub use batch::{Batch, Batches, Epoch, Pass, Values, micro_batches};
pub use block::{Block, BlockSize, Raw, Source};
pub use dataset::{Dataset, Kinds, Split};
pub use error::DataError;
pub use formats::npy;
pub use mixnn_place::Place;
pub use one::PictureSample;
pub use open::{Data, Progress, Reading, declared, place_of};
pub use shuffle::{Pick, Shuffle, WINDOW, Window, Windows};
pub use split::Held;
pub use store::{Entry, Store, Stream};
pub use transform::{Draw, Normalisation, Transform};
