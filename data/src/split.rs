//! Which samples are held out.

use crate::shuffle::below;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

/// A set of samples, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    words: Vec<u64>,
    count: u64,
}

impl Held {
    /// Draws exactly `share` of `n` samples, at least one and not all (Knuth, The Art of Computer
    /// Programming 2, algorithm 3.4.2 S). Needs two samples or more.
    pub fn draw(seed: u64, share: f64, n: u64) -> Self {
        let count = ((n as f64 * share).round() as u64).clamp(1, n.saturating_sub(1).max(1));
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut words = vec![0_u64; n.div_ceil(64) as usize];
        let mut wanted = count;
        for i in 0..n {
            if wanted > 0 && below(&mut rng, n - i) < wanted {
                words[(i / 64) as usize] |= 1 << (i % 64);
                wanted -= 1;
            }
        }
        Self { words, count }
    }

    /// Whether a sample is in the set.
    pub fn contains(&self, i: u64) -> bool {
        (self.words[(i / 64) as usize] >> (i % 64)) & 1 == 1
    }

    /// How many are.
    pub const fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::Held;

    #[test]
    fn a_share_is_exact_spread_and_the_same_again() {
        let held = Held::draw(7, 0.1, 10_000);
        assert_eq!(held.count(), 1000);
        let members = |range: std::ops::Range<u64>| range.filter(|&i| held.contains(i)).count();
        assert_eq!(members(0..10_000), 1000);
        assert!((300..700).contains(&members(0..5000)));
        assert_eq!(held, Held::draw(7, 0.1, 10_000));
        assert_ne!(held, Held::draw(8, 0.1, 10_000));
        assert_eq!(Held::draw(0, 0.001, 2).count(), 1);
        assert_eq!(Held::draw(0, 0.999, 3).count(), 2);
    }
}
