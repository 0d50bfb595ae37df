//! Pictures.

use super::FilesSpec;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Files in IDX format (gzip or not), under the names of MNIST.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdxSpec {
    /// Number of classes: labels run from 0 to this minus 1.
    #[serde(default = "ten")]
    #[schemars(range(min = 2, max = 256))]
    pub classes: u32,
    /// Mean of the pixels (as 0 to 1), subtracted from each.
    #[serde(default = "mnist_mean")]
    pub mean: f64,
    /// Standard deviation of the pixels, by which each is divided.
    #[serde(default = "mnist_std")]
    pub std: f64,
    /// Random changes of training pictures.
    #[serde(default, skip_serializing_if = "AugmentSpec::is_none")]
    pub augment: AugmentSpec,
}

/// Pictures in PNG or JPEG files, `train/CLASS/NAME.png`. Classes are numbered in the order of their
/// folders' names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImagesSpec {
    /// The folders to train and to test on.
    pub files: FilesSpec,
    /// Height and width of a sample, in pixels.
    #[schemars(inner(range(min = 1, max = 4096)))]
    pub size: [u32; 2],
    /// Grey or colour.
    #[serde(default)]
    pub channels: Channels,
    /// What happens to a picture of another size.
    #[serde(default)]
    pub fit: Fit,
    /// Number of classes.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub classes: u32,
    /// Mean of each channel (as 0 to 1), subtracted; one for all, or one a channel.
    #[serde(default = "half")]
    #[schemars(length(min = 1, max = 3))]
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, by which it is divided; one for all, or one a channel.
    #[serde(default = "half")]
    #[schemars(length(min = 1, max = 3))]
    pub std: Vec<f64>,
    /// Random changes of training pictures.
    #[serde(default, skip_serializing_if = "AugmentSpec::is_none")]
    pub augment: AugmentSpec,
}

/// Channels of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// One: colour is turned into luma.
    Grey,
}

impl Channels {
    /// How many there are.
    pub const fn count(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Grey => 1,
        }
    }
}

/// What happens to a picture of another size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Fit {
    /// It is an error.
    #[default]
    Exact,
    /// It is scaled to the size, without keeping its proportions.
    Resize,
}

/// Random changes of training pictures: drawn from the owner's secret, the epoch and the sample's
/// index alone, so every run makes the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AugmentSpec {
    /// Mirrors every other picture, left to right.
    #[serde(default)]
    pub horizontal_flip: bool,
    /// Adds so many black pixels on every side, and cuts the size out again at a random place.
    #[serde(default)]
    #[schemars(range(max = 1024))]
    pub crop_padding: u32,
}

impl AugmentSpec {
    /// Whether nothing is changed.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

const fn ten() -> u32 {
    10
}
const fn mnist_mean() -> f64 {
    0.1307
}
const fn mnist_std() -> f64 {
    0.3081
}
fn half() -> Vec<f64> {
    vec![0.5]
}
