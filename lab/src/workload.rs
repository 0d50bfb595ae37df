//! What the lanes at one crossing relay have to carry: messages of layers of real shapes.

use crate::chance::{between, exponential, index, permutation};
use mixnn_protocol::rand_core::Rng;
use mixnn_protocol::sizes::cells_for;

/// Milliseconds.
pub type Ms = f64;

/// Elements of a sample between two layers: LeNet-5, a multi-layer perceptron, a small VGG, a small
/// transformer.
const SHAPES: [usize; 12] = [784, 1176, 400, 120, 84, 10, 128, 64, 3072, 16_384 / 4, 2048, 512];
/// Samples of a micro-batch.
const SAMPLES: [usize; 4] = [16, 32, 64, 128];
/// Parts of a batch.
const MICRO_BATCHES: usize = 4;

/// A message: when it is ready, and how many cells it has.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// When its first cell may leave.
    pub at: Ms,
    /// Its cells.
    pub cells: usize,
}

/// What one lane carries.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Its messages, in order.
    pub messages: Vec<Message>,
}

impl Lane {
    /// When each of its cells would leave, if they left at once.
    pub fn times(&self) -> Vec<Ms> {
        let cells = |m: &Message| std::iter::repeat_n(m.at, m.cells);
        self.messages.iter().flat_map(cells).collect()
    }

    /// What is ready before this time.
    #[must_use]
    pub fn until(&self, end: Ms) -> Self {
        let before = self.messages.partition_point(|m| m.at < end);
        Self { messages: self.messages[..before].to_vec() }
    }
}

/// The lanes at one crossing relay.
pub struct Workload {
    /// Their messages.
    pub lanes: Vec<Lane>,
    /// The longest step of any model: observation of `n` steps lasts `n` times as long.
    pub step: Ms,
}

impl Workload {
    /// `k` lanes of two or three models, over `steps` steps; no message has more than `most` cells.
    pub fn draw(rng: &mut impl Rng, k: usize, steps: usize, most: usize) -> Self {
        let models = 2 + index(rng, 2);
        let rates: Vec<Ms> = (0..models).map(|_| between(rng, 80.0, 120.0)).collect();
        let step = rates.iter().copied().fold(0.0, f64::max);
        // Lanes differ in shape as layers do: none is drawn twice before all have been.
        let shapes = permutation(rng, SHAPES.len());
        let lanes = (0..k)
            .map(|i| {
                let elements = SHAPES[shapes[i % SHAPES.len()]];
                let samples = SAMPLES[index(rng, SAMPLES.len())];
                let cells = cells_for(4 * elements * samples).min(most);
                let of = rates[index(rng, models)];
                Lane { messages: messages(rng, of, cells, step * steps as f64) }
            })
            .collect();
        Self { lanes, step }
    }
}

/// Each step a lane carries its micro-batches, at its own place in the step.
fn messages(rng: &mut impl Rng, step: Ms, cells: usize, until: Ms) -> Vec<Message> {
    let phase = between(rng, 0.0, step);
    let gap = between(rng, 2.0, 8.0);
    let mut out = Vec::new();
    let mut begin = phase;
    while begin < until {
        for m in 0..MICRO_BATCHES {
            let at = begin + m as f64 * gap + exponential(rng, 0.5);
            out.push(Message { at, cells });
        }
        begin += step + exponential(rng, 0.5);
    }
    out.sort_by(|a, b| a.at.total_cmp(&b.at));
    out
}
