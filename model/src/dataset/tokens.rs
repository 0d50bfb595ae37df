//! Sequences of tokens.

use super::FilesSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sequences of tokens. A sample is `context` tokens in a row; its targets are the tokens one further.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokensSpec {
    /// The files.
    pub files: FilesSpec,
    /// What the files hold.
    #[serde(default)]
    pub format: TokenFormat,
    /// File of the vocabulary, one word a line, for the format `Words`; line 0 stands for words that
    /// are not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary: Option<String>,
    /// How many different tokens there are: ids run from 0 to this minus 1.
    #[serde(default = "bytes")]
    #[schemars(range(min = 2, max = 16_777_216))]
    pub vocabulary_size: u32,
    /// Tokens of a sample.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub context: u32,
}

const fn bytes() -> u32 {
    256
}

/// What token files hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TokenFormat {
    /// Any bytes, each a token.
    #[default]
    Bytes,
    /// Text in UTF-8: words between white space, numbered by the vocabulary.
    Words,
    /// Token ids, 16 bits each, little-endian.
    U16,
    /// Token ids, 32 bits each, little-endian.
    U32,
    /// One-dimensional NumPy arrays (`.npy`) of whole numbers.
    Npy,
}
