//! A learned attacker: logistic regression over what all others see, and more.
//!
//! It is trained on trials of the same regime that are not counted, with their truth: an adversary can
//! run as many models of its own as it likes.

use crate::attack::{Scores, knows, lateness, matching_in, places, posterior, sizes, standardised};
use crate::sim::{Taps, Truth};
use crate::workload::Ms;

/// Weights of the features.
#[derive(Clone, Debug)]
pub struct Classifier {
    weights: Vec<f64>,
}

const ROUNDS: usize = 200;
const RATE: f64 = 0.5;

impl Classifier {
    /// Trains on trials whose truth is known.
    pub fn train(trials: &[(Taps, Truth)]) -> Self {
        let mut rows: Vec<(Vec<f64>, f64, f64)> = Vec::new();
        for (taps, truth) in trials {
            let features = features(taps);
            let k = taps.input.len();
            for i in 0..k {
                for j in 0..k {
                    let x: Vec<f64> = features.iter().map(|f| f[i][j]).collect();
                    let belongs = truth.label(i, j);
                    // There are k - 1 wrong pairs for each right one.
                    let weight = if belongs { (k - 1) as f64 } else { 1.0 };
                    rows.push((x, f64::from(belongs), weight));
                }
            }
        }
        let n = rows.first().map_or(0, |r| r.0.len());
        let total: f64 = rows.iter().map(|r| r.2).sum();
        let mut weights = vec![0.0; n];
        for _ in 0..ROUNDS {
            let mut gradient = vec![0.0; n];
            for (x, y, weight) in &rows {
                let error = weight * (sigmoid(dot(x, &weights)) - y) / total;
                gradient.iter_mut().zip(x).for_each(|(g, x)| *g += error * x);
            }
            weights.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= RATE * g);
        }
        Self { weights }
    }

    /// Scores of a trial.
    pub fn scores(&self, taps: &Taps) -> Scores {
        let features = features(taps);
        let k = taps.input.len();
        let score =
            |i: usize, j: usize| features.iter().zip(&self.weights).map(|(f, w)| f[i][j] * w).sum();
        (0..k).map(|i| (0..k).map(|j| score(i, j)).collect()).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Everything that a pair can be judged by, each standardised over the outputs.
fn features(taps: &Taps) -> Vec<Scores> {
    let all = [
        sizes(taps),
        posterior(taps),
        matching_in(taps, 2.0),
        matching_in(taps, 10.0),
        matching_in(taps, 50.0),
        by(taps, |times| times.first().copied().unwrap_or(0.0)),
        by(taps, |times| times.last().copied().unwrap_or(0.0)),
        by(taps, gap_deviation),
        by(taps, rhythm),
        knows(taps),
        places(taps, lateness),
    ];
    all.iter().map(standardised).collect()
}

/// Pairs are the likelier, the closer this number of the input is to that of the output.
fn by(taps: &Taps, number: impl Fn(&[Ms]) -> f64) -> Scores {
    let of = |lanes: &[Vec<Ms>]| lanes.iter().map(|l| number(l)).collect::<Vec<_>>();
    let (input, output) = (of(&taps.input), of(&taps.output));
    input.iter().map(|a| output.iter().map(|b| -(a - b).abs()).collect()).collect()
}

fn gap_deviation(times: &[Ms]) -> f64 {
    let gaps: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    let n = gaps.len().max(1) as f64;
    let mean = gaps.iter().sum::<f64>() / n;
    (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// The mean distance between long gaps: a lane's step.
fn rhythm(times: &[Ms]) -> f64 {
    let starts: Vec<f64> = times.windows(2).filter(|w| w[1] - w[0] > 20.0).map(|w| w[1]).collect();
    match (starts.first(), starts.last()) {
        (Some(first), Some(last)) if starts.len() > 1 => (last - first) / (starts.len() - 1) as f64,
        _ => 0.0,
    }
}
