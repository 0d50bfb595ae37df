//! Rows and columns.

use super::FilesSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// CSV files with a header line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CsvSpec {
    /// The files; of a folder, those that end in `.csv`.
    pub files: FilesSpec,
    /// What the columns mean.
    pub columns: ColumnsSpec,
    /// What stands between two fields.
    #[serde(default = "comma")]
    #[schemars(length(min = 1, max = 1))]
    pub delimiter: String,
}

fn comma() -> String {
    ",".into()
}

/// Apache Parquet files. A row group is read as a whole: 64 MiB of it at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParquetSpec {
    /// The files; of a folder, those that end in `.parquet`.
    pub files: FilesSpec,
    /// What the columns mean.
    pub columns: ColumnsSpec,
}

/// What columns mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ColumnsSpec {
    /// Columns of numbers that make a sample, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 65_536))]
    pub features: Vec<String>,
    /// A column of text that makes a sample, instead of `features`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextSpec>,
    /// Shape of a sample, if it is more than a list: [1, 28, 28] for 784 pixels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub shape: Vec<u32>,
    /// Subtracted from each feature; one for all, or one a feature.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f64>,
    /// By which each feature is divided; one for all, or one a feature.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f64>,
    /// What is to be told from a sample.
    pub target: TargetSpec,
}

/// A column of text, as a sequence of tokens of one length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TextSpec {
    /// The column.
    pub column: String,
    /// Tokens of a sample: a longer text is cut, a shorter one is filled up with token 0.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub length: u32,
    /// File of the vocabulary, one word a line (line 0 stands for what is missing, line 1 for what is
    /// unknown); without it a token is a byte of UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<String>,
}

/// What is to be told from a sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum TargetSpec {
    /// One of several classes.
    Class(ClassTarget),
    /// One or more numbers.
    Real(RealTarget),
    /// One or more yes or no: columns of 0 and 1.
    Bits(RealTarget),
}

/// One of several classes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClassTarget {
    /// The column.
    pub column: String,
    /// Number of classes: the column holds whole numbers from 0 to this minus 1, or `names`.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub classes: u32,
    /// What stands in the column for each class, if not its number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// Columns of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RealTarget {
    /// The columns.
    #[schemars(length(min = 1, max = 65_536))]
    pub columns: Vec<String>,
}
