//! Weights in and out, without tensors: bytes in, bytes out.
//!
//! ```text
//! split     a file under PyTorch's names   -> one state for each layer, every tensor checked
//! rename    other names                    -> this model's
//! program   what torch.export.save wrote          -> layers and their weights, and what has no counterpart
//! skeleton  a file of which nothing is known -> layers, and what could not be told
//! ```
//!
//! A file comes from a stranger as much as a request does: nothing in it is believed before it has been
//! compared with the model, and no memory is reserved on its word.

mod error;
mod expected;
mod file;
mod program;
mod rename;
mod skeleton;
mod split;

pub use error::{Problem, WeightsError};
pub use expected::{Expected, expected};
pub use file::{MAX_HEADER, Weights, largest_file};
pub use program::{Program, ProgramError, ProgramFile};
pub use rename::Rename;
pub use skeleton::{Skeleton, SkeletonLayer, skeleton};
pub use split::{LayerState, split};
