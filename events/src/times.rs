//! Where a step's time went, in every process of the ring.

use serde::{Deserialize, Serialize};

/// Where the time of a step went: the designer's and every layer's, on the designer's clock.
///
/// Layers tell times of their own clocks. Between these and the designer's, what is known is that nothing comes
/// before it was sent; [`Row::error`] says how much that leaves open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Times {
    /// Which step.
    pub step: u64,
    /// When the first thing of it was done, in milliseconds since 1970.
    pub begun: f64,
    /// The designer, then the layers, input first.
    pub rows: Vec<Row>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// All times of this row may be so many milliseconds earlier or later, against the designer's; not known
    /// if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// What was done.
    pub spans: Vec<Span>,
    /// Spans that are not among them: there were too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u32,
    /// Sums from one step to the next, in which nothing is left out.
    pub sums: Sums,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields so")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Milliseconds in all from the step before to this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sums {
    /// Forward passes.
    pub forward: f64,
    /// Backward passes, and the loss where it is computed.
    pub backward: f64,
    /// The optimizer.
    pub apply: f64,
    /// Reading and cutting batches: the designer's.
    pub inputs: f64,
    /// Opening cells, on a thread beside the computation.
    pub opening: f64,
    /// Sealing cells, on the same thread. Under constant-rate cover that is not known.
    pub sealing: f64,
}

impl Sums {
    /// What the computing thread did.
    pub fn computing(&self) -> f64 {
        self.forward + self.backward + self.apply + self.inputs
    }
}

/// Something that was done, or that came. Written as `["forward", 0, 1.25, 0.75]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Tuple", from = "Tuple")]
pub struct Span {
    /// What.
    pub doing: Doing,
    /// Of which micro-batch; 0 where it is of none.
    pub micro_batch: u32,
    /// When it began, in milliseconds after [`Times::begun`].
    pub at: f64,
    /// Milliseconds.
    pub took: f64,
}

type Tuple = (Doing, u32, f64, f64);

impl From<Span> for Tuple {
    fn from(span: Span) -> Self {
        (span.doing, span.micro_batch, span.at, span.took)
    }
}

impl From<Tuple> for Span {
    fn from((doing, micro_batch, at, took): Tuple) -> Self {
        Self { doing, micro_batch, at, took }
    }
}

/// What a span is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Doing {
    /// A forward pass.
    Forward,
    /// A backward pass.
    Backward,
    /// The optimizer's step.
    Apply,
    /// The loss of a micro-batch.
    Loss,
    /// Reading and cutting a batch.
    Inputs,
    /// A message on the lane forward, from its first cell to its last.
    ForwardCame,
    /// A message on the lane backward.
    BackwardCame,
    /// A message to the lane forward: sealing its cells. Under constant-rate cover it only began to wait for
    /// slots then.
    ForwardSealed,
    /// A message to the lane backward.
    BackwardSealed,
}

impl Doing {
    /// Whether the computing thread did it.
    pub const fn is_computing(self) -> bool {
        matches!(self, Self::Forward | Self::Backward | Self::Apply | Self::Loss | Self::Inputs)
    }
}
