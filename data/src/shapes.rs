//! Generated colour pictures of ten shapes, for models that look at colour: nothing to download.
//!
//! Each has a shape of random place and size in a random colour over a background that changes from
//! one colour to another, with noise. The same on every machine: only `+ - * /` on f32, and ChaCha8
//! streams, one for each sample.

use crate::chance::Chance;
use crate::{Normalisation, Split};

/// Side of a picture.
pub const SIDE: usize = 32;
/// Red, green, blue.
pub const CHANNELS: usize = 3;
/// Disc, ring, square, frame, triangle, plus, cross, stripes that lie, stripes that stand, diamond.
pub const CLASSES: usize = 10;
/// Mean and standard deviation of the pixels.
pub const NORMALISATION: Normalisation = Normalisation { mean: 0.5, std: 0.25 };

/// Generated pictures with their classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shapes {
    /// Samples one after the other, [`CHANNELS`] planes of [`SIDE`] x [`SIDE`] each, 0 to 255.
    pub pixels: Vec<u8>,
    /// The class of each.
    pub labels: Vec<u8>,
}

/// Generates `n` samples of a split; sample `i` depends on seed, split and `i` alone.
pub fn generate(seed: u64, split: Split, n: usize) -> Shapes {
    let mut out =
        Shapes { pixels: Vec::with_capacity(n * CHANNELS * SIDE * SIDE), labels: Vec::new() };
    for i in 0..n {
        let label = picture(&mut Chance::new("shapes", seed, split, i as u64), &mut out.pixels);
        out.labels.push(label);
    }
    out
}

fn picture(chance: &mut Chance, pixels: &mut Vec<u8>) -> u8 {
    let class = chance.below(CLASSES) as u8;
    let radius = 6.0 + 7.0 * chance.unit();
    let room = SIDE as f32 - 2.0 * radius;
    let [x0, y0] = [0; 2].map(|_| radius + room * chance.unit());
    let (from, to) = (colour(chance), colour(chance));
    let ink = colour_unlike(chance, from, to);
    let noise = 0.02 + 0.1 * chance.unit();
    for channel in 0..CHANNELS {
        for y in 0..SIDE {
            for x in 0..SIDE {
                let (u, v) = ((x as f32 - x0) / radius, (y as f32 - y0) / radius);
                let ground = from[channel] + (to[channel] - from[channel]) * y as f32 / SIDE as f32;
                let value = if is_inside(class, u, v) { ink[channel] } else { ground };
                let noisy = value + chance.within(noise);
                pixels.push((noisy.clamp(0.0, 1.0) * 255.0) as u8);
            }
        }
    }
    class
}

/// Whether a point is inside a shape of radius 1 around 0; v points downwards.
fn is_inside(class: u8, u: f32, v: f32) -> bool {
    let (a, b) = (u.abs(), v.abs());
    let (largest, square) = (a.max(b), u * u + v * v);
    match class {
        0 => square <= 1.0,
        1 => (0.4..=1.0).contains(&square),
        2 => largest <= 0.85,
        3 => (0.5..=0.9).contains(&largest),
        4 => b <= 0.9 && a <= f32::midpoint(v, 0.9),
        5 => largest <= 0.95 && a.min(b) <= 0.28,
        6 => largest <= 0.9 && (a - b).abs() <= 0.35,
        7 => largest <= 0.9 && (((v + 1.0) * 2.5) as u32).is_multiple_of(2),
        8 => largest <= 0.9 && (((u + 1.0) * 2.5) as u32).is_multiple_of(2),
        _ => a + b <= 1.0,
    }
}

fn colour(chance: &mut Chance) -> [f32; CHANNELS] {
    [0; CHANNELS].map(|_| chance.unit())
}

/// A colour that can be told from both.
fn colour_unlike(chance: &mut Chance, a: [f32; CHANNELS], b: [f32; CHANNELS]) -> [f32; CHANNELS] {
    let distance = |c: [f32; CHANNELS], d: [f32; CHANNELS]| -> f32 {
        c.iter().zip(d).map(|(c, d)| (c - d).abs()).sum()
    };
    loop {
        let found = colour(chance);
        if distance(found, a) > 0.6 && distance(found, b) > 0.6 {
            return found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_depend_on_seed_split_and_place_alone() {
        let some = generate(1, Split::Train, 20);
        assert_eq!(some.pixels.len(), 20 * CHANNELS * SIDE * SIDE);
        let more = generate(1, Split::Train, 21);
        assert_eq!(more.pixels[..some.pixels.len()], some.pixels);
        assert_ne!(generate(1, Split::Test, 20), some);
        assert_ne!(generate(2, Split::Train, 20), some);
        let seen: std::collections::HashSet<u8> =
            generate(0, Split::Train, 200).labels.into_iter().collect();
        assert_eq!(seen.len(), CLASSES);
    }
}
