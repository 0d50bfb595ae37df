//! What a model learns from, and where that is kept.

mod check;
mod files;
mod generated;
mod images;
mod source;
mod table;
mod tokens;

pub use files::FilesSpec;
pub use generated::{SentenceTask, SentencesSpec, ShapesSpec};
pub use images::{AugmentSpec, Channels, Fit, IdxSpec, ImagesSpec};
pub use source::{DataSource, ObjectStoreSource, SecretRef, VolumeSource};
pub use table::{ClassTarget, ColumnsSpec, CsvSpec, ParquetSpec, RealTarget, TargetSpec, TextSpec};
pub use tokens::{TokenFormat, TokensSpec};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the model learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum DatasetSpec {
    /// Generated digits, 28 x 28 grey, ten classes: nothing to download.
    Digits(DigitsSpec),
    /// Generated colour pictures, 3 x 32 x 32, of ten shapes: nothing to download.
    Shapes(ShapesSpec),
    /// Generated sentences of 69 words about four topics: nothing to download.
    Sentences(SentencesSpec),
    /// Files of the MNIST family in IDX format.
    Idx(IdxSpec),
    /// Folders of PNG or JPEG pictures, one folder a class (torchvision's `ImageFolder`).
    Images(ImagesSpec),
    /// CSV files with a header line (RFC 4180).
    Csv(CsvSpec),
    /// Apache Parquet files.
    Parquet(ParquetSpec),
    /// Sequences of tokens, each to be told from those before it.
    Tokens(TokensSpec),
}

/// Generated hand-drawn-like digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DigitsSpec {
    /// Samples to train on.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub train: u32,
    /// Samples to test on.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub test: u32,
    /// Seed of the generator. The data are no secret.
    #[serde(default)]
    pub seed: u64,
}
