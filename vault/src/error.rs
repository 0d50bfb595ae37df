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
    /// The store does not answer.
    #[error("checkpoint store: {what}: no answer within {seconds} s")]
    Silent {
        /// What was being done.
        what: String,
        /// How long it was waited.
        seconds: u64,
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

impl VaultError {
    /// Whether the store may answer when it is asked again.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::Silent { .. })
    }

    /// Whether the stored bytes are not those that were written, or are gone.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Shard { .. } | Self::Changed { .. } | Self::Sealed(_))
    }
}
