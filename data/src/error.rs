//! What can be wrong with data files.

use std::path::PathBuf;

/// What is wrong with the data, and where.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The model wants files and no folder was given.
    #[error(
        "the model's dataset is idx: give the folder of its files with --data DIR ({} and three more, gzip or not)",
        crate::idx::TRAIN_IMAGES
    )]
    NoFolder,
    /// A file is missing.
    #[error("{}: no file {name} or {name}.gz", folder.display())]
    Missing {
        /// Where it was looked for.
        folder: PathBuf,
        /// Under which name.
        name: &'static str,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not what it must be.
    #[error("{}: {problem}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What was found, what was expected.
        problem: String,
    },
    /// Files that do not go together.
    #[error("{0}")]
    Mismatch(String),
}
