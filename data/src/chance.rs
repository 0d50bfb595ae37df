//! The randomness of one generated sample: the same on every machine.

use crate::Split;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One sample's randomness: a ChaCha8 stream of its own.
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    /// Of sample `i` of a split. `name` tells data sets apart: at most 16 bytes.
    pub(crate) fn new(name: &str, seed: u64, split: Split, i: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let end = 8 + name.len();
        key[8..end].copy_from_slice(name.as_bytes());
        key[end] = u8::from(split == Split::Test);
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(i);
        Self(rng)
    }

    /// Uniform in 0..1, with 24 bits.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// Uniform in -w..w.
    pub(crate) fn within(&mut self, w: f32) -> f32 {
        (2.0 * self.unit() - 1.0) * w
    }

    /// Uniform in 0..n.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }
}
