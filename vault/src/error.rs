//! Why a checkpoint cannot be written or read.

use mixnn_protocol::shard::ShardError;
use std::path::PathBuf;

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The store refuses or does not answer.
    #[error("checkpoint store: {what}: {source}")]
    Store {
        /// What was being done.
        what: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// The store is not one that is known.
    #[error("checkpoint store '{0}': {1}; give a folder, or s3://, gs:// or az:// with a bucket")]
    Location(String, String),
    /// The owner's key.
    #[error("checkpoint key {}: {problem}", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A sealed object of the owner.
    #[error("{0} does not open: it was changed, or sealed under another key than those given")]
    Sealed(String),
    /// A shard of a checkpoint.
    #[error("checkpoint {number}, layer \"{layer}\": {problem}")]
    Shard {
        /// The checkpoint's number.
        number: u64,
        /// The layer.
        layer: String,
        /// What is wrong.
        problem: ShardError,
    },
    /// A shard that is not the one that the manifest names.
    #[error("checkpoint {number}, layer \"{layer}\": the shard is not the one that was written")]
    Changed {
        /// The checkpoint's number.
        number: u64,
        /// The layer.
        layer: String,
    },
    /// The bytes opened, but are not what they should be.
    #[error("{what}: {problem}")]
    Content {
        /// Which object.
        what: String,
        /// What is wrong.
        problem: String,
    },
}
