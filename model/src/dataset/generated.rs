//! Generated data: nothing to download.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Generated colour pictures, 3 x 32 x 32, of ten shapes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShapesSpec {
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

/// Generated sentences of 69 words about four topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SentencesSpec {
    /// Samples to train on.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub train: u32,
    /// Samples to test on.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub test: u32,
    /// Tokens of a sample, from 13 (the longest sentence).
    #[schemars(range(min = 13, max = 4096))]
    pub length: u32,
    /// What is to be told.
    #[serde(default)]
    pub task: SentenceTask,
    /// Seed of the generator. The data are no secret.
    #[serde(default)]
    pub seed: u64,
}

/// What is to be told of a sample of sentences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SentenceTask {
    /// The topic of one sentence: a class.
    #[default]
    Topic,
    /// At each position of running text, the next token.
    NextToken,
}
