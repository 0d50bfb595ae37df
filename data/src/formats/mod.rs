//! Formats of files, each a [`Source`](crate::Source).

pub(crate) mod columns;
pub(crate) mod csv;
pub(crate) mod idx;
pub(crate) mod images;
pub mod npy;
pub(crate) mod parquet;
pub(crate) mod tokens;
pub(crate) mod vocabulary;
pub(crate) mod words;
