//! The attackers. Each gives a score to every pair of an input and an output; the best assignment of
//! all lanes at once (Hungarian method) is its guess.

use crate::sim::Taps;
use crate::workload::{Lane, Ms};
use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

/// `scores[input][output]`: the larger, the likelier.
pub type Scores = Vec<Vec<f64>>;

/// Which attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attacker {
    /// Counts of cells, in all and in each burst.
    Sizes,
    /// For each cell that leaves, how likely each input is to be where it came from.
    Posterior,
    /// Rates over time, correlated through the delay's kernel.
    Matching,
    /// Is told what every lane carries, shapes and times, and looks for it: in rates, or, where all
    /// lanes have the same, in the place of a lane's cell within its slot.
    Knows,
    /// A classifier trained on trials that are not counted, over all features of the others and more.
    Learned,
    /// Looks for what it did to the first lane (delay, drop, flood, n-1) in the outputs.
    Active,
}

impl Attacker {
    /// For tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sizes => "1 sizes",
            Self::Posterior => "3 posterior per cell",
            Self::Matching => "4 lane matching",
            Self::Knows => "5 knows shapes and times",
            Self::Learned => "learned classifier",
            Self::Active => "6 active",
        }
    }
}

/// The assignment of outputs to inputs with the largest sum of scores.
pub fn assign(scores: &Scores) -> Vec<usize> {
    let all = scores.iter().flatten().copied().filter(|s| s.is_finite());
    let (low, high) = all.fold((f64::MAX, f64::MIN), |(l, h), s| (l.min(s), h.max(s)));
    let span = (high - low).max(f64::MIN_POSITIVE);
    let whole = |s: &f64| if s.is_finite() { ((s - low) / span * 1e9) as i64 } else { 0 };
    let rows = scores.iter().map(|row| row.iter().map(whole).collect::<Vec<_>>());
    let Ok(matrix) = Matrix::from_rows(rows) else { return Vec::new() };
    kuhn_munkres(&matrix).1
}

fn pairs(taps: &Taps, score: impl Fn(usize, usize) -> f64) -> Scores {
    let k = taps.input.len();
    (0..k).map(|i| (0..k).map(|j| score(i, j)).collect()).collect()
}

/// Sizes of bursts: cells less than this apart belong to one.
const BURST_GAP: Ms = 0.9;

/// How the cells of a lane come: how many, and in which bursts.
pub struct Shape {
    cells: f64,
    bursts: f64,
    /// Deciles of the bursts' sizes.
    deciles: [f64; 9],
}

impl Shape {
    /// Of one lane.
    pub fn of(times: &[Ms]) -> Self {
        let mut sizes: Vec<f64> = Vec::new();
        for (i, t) in times.iter().enumerate() {
            match sizes.last_mut() {
                Some(size) if t - times[i - 1] < BURST_GAP => *size += 1.0,
                _ => sizes.push(1.0),
            }
        }
        let bursts = sizes.len() as f64;
        sizes.sort_by(f64::total_cmp);
        let at = |d: usize| sizes.get(sizes.len() * d / 10).copied().unwrap_or(0.0);
        Self { cells: times.len() as f64, bursts, deciles: std::array::from_fn(|d| at(d + 1)) }
    }

    fn distance(&self, other: &Self) -> f64 {
        let far = |a: f64, b: f64| (a.ln_1p() - b.ln_1p()).abs();
        let deciles: f64 = self.deciles.iter().zip(&other.deciles).map(|(a, b)| far(*a, *b)).sum();
        far(self.cells, other.cells) * 20.0 + far(self.bursts, other.bursts) + deciles / 9.0
    }
}

/// Attacker 1.
pub fn sizes(taps: &Taps) -> Scores {
    let shapes = |lanes: &[Vec<Ms>]| lanes.iter().map(|l| Shape::of(l)).collect::<Vec<_>>();
    let (input, output) = (shapes(&taps.input), shapes(&taps.output));
    pairs(taps, |i, j| -input[i].distance(&output[j]))
}

/// Attacker 3: the mean log-likelihood of an output's cells, if they came from this input through an
/// exponential delay.
pub fn posterior(taps: &Taps) -> Scores {
    let mean = taps.regime.delay();
    pairs(taps, |i, j| {
        let (input, output) = (&taps.input[i], &taps.output[j]);
        let (mut next, mut weight, mut at) = (0, 0.0f64, 0.0);
        let mut sum = 0.0;
        for &left in output {
            weight *= ((at - left) / mean).exp();
            at = left;
            while next < input.len() && input[next] <= left {
                weight += ((input[next] - left) / mean).exp();
                next += 1;
            }
            sum += (weight / mean + 1e-6).ln();
        }
        sum / output.len().max(1) as f64
    })
}

/// Cells in each bin, smoothed by the delay's kernel if given, as deviations from their mean.
fn rates(times: &[Ms], bin: Ms, until: Ms, delay: Option<Ms>) -> Vec<f64> {
    let mut bins = vec![0.0; (until / bin).ceil() as usize + 1];
    for t in times {
        let at = ((t / bin) as usize).min(bins.len() - 1);
        bins[at] += 1.0;
    }
    if let Some(delay) = delay {
        let keep = (-bin / delay).exp();
        let mut held = 0.0;
        for b in &mut bins {
            held = held * keep + *b * (1.0 - keep);
            *b = held;
        }
    }
    let mean = bins.iter().sum::<f64>() / bins.len() as f64;
    bins.iter_mut().for_each(|b| *b -= mean);
    bins
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let norm = (dot(a, a) * dot(b, b)).sqrt();
    if norm > 1e-9 { dot(a, b) / norm } else { 0.0 }
}

/// Correlation of rates in bins of this length.
pub fn matching_in(taps: &Taps, bin: Ms) -> Scores {
    let last =
        |lanes: &[Vec<Ms>]| lanes.iter().filter_map(|l| l.last()).copied().fold(1.0, f64::max);
    let until = last(&taps.input).max(last(&taps.output));
    let of = |lanes: &[Vec<Ms>], delay| -> Vec<Vec<f64>> {
        lanes.iter().map(|l| rates(l, bin, until, delay)).collect()
    };
    let (input, output) = (of(&taps.input, Some(taps.regime.delay())), of(&taps.output, None));
    pairs(taps, |i, j| correlation(&input[i], &output[j]))
}

/// Attacker 4.
pub fn matching(taps: &Taps) -> Scores {
    matching_in(taps, (taps.regime.delay() / 2.0).clamp(1.0, 50.0))
}

/// Attacker 5. What it is told of a lane is more than the lane's links could tell.
pub fn knows(taps: &Taps) -> Scores {
    if has_slots(taps) {
        return places(taps, says_something);
    }
    let told = Taps { input: taps.says.iter().map(Lane::times).collect(), ..taps.clone() };
    matching_in(&told, 10.0)
}

/// Whether every lane leaves as many cells: then rates say nothing.
fn has_slots(taps: &Taps) -> bool {
    let count = taps.output.first().map_or(0, Vec::len);
    count > 0 && taps.output.iter().all(|lane| lane.len() == count)
}

/// For each of a lane's cells 1 if it has something to say, else 0: its messages, cell by cell.
fn says_something(taps: &Taps, lane: usize) -> Vec<f64> {
    let mut messages = taps.says[lane].messages.iter().peekable();
    let mut waiting = 0;
    let take = |at: &Ms| {
        while let Some(message) = messages.next_if(|m| m.at <= *at) {
            waiting += message.cells;
        }
        let says = waiting > 0;
        waiting -= usize::from(says);
        f64::from(says)
    };
    taps.entry[lane].iter().map(take).collect()
}

/// How late each cell of a lane is against its neighbours' mean: its sender is busy.
pub(crate) fn lateness(taps: &Taps, lane: usize) -> Vec<f64> {
    let gaps = |w: &[Ms]| w[1] - f64::midpoint(w[0], w[2]);
    let cells = &taps.input[lane];
    std::iter::once(0.0).chain(cells.windows(3).map(gaps)).collect()
}

/// Slots that a cell may wait at the crossing relay.
const LAGS: usize = 5;

/// Correlation of a series of an input lane, cell by cell, with where within its slot an output lane's
/// cell leaves; the best of several lags. Nothing if there are no slots.
pub(crate) fn places(taps: &Taps, series: impl Fn(&Taps, usize) -> Vec<f64>) -> Scores {
    if !has_slots(taps) {
        return pairs(taps, |_, _| 0.0);
    }
    let (count, k) = (taps.output[0].len(), taps.output.len() as f64);
    let middle: Vec<Ms> =
        (0..count).map(|n| taps.output.iter().map(|l| l[n]).sum::<f64>() / k).collect();
    let place: Vec<Vec<f64>> =
        taps.output.iter().map(|l| l.iter().zip(&middle).map(|(t, m)| t - m).collect()).collect();
    let lagged: Vec<Vec<Vec<f64>>> = (0..taps.input.len())
        .map(|i| {
            let (series, clock) = (series(taps, i), &taps.entry[i]);
            (0..LAGS).map(|lag| centred(&behind(&series, clock, &middle, lag))).collect()
        })
        .collect();
    pairs(taps, |i, j| {
        lagged[i].iter().map(|series| correlation(series, &place[j])).fold(f64::MIN, f64::max)
    })
}

/// The series' value of the cell that was sent `lag` cells before each slot.
fn behind(series: &[f64], clock: &[Ms], slots: &[Ms], lag: usize) -> Vec<f64> {
    let at = |slot: &Ms| {
        let sent = clock.partition_point(|t| t <= slot);
        sent.checked_sub(1 + lag).and_then(|n| series.get(n)).copied().unwrap_or(0.0)
    };
    slots.iter().map(at).collect()
}

fn centred(series: &[f64]) -> Vec<f64> {
    let mean = series.iter().sum::<f64>() / series.len().max(1) as f64;
    series.iter().map(|x| x - mean).collect()
}

/// Attacker 6: compares only the first lane's input, as tampered with, with every output.
pub fn active(taps: &Taps) -> Scores {
    let scores = [matching_in(taps, 10.0), posterior(taps), sizes(taps)].map(|mut s| {
        s.iter_mut().skip(1).for_each(|row| row.fill(0.0));
        standardised(&s)
    });
    pairs(taps, |i, j| scores.iter().map(|s| s[i][j]).sum())
}

/// Each row with mean 0 and deviation 1: what counts is how outputs compare for one input.
pub fn standardised(scores: &Scores) -> Scores {
    scores
        .iter()
        .map(|row| {
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let deviation = (row.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / n).sqrt();
            let scale = if deviation > 1e-12 { deviation } else { 1.0 };
            row.iter().map(|s| (s - mean) / scale).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_assignment_is_found_even_if_no_row_has_its_best() {
        let scores = vec![vec![9.0, 8.0, 0.0], vec![9.0, 1.0, 0.0], vec![5.0, 5.0, 1.0]];
        assert_eq!(assign(&scores), [1, 0, 2]);
    }

    #[test]
    fn bursts_are_told_apart() {
        let shape = Shape::of(&[0.0, 0.1, 0.2, 10.0, 10.1, 30.0]);
        assert_eq!((shape.cells, shape.bursts), (6.0, 3.0));
    }
}
