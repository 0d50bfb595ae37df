//! Generated digits that look drawn by hand: strokes under a random affine map, a shaking hand, a
//! pen of varying width, noise and specks.
//!
//! The same on every machine: only `+ - * /` and square roots on f32, and ChaCha8 streams, one for
//! each sample. Made to be hard for a linear model, whose accuracy stays far below LeNet-5's.

use crate::chance::Chance;
use crate::{Normalisation, Split};

/// Side of a picture.
pub const SIDE: usize = 28;
/// Digits from 0 to 9.
pub const CLASSES: usize = 10;
/// Mean and standard deviation of the pixels, measured over 10,000 samples.
pub const NORMALISATION: Normalisation = Normalisation { mean: 0.17, std: 0.29 };

type Point = [f32; 2];
type Stroke = &'static [Point];

/// Ways to write each digit, in a unit square, y downwards.
const HANDS: [&[&[Stroke]]; CLASSES] = [
    &[
        &[&[
            [0.5, 0.0],
            [0.15, 0.2],
            [0.1, 0.6],
            [0.3, 0.95],
            [0.65, 0.98],
            [0.9, 0.65],
            [0.85, 0.25],
            [0.5, 0.0],
        ]],
        &[&[
            [0.6, 0.05],
            [0.3, 0.1],
            [0.2, 0.5],
            [0.35, 0.95],
            [0.6, 0.95],
            [0.75, 0.5],
            [0.6, 0.05],
            [0.45, 0.15],
        ]],
    ],
    &[
        &[&[[0.5, 0.0], [0.5, 1.0]]],
        &[&[[0.25, 0.25], [0.5, 0.0], [0.5, 1.0]]],
        &[&[[0.25, 0.25], [0.5, 0.0], [0.5, 1.0]], &[[0.25, 1.0], [0.75, 1.0]]],
    ],
    &[
        &[&[
            [0.15, 0.25],
            [0.35, 0.02],
            [0.7, 0.05],
            [0.8, 0.3],
            [0.6, 0.6],
            [0.15, 1.0],
            [0.85, 1.0],
        ]],
        &[&[
            [0.15, 0.2],
            [0.5, 0.0],
            [0.8, 0.2],
            [0.6, 0.6],
            [0.25, 0.9],
            [0.2, 0.75],
            [0.45, 0.8],
            [0.9, 0.98],
        ]],
    ],
    &[
        &[&[
            [0.15, 0.1],
            [0.5, 0.0],
            [0.8, 0.2],
            [0.45, 0.45],
            [0.85, 0.7],
            [0.5, 1.0],
            [0.12, 0.88],
        ]],
        &[&[[0.15, 0.02], [0.8, 0.02], [0.45, 0.4], [0.85, 0.65], [0.6, 0.98], [0.15, 0.9]]],
    ],
    &[
        &[&[[0.6, 0.0], [0.1, 0.65], [0.9, 0.65]], &[[0.65, 0.35], [0.65, 1.0]]],
        &[&[[0.2, 0.0], [0.15, 0.5], [0.8, 0.5]], &[[0.75, 0.0], [0.7, 1.0]]],
    ],
    &[
        &[&[
            [0.8, 0.0],
            [0.25, 0.0],
            [0.2, 0.42],
            [0.6, 0.38],
            [0.85, 0.68],
            [0.6, 0.98],
            [0.15, 0.92],
        ]],
        &[
            &[[0.3, 0.02], [0.22, 0.45], [0.7, 0.42], [0.8, 0.8], [0.4, 1.0], [0.15, 0.85]],
            &[[0.3, 0.02], [0.85, 0.0]],
        ],
    ],
    &[
        &[&[
            [0.7, 0.0],
            [0.3, 0.3],
            [0.15, 0.7],
            [0.4, 1.0],
            [0.8, 0.85],
            [0.7, 0.55],
            [0.2, 0.65],
        ]],
        &[&[
            [0.5, 0.0],
            [0.25, 0.5],
            [0.25, 0.9],
            [0.6, 1.0],
            [0.75, 0.75],
            [0.5, 0.58],
            [0.25, 0.75],
        ]],
    ],
    &[
        &[&[[0.1, 0.02], [0.85, 0.02], [0.5, 0.5], [0.35, 1.0]]],
        &[&[[0.12, 0.1], [0.12, 0.0], [0.85, 0.0], [0.4, 1.0]], &[[0.3, 0.5], [0.75, 0.5]]],
    ],
    &[
        &[&[
            [0.8, 0.15],
            [0.45, 0.0],
            [0.2, 0.22],
            [0.75, 0.68],
            [0.5, 1.0],
            [0.2, 0.75],
            [0.75, 0.3],
            [0.8, 0.15],
        ]],
        &[
            &[[0.5, 0.0], [0.25, 0.2], [0.5, 0.45], [0.75, 0.2], [0.5, 0.0]],
            &[[0.5, 0.45], [0.2, 0.72], [0.5, 1.0], [0.8, 0.72], [0.5, 0.45]],
        ],
    ],
    &[
        &[&[
            [0.8, 0.3],
            [0.5, 0.48],
            [0.2, 0.3],
            [0.45, 0.0],
            [0.8, 0.15],
            [0.75, 0.6],
            [0.6, 1.0],
        ]],
        &[&[[0.75, 0.1], [0.35, 0.05], [0.25, 0.4], [0.65, 0.42], [0.75, 0.1], [0.75, 1.0]]],
    ],
];

/// Generated pictures with their classes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digits {
    /// Samples one after the other, [`SIDE`] rows of [`SIDE`] pixels each, 0 to 255.
    pub pixels: Vec<u8>,
    /// The class of each.
    pub labels: Vec<u8>,
}

/// Generates `n` samples of a split; sample `i` depends on seed, split and `i` alone.
pub fn generate(seed: u64, split: Split, n: usize) -> Digits {
    let mut pixels = Vec::with_capacity(n * SIDE * SIDE);
    let mut labels = Vec::with_capacity(n);
    for i in 0..n {
        let (picture, label) = sample(seed, split, i as u64);
        pixels.extend_from_slice(&picture);
        labels.push(label);
    }
    Digits { pixels, labels }
}

fn sample(seed: u64, split: Split, i: u64) -> ([u8; SIDE * SIDE], u8) {
    let mut hand = Chance::new("", seed, split, i);
    let label = hand.below(CLASSES);
    let ways = HANDS[label];
    let strokes = ways[hand.below(ways.len())];
    let map = Affine::random(&mut hand);
    let width = 0.9 + 0.9 * hand.unit();
    let mut ink = [0.0_f32; SIDE * SIDE];
    for stroke in strokes {
        let points: Vec<Point> = stroke.iter().map(|p| map.apply(shaken(&mut hand, *p))).collect();
        draw(&mut ink, &smooth(&points), width);
    }
    // A speck or two, as on scanned paper.
    for _ in 0..hand.below(3) {
        let from = [hand.unit() * SIDE as f32, hand.unit() * SIDE as f32];
        let to = [from[0] + hand.within(4.0), from[1] + hand.within(4.0)];
        draw(&mut ink, &[from, to], 0.8);
    }
    let noise = 0.25 * hand.unit();
    let pixel = |v: f32| {
        let noisy = v * (0.75 + 0.25 * v) + hand.within(noise);
        (noisy.clamp(0.0, 1.0) * 255.0) as u8
    };
    (ink.map(pixel), label as u8)
}

fn shaken(hand: &mut Chance, [x, y]: Point) -> Point {
    [x + hand.within(0.06), y + hand.within(0.06)]
}

/// From the unit square to the picture.
struct Affine {
    rows: [[f32; 2]; 2],
    shift: Point,
}

impl Affine {
    fn random(hand: &mut Chance) -> Self {
        // cos and sin of 2 atan(t), without either: up to 28 degrees.
        let t = hand.within(0.25);
        let (cos, sin) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
        let (width, height) = (9.0 + 8.0 * hand.unit(), 13.0 + 8.0 * hand.unit());
        let shear = hand.within(0.3);
        Self {
            rows: [
                [width * cos, height * (shear * cos - sin)],
                [width * sin, height * (shear * sin + cos)],
            ],
            shift: [14.0 + hand.within(3.5), 14.0 + hand.within(3.5)],
        }
    }

    fn apply(&self, [x, y]: Point) -> Point {
        let (x, y) = (x - 0.5, y - 0.5);
        let at = |row: [f32; 2], shift: f32| row[0] * x + row[1] * y + shift;
        [at(self.rows[0], self.shift[0]), at(self.rows[1], self.shift[1])]
    }
}

/// A Catmull-Rom curve through the points, four pieces from each to the next.
fn smooth(points: &[Point]) -> Vec<Point> {
    let at = |i: isize| points[i.clamp(0, points.len() as isize - 1) as usize];
    let mut out = vec![points[0]];
    for i in 0..points.len() as isize - 1 {
        let [a, b, c, d] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
        for piece in 1..=4 {
            let t = piece as f32 / 4.0;
            let along = |k: usize| {
                let (m0, m1) = ((c[k] - a[k]) / 2.0, (d[k] - b[k]) / 2.0);
                let (e, f) = (2.0 * (b[k] - c[k]) + m0 + m1, 3.0 * (c[k] - b[k]) - 2.0 * m0 - m1);
                ((e * t + f) * t + m0) * t + b[k]
            };
            out.push([along(0), along(1)]);
        }
    }
    out
}

/// Draws a line of this half width; ink never adds up beyond 1.
fn draw(ink: &mut [f32; SIDE * SIDE], line: &[Point], width: f32) {
    for pair in line.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let span = |k: usize| {
            let low = a[k].min(b[k]) - width - 1.0;
            let high = a[k].max(b[k]) + width + 2.0;
            low.clamp(0.0, SIDE as f32) as usize..high.clamp(0.0, SIDE as f32) as usize
        };
        for y in span(1) {
            for x in span(0) {
                let distance = distance([x as f32 + 0.5, y as f32 + 0.5], a, b);
                let v = (width + 0.5 - distance).clamp(0.0, 1.0);
                let pixel = &mut ink[y * SIDE + x];
                *pixel = pixel.max(v);
            }
        }
    }
}

fn distance(p: Point, a: Point, b: Point) -> f32 {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let length = dx * dx + dy * dy;
    let t = if length > 0.0 { ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length } else { 0.0 };
    let t = t.clamp(0.0, 1.0);
    let (ex, ey) = (p[0] - a[0] - t * dx, p[1] - a[1] - t * dy);
    (ex * ex + ey * ey).sqrt()
}
