//! A data set: samples in blocks, those of them that belong to it, and what happens to each.

use crate::batch::{Batch, Values};
use crate::block::{Block, Raw, Source};
use crate::split::Held;
use crate::transform::{Draw, Transform};
use std::sync::Arc;

/// To train on, or to test on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To train on.
    Train,
    /// To test on: never seen in training.
    Test,
}

/// Samples of one kind, in blocks.
pub struct Dataset {
    source: Arc<dyn Source>,
    /// Place of each block's first sample in the whole, and the end.
    starts: Vec<u64>,
    held: Option<(Arc<Held>, Split)>,
    transform: Transform,
    /// Numbers of a target.
    target_len: usize,
    samples_empty: Values,
    targets_empty: Values,
}

impl Dataset {
    /// All samples of a source. `targets` is how many numbers the target of a sample has.
    pub fn new(source: Arc<dyn Source>, transform: Transform, kinds: Kinds) -> Self {
        let mut starts = vec![0];
        for block in source.blocks() {
            starts.push(starts[starts.len() - 1] + u64::from(block.samples));
        }
        Self {
            source,
            starts,
            held: None,
            transform,
            target_len: kinds.target_len,
            samples_empty: empty(kinds.real_samples),
            targets_empty: empty(kinds.real_targets),
        }
    }

    /// Those samples that are not held out, and those that are.
    pub fn split(self, held: Held) -> (Self, Self) {
        let held = Arc::new(held);
        let mut transform = self.transform.clone();
        transform.augment = mixnn_model::AugmentSpec::default();
        let test = Self {
            source: Arc::clone(&self.source),
            starts: self.starts.clone(),
            held: Some((Arc::clone(&held), Split::Test)),
            transform,
            samples_empty: self.samples_empty.clone(),
            targets_empty: self.targets_empty.clone(),
            ..self
        };
        (Self { held: Some((held, Split::Train)), ..self }, test)
    }

    /// How many samples there are.
    pub fn len(&self) -> u64 {
        let all = self.starts.last().copied().unwrap_or(0);
        match &self.held {
            None => all,
            Some((held, Split::Test)) => held.count(),
            Some((held, Split::Train)) => all - held.count(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shape of a sample.
    pub fn shape(&self) -> &[usize] {
        &self.transform.shape
    }

    /// Numbers of a sample.
    pub fn sample_len(&self) -> usize {
        self.transform.shape.iter().product()
    }

    /// Numbers of a target.
    pub const fn target_len(&self) -> usize {
        self.target_len
    }

    /// Blocks that it is read in.
    pub fn blocks(&self) -> usize {
        self.source.blocks().len()
    }

    /// Whether samples are real numbers (f32) and not tokens (i64).
    pub const fn has_real_samples(&self) -> bool {
        matches!(self.samples_empty, Values::F32(_))
    }

    pub(crate) fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// The rows of a block that belong to this set.
    pub(crate) fn rows(&self, block: usize) -> Vec<u32> {
        let all = 0..self.source.blocks()[block].samples;
        match &self.held {
            None => all.collect(),
            Some((held, split)) => {
                let (start, wanted) = (self.starts[block], *split == Split::Test);
                all.filter(|&row| held.contains(start + u64::from(row)) == wanted).collect()
            }
        }
    }

    pub(crate) fn empty_batch(&self) -> Batch {
        let (samples, targets) = (self.samples_empty.empty_like(), self.targets_empty.empty_like());
        Batch { len: 0, samples, targets }
    }

    /// Adds a row of a block to a batch.
    pub(crate) fn push(
        &self,
        content: &Block,
        block: usize,
        row: u32,
        draw: Option<Draw>,
        out: &mut Batch,
    ) {
        let (index, row) = (self.starts[block] + u64::from(row), row as usize);
        self.transform.push(&content.samples, row, index, draw, &mut out.samples);
        let range = row * self.target_len..(row + 1) * self.target_len;
        match (&content.targets, &mut out.targets) {
            (Raw::U32(ids), Values::I64(out)) => {
                out.extend(ids[range].iter().map(|&id| i64::from(id)));
            }
            (Raw::U8(ids), Values::I64(out)) => {
                out.extend(ids[range].iter().map(|&id| i64::from(id)));
            }
            (Raw::F32(values), Values::F32(out)) => out.extend_from_slice(&values[range]),
            // A source and its data set are made together: kinds agree.
            (raw, out) => unreachable!("{raw:?} as {out:?}"),
        }
        out.len += 1;
    }
}

/// Kinds of samples and targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// Samples are real numbers, not tokens.
    pub real_samples: bool,
    /// Targets are real numbers, not classes or tokens.
    pub real_targets: bool,
    /// Numbers of a target.
    pub target_len: usize,
}

impl Kinds {
    /// Pictures or measured values, each of one class.
    pub const CLASSES: Self = Self { real_samples: true, real_targets: false, target_len: 1 };
}

const fn empty(real: bool) -> Values {
    if real { Values::F32(Vec::new()) } else { Values::I64(Vec::new()) }
}
