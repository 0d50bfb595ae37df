//! `torch.nn.BatchNorm1d`, `BatchNorm2d`, `GroupNorm`, `LayerNorm`.

use super::{Operation, eps, positive, size, yes};
use crate::parameter::scale_and_shift;
use crate::{Buffer, BufferKind, Parameter, Shape, ShapeError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Normalises each channel over the micro-batch in training, by running means in evaluation.
///
/// Means are those of the micro-batch, not of the batch: another number of micro-batches is another
/// model. `groupNorm` and `layerNorm` do not care.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchNorm {
    /// Channels of the input.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub channels: u32,
    /// Added to the variance, above 0.
    #[serde(default = "eps")]
    pub eps: f64,
    /// Share of a new mean in the running one, above 0, at most 1.
    #[serde(default = "tenth")]
    pub momentum: f64,
    /// Whether scale and shift are learned.
    #[serde(default = "yes")]
    pub affine: bool,
}

const fn tenth() -> f64 {
    0.1
}

impl Operation for BatchNorm {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        positive("eps", self.eps)?;
        if !(self.momentum > 0.0 && self.momentum <= 1.0) {
            let momentum = self.momentum;
            return Err(ShapeError(format!(
                "momentum is {momentum}; it must be above 0, at most 1"
            )));
        }
        if input.sizes().len() > 3 {
            return Err(ShapeError(format!(
                "expects [channels], [channels, length] or [channels, height, width], its input has shape {input}"
            )));
        }
        expect_channels(self.channels, input)?;
        Ok(input.clone())
    }

    fn parameters(&self) -> Vec<Parameter> {
        scale_and_shift(&[i64::from(self.channels)], self.affine)
    }

    fn buffers(&self) -> Vec<Buffer> {
        let of = |name: &str, shape, kind| Buffer { name: name.into(), shape, kind };
        let channels = vec![i64::from(self.channels)];
        vec![
            of("running_mean", channels.clone(), BufferKind::Zeros),
            of("running_var", channels, BufferKind::Ones),
            of("num_batches_tracked", Vec::new(), BufferKind::Count),
        ]
    }
}

/// Normalises each group of channels of a sample (arXiv 1803.08494).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupNorm {
    /// Groups into which channels are cut.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub groups: u32,
    /// Channels of the input.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub channels: u32,
    /// Added to the variance, above 0.
    #[serde(default = "eps")]
    pub eps: f64,
    /// Whether scale and shift are learned.
    #[serde(default = "yes")]
    pub affine: bool,
}

impl Operation for GroupNorm {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        positive("eps", self.eps)?;
        let (groups, channels) = (size("groups", self.groups)?, size("channels", self.channels)?);
        if !channels.is_multiple_of(groups) {
            return Err(ShapeError(format!(
                "groups is {groups}; it must divide channels ({channels})"
            )));
        }
        expect_channels(self.channels, input)?;
        Ok(input.clone())
    }

    fn parameters(&self) -> Vec<Parameter> {
        scale_and_shift(&[i64::from(self.channels)], self.affine)
    }
}

/// Normalises the last dimensions of a sample (arXiv 1607.06450).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerNorm {
    /// The last dimensions of the input.
    #[schemars(length(min = 1, max = 7))]
    pub shape: Vec<u32>,
    /// Added to the variance, above 0.
    #[serde(default = "eps")]
    pub eps: f64,
    /// Whether scale and shift are learned.
    #[serde(default = "yes")]
    pub affine: bool,
}

impl Operation for LayerNorm {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        positive("eps", self.eps)?;
        let last = self.shape.iter().map(|&s| s as usize).collect::<Vec<_>>();
        if last.is_empty() || !input.sizes().ends_with(&last) {
            return Err(ShapeError(format!(
                "normalises the last dimensions {last:?}, its input has shape {input}: set shape to {:?}",
                &input.sizes()[input.sizes().len().saturating_sub(last.len().max(1))..]
            )));
        }
        Ok(input.clone())
    }

    fn parameters(&self) -> Vec<Parameter> {
        let shape: Vec<i64> = self.shape.iter().map(|&s| i64::from(s)).collect();
        scale_and_shift(&shape, self.affine)
    }
}

fn expect_channels(channels: u32, input: &Shape) -> Result<(), ShapeError> {
    let (channels, found) = (size("channels", channels)?, input.sizes()[0]);
    if channels == found {
        return Ok(());
    }
    Err(ShapeError(format!(
        "expects {channels} channels, its input has shape {input}: set channels to {found}"
    )))
}
