//! What can be wrong with data files.

use std::path::PathBuf;

/// What is wrong with the data, and where.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The model wants files and no place was given.
    #[error(
        "the model's dataset is {0}{files}: say where its files are with --data DIR (or s3://BUCKET/.., gs://.., az://..), or in training.dataFrom",
        files = files(.0)
    )]
    NoPlace(&'static str),
    /// A file is missing.
    #[error("{place}: no file {name} or {name}.gz")]
    Missing {
        /// Where it was looked for.
        place: String,
        /// Under which name.
        name: &'static str,
    },
    /// An object store cannot be set up.
    #[error("{place}: {problem}")]
    Store {
        /// Which one.
        place: String,
        /// What is wrong.
        problem: String,
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
    /// A record of a file is not what it must be.
    #[error("{}, {record}: {problem}", path.display())]
    Record {
        /// Which file.
        path: PathBuf,
        /// Which record: `line 17, column 'age'`.
        record: String,
        /// What was found, what was expected.
        problem: String,
    },
    /// Files that do not go together.
    #[error("{0}")]
    Mismatch(String),
}

fn files(dataset: &str) -> String {
    match dataset {
        "idx" => format!(" ({} and three more, gzip or not)", crate::idx::TRAIN_IMAGES),
        _ => String::new(),
    }
}
