//! The designer's side of Kubernetes. The training knows nothing of it.
//!
//! ```text
//! Cluster::connect   the API, by a projected token
//! make_keys          the owner's keys: a Secret, made once
//! progress           events -> status; pure
//! wishes             whether the model is to be served now
//! Reporter           writes the status, seldom, on a thread of its own
//! ```
//!
//! The account's rights are those of a Role for one model: read it, write its status, create a Secret.

mod api;
mod curve;
mod error;
mod keys;
mod progress;
mod reporter;
mod wishes;

pub use api::Cluster;
pub use error::ClusterError;
pub use keys::{CHECKPOINT_KEY, OWNER_SECRET, OwnerKeys, wait_for_keys};
pub use progress::Progress;
pub use reporter::Reporter;
