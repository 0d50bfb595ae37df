//! Blocks of samples: what is read at a time.

use crate::DataError;
use std::sync::{Arc, OnceLock};

/// Numbers as a format keeps them.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// Pixels.
    U8(Vec<u8>),
    /// Classes and tokens.
    U32(Vec<u32>),
    /// Measured values.
    F32(Vec<f32>),
}

impl Raw {
    /// How many numbers there are.
    pub const fn len(&self) -> usize {
        match self {
            Self::U8(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::F32(v) => v.len(),
        }
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Samples with their targets, one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The samples.
    pub samples: Raw,
    /// The targets: as many numbers a sample as the data set says.
    pub targets: Raw,
}

/// What is known of a block before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize {
    /// Samples in it.
    pub samples: u32,
    /// Bytes it takes in memory.
    pub bytes: u64,
}

/// Where samples come from: blocks that can be read in any order, by several threads at once.
pub trait Source: Send + Sync {
    /// All blocks, in the order of the data. A block of no samples is not allowed.
    fn blocks(&self) -> &[BlockSize];

    /// Reads a block.
    ///
    /// # Errors
    /// The file cannot be read, or is not what it must be.
    fn load(&self, block: usize) -> Result<Arc<Block>, DataError>;

    /// How many threads may read at once with gain.
    fn readers(&self) -> usize {
        1
    }
}

/// Blocks in memory.
pub(crate) struct InMemory {
    sizes: Vec<BlockSize>,
    blocks: Vec<Arc<Block>>,
}

impl InMemory {
    /// Pictures of `sample` pixels with a class each, in blocks of `per_block` samples.
    pub(crate) fn pictures(pixels: &[u8], classes: &[u8], sample: usize, per_block: usize) -> Self {
        let block = |(pixels, classes): (&[u8], &[u8])| {
            let (samples, targets) = (Raw::U8(pixels.to_vec()), Raw::U8(classes.to_vec()));
            Arc::new(Block { samples, targets })
        };
        let parts = pixels.chunks(sample * per_block).zip(classes.chunks(per_block));
        Self::of(parts.map(block).collect(), 1)
    }

    /// Sequences of `sample` tokens with `target` tokens (or classes) each, in blocks of `per_block`
    /// samples.
    pub(crate) fn tokens(
        tokens: &[u32],
        targets: &[u32],
        [sample, target]: [usize; 2],
        per_block: usize,
    ) -> Self {
        let block = |(tokens, targets): (&[u32], &[u32])| {
            let (samples, targets) = (Raw::U32(tokens.to_vec()), Raw::U32(targets.to_vec()));
            Arc::new(Block { samples, targets })
        };
        let parts = tokens.chunks(sample * per_block).zip(targets.chunks(target * per_block));
        Self::of(parts.map(block).collect(), target)
    }

    /// Blocks whose samples have `target` numbers to be told each.
    fn of(blocks: Vec<Arc<Block>>, target: usize) -> Self {
        let bytes = |raw: &Raw| raw.len() * if matches!(raw, Raw::U8(_)) { 1 } else { 4 };
        let size = |b: &Arc<Block>| BlockSize {
            samples: (b.targets.len() / target) as u32,
            bytes: (bytes(&b.samples) + bytes(&b.targets)) as u64,
        };
        Self { sizes: blocks.iter().map(size).collect(), blocks }
    }
}

impl Source for InMemory {
    fn blocks(&self) -> &[BlockSize] {
        &self.sizes
    }

    fn load(&self, block: usize) -> Result<Arc<Block>, DataError> {
        Ok(Arc::clone(&self.blocks[block]))
    }
}

/// Records in a block, where a format lets choose: about 256 KiB.
pub(crate) fn per_block(record: usize) -> usize {
    ((256 << 10) / record.max(1)).max(1)
}

/// Cuts `n` records of `bytes` bytes into blocks of `per_block`.
pub(crate) fn even_blocks(n: u64, per_block: usize, bytes: u64) -> Vec<BlockSize> {
    let size = |samples: u64| BlockSize { samples: samples as u32, bytes: samples * bytes };
    let per_block = per_block as u64;
    let whole = std::iter::repeat_n(size(per_block), (n / per_block) as usize);
    let rest = n % per_block;
    whole.chain((rest > 0).then(|| size(rest))).collect()
}

/// Data sets up to this size are kept after they were read once: 64 MiB.
const KEEP: u64 = 64 << 20;

/// Keeps what was read of a small data set.
pub(crate) struct Kept {
    inner: Box<dyn Source>,
    slots: Vec<OnceLock<Arc<Block>>>,
}

impl Kept {
    /// Wraps a source, if it is small enough.
    pub(crate) fn small(inner: Box<dyn Source>) -> Arc<dyn Source> {
        let bytes: u64 = inner.blocks().iter().map(|b| b.bytes).sum();
        if bytes > KEEP {
            return Arc::from(inner);
        }
        let slots = inner.blocks().iter().map(|_| OnceLock::new()).collect();
        Arc::new(Self { inner, slots })
    }
}

impl Source for Kept {
    fn blocks(&self) -> &[BlockSize] {
        self.inner.blocks()
    }

    fn load(&self, block: usize) -> Result<Arc<Block>, DataError> {
        if let Some(kept) = self.slots[block].get() {
            return Ok(Arc::clone(kept));
        }
        let read = self.inner.load(block)?;
        Ok(Arc::clone(self.slots[block].get_or_init(|| read)))
    }

    fn readers(&self) -> usize {
        self.inner.readers()
    }
}
