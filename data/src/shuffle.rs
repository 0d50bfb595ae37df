//! Shuffling: the same order on every machine, from the owner's key.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The numbers `0..n` in the order of an epoch: Fisher-Yates over ChaCha20 with the key as seed and
/// the epoch as stream.
pub fn shuffled(key: &[u8; 32], epoch: u32, n: usize) -> Vec<u32> {
    let mut rng = ChaCha20Rng::from_seed(*key);
    rng.set_stream(u64::from(epoch));
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        let j = below(&mut rng, i as u64 + 1) as usize;
        order.swap(i, j);
    }
    order
}

/// A uniform number below `bound`, by rejection: no modulo bias.
fn below(rng: &mut impl Rng, bound: u64) -> u64 {
    let zone = u64::MAX - u64::MAX % bound;
    loop {
        let x = rng.next_u64();
        if x < zone {
            return x % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shuffled;

    #[test]
    fn the_order_is_a_permutation_and_pinned() {
        let order = shuffled(&[3; 32], 1, 10);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<u32>>());
        assert_eq!(order, shuffled(&[3; 32], 1, 10));
        assert_ne!(order, shuffled(&[3; 32], 2, 10));
        assert_ne!(order, shuffled(&[4; 32], 1, 10));
        assert!(shuffled(&[0; 32], 1, 0).is_empty());
    }
}
