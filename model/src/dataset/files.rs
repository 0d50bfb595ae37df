//! Which files to train on, and which to test on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which files to train on, and which to test on: test files of their own, or a share held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilesSpec {
    /// A file, or a folder whose files are taken in the order of their names. Relative to the place of
    /// the data.
    #[schemars(length(min = 1, max = 1024))]
    pub train: String,
    /// The same to test on. Either this or `holdOut`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub test: Option<String>,
    /// Share of the training samples that is held out to test on, above 0 and below 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_out: Option<f64>,
    /// Draws which samples are held out. Not secret: another owner's secret keeps the same split.
    #[serde(default)]
    pub hold_out_seed: u64,
}
