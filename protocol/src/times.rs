//! Where a layer's time went: told to its owner in [`Report::Timed`](crate::control::Report::Timed), if
//! the owner asked for it.
//!
//! It travels in the message that says that a step was applied, and fits with it into one cell: there are as
//! many cells with it as without. All times are of the layer's own clock, whose zero says nothing.

use serde::{Deserialize, Serialize};

/// The most spans of one report: what is over is counted in [`Times::left_out`], and in the sums.
pub const MAX_SPANS: usize = 256;

/// Where a layer's time went since its last report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Times {
    /// The layer's clock when this was written, in microseconds.
    pub now: u64,
    /// What was done, oldest first; [`MAX_SPANS`] at the most.
    pub spans: Vec<Span>,
    /// Spans for which there was no room.
    pub left_out: u32,
    /// Of all spans, also of those that were left out.
    pub sums: Sums,
}

/// Microseconds since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sums {
    /// Forward passes of steps.
    pub forward: u32,
    /// Backward passes, with the loss where this layer computes it.
    pub backward: u32,
    /// The optimizer.
    pub apply: u32,
    /// Opening cells, beside the computation.
    pub opening: u32,
    /// Sealing cells, beside the computation.
    pub sealing: u32,
}

/// Something that a layer did, or that came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Tuple", from = "Tuple")]
pub struct Span {
    /// What.
    pub doing: Doing,
    /// Of which step, counted from the one that the report's header names.
    pub ahead: i8,
    /// Of which micro-batch; 0 where it is of none.
    pub micro_batch: u32,
    /// When it began: so many microseconds before [`Times::now`].
    pub before: u32,
    /// How long it took, in microseconds.
    pub took: u32,
}

/// A span as it is written: short, because many have to fit into a cell.
type Tuple = (Doing, i8, u32, u32, u32);

impl From<Span> for Tuple {
    fn from(span: Span) -> Self {
        (span.doing, span.ahead, span.micro_batch, span.before, span.took)
    }
}

impl From<Tuple> for Span {
    fn from((doing, ahead, micro_batch, before, took): Tuple) -> Self {
        Self { doing, ahead, micro_batch, before, took }
    }
}

/// What a span is of. A lane's direction is that of what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Doing {
    /// A forward pass.
    Forward,
    /// A backward pass.
    Backward,
    /// The loss of a micro-batch, where this layer computes it.
    Loss,
    /// The optimizer's step.
    Apply,
    /// A message on the forward lane, from its first cell to its last.
    ForwardCame,
    /// A message on the backward lane, from its first cell to its last.
    BackwardCame,
    /// A message to the forward lane: sealing its cells. Under constant-rate cover slots do that: then only
    /// when it began to wait for them.
    ForwardSealed,
    /// The same to the backward lane.
    BackwardSealed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{self, Report};
    use crate::sizes::FRAME_DATA;

    #[test]
    fn the_longest_report_fits_into_one_cell() {
        let longest = Span {
            doing: Doing::BackwardSealed,
            ahead: i8::MIN,
            micro_batch: 1023,
            before: u32::MAX,
            took: u32::MAX,
        };
        let most = u32::MAX;
        let sums =
            Sums { forward: most, backward: most, apply: most, opening: most, sealing: most };
        let spans = vec![longest; MAX_SPANS];
        let times = Times { now: u64::MAX, spans, left_out: u32::MAX, sums };
        let bytes = control::to_bytes(&Report::Timed(times.clone())).expect("short enough");
        assert!(bytes.len() <= FRAME_DATA, "{} bytes", bytes.len());
        assert_eq!(control::parse::<Report>(&bytes).expect("parses"), Report::Timed(times));
    }
}
