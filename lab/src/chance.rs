//! Random draws, and what may be said from a number of trials.

use mixnn_protocol::rand_core::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use statrs::distribution::{Beta, ContinuousCDF};

/// The stream of one trial: trials are independent, and every one can be run again.
pub fn stream(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Uniform in 0..1.
pub fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Uniform in `from..to`.
pub fn between(rng: &mut impl Rng, from: f64, to: f64) -> f64 {
    from + (to - from) * unit(rng)
}

/// Exponential with this mean.
pub fn exponential(rng: &mut impl Rng, mean: f64) -> f64 {
    -mean * (1.0 - unit(rng)).ln()
}

/// A whole number below `n`.
pub fn index(rng: &mut impl Rng, n: usize) -> usize {
    ((unit(rng) * n as f64) as usize).min(n - 1)
}

/// A random order of `0..n`.
pub fn permutation(rng: &mut impl Rng, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, index(rng, i + 1));
    }
    order
}

/// The two-sided 95 % interval of Clopper and Pearson (1934) for a share of which `hits` of `trials`
/// were seen.
pub fn clopper_pearson(hits: u64, trials: u64) -> (f64, f64) {
    let (x, n) = (hits as f64, trials as f64);
    let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map_or(f64::NAN, |d| d.inverse_cdf(p));
    let low = if hits == 0 { 0.0 } else { quantile(x, n - x + 1.0, 0.025) };
    let high = if hits == trials { 1.0 } else { quantile(x + 1.0, n - x, 0.975) };
    (low, high)
}

/// What a share of right guesses among `k` is above blind guessing: 0 for blind, 1 for always right.
pub fn advantage(accuracy: f64, k: usize) -> f64 {
    let blind = 1.0 / k as f64;
    (accuracy - blind) / (1.0 - blind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_agree_with_published_ones() {
        // R: binom.test(0, 10), binom.test(125, 1000), binom.test(10, 10)
        for (hits, trials, low, high) in
            [(0, 10, 0.0, 0.30850), (125, 1000, 0.10515, 0.14711), (10, 10, 0.69150, 1.0)]
        {
            let (l, h) = clopper_pearson(hits, trials);
            assert!((l - low).abs() < 5e-4 && (h - high).abs() < 5e-4, "{hits}/{trials}: {l} {h}");
        }
    }

    #[test]
    fn blind_guessing_has_no_advantage() {
        assert!(advantage(0.125, 8).abs() < 1e-12);
        assert!((advantage(1.0, 8) - 1.0).abs() < 1e-12);
    }
}
