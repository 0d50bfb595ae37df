//! Curves with few points, and as bars of characters.

use crate::spark::block;
use mixnn_events::{History, Step};
use serde::Serialize;

/// Points of a curve, at most.
pub(super) const POINTS: usize = 200;

/// Step and value.
pub(super) type Point = (f64, f64);

/// Which curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Loss of training batches.
    Loss,
    /// Share of right answers in training batches, in percent.
    Accuracy,
    /// Time of a step.
    Milliseconds,
    /// Share of right answers in tests, in percent.
    Tests,
}

/// All curves of a training.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Curves {
    loss: Vec<Point>,
    accuracy: Vec<Point>,
    milliseconds: Vec<Point>,
    tests: Vec<Point>,
}

impl Curves {
    /// The curves with at most so many points, each the mean of the steps around it; of times the median.
    pub(super) fn of(history: &History, points: usize) -> Self {
        let steps: Vec<&Step> = history.steps.values().collect();
        let size = steps.len().div_ceil(points).max(1);
        let each = |value: &dyn Fn(&[&Step]) -> Option<f64>| {
            let point = |part: &[&Step]| Some((part[part.len() / 2].step as f64, value(part)?));
            steps.chunks(size).filter_map(point).collect()
        };
        let mean =
            |part: &[&Step]| Some(part.iter().map(|s| s.loss).sum::<f64>() / part.len() as f64);
        let share = |part: &[&Step]| {
            let answers: u64 = part.iter().map(|s| s.answers).sum();
            let correct: u64 = part.iter().map(|s| s.correct).sum();
            (answers > 0).then(|| 100.0 * correct as f64 / answers as f64)
        };
        let median = |part: &[&Step]| {
            let mut times: Vec<f64> = part.iter().map(|s| s.milliseconds).collect();
            times.sort_unstable_by(f64::total_cmp);
            times.get(times.len() / 2).copied()
        };
        let tests = history.tests.iter();
        Self {
            loss: each(&mean),
            accuracy: each(&share),
            milliseconds: each(&median),
            tests: tests
                .filter_map(|(&step, t)| Some((step as f64, 100.0 * t.accuracy()?)))
                .collect(),
        }
    }

    pub(super) fn get(&self, which: Which) -> &[Point] {
        match which {
            Which::Loss => &self.loss,
            Which::Accuracy => &self.accuracy,
            Which::Milliseconds => &self.milliseconds,
            Which::Tests => &self.tests,
        }
    }
}

/// Two curves on one scale, each a line of bars of this width; where one is shorter, nothing.
pub(super) fn sparkline(curves: [&[Point]; 2], width: usize) -> [String; 2] {
    let all = || curves.iter().flat_map(|curve| curve.iter()).filter(|(_, y)| y.is_finite());
    let last = all().map(|(x, _)| *x).fold(1.0, f64::max);
    let (low, high) = all().fold((f64::MAX, f64::MIN), |(l, h), (_, y)| (l.min(*y), h.max(*y)));
    let line = |curve: &[Point]| -> String {
        let column = |c: usize| {
            let (from, to) = (c as f64 / width as f64 * last, (c + 1) as f64 / width as f64 * last);
            let here: Vec<f64> = curve
                .iter()
                .filter(|(x, y)| *x > from && *x <= to && y.is_finite())
                .map(|(_, y)| *y)
                .collect();
            match here.len() {
                0 => ' ',
                n => block(here.iter().sum::<f64>() / n as f64, low, high),
            }
        };
        (0..width).map(column).collect()
    };
    curves.map(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_share_a_scale_and_a_shorter_curve_ends_early() {
        let a: Vec<Point> = (1..=8).map(|i| (f64::from(i), f64::from(8 - i))).collect();
        let b: Vec<Point> = (1..=4).map(|i| (f64::from(i), 7.0)).collect();
        assert_eq!(sparkline([&a, &b], 8), ["█▇▆▅▄▃▂▁".to_owned(), "████    ".to_owned()]);
    }

    #[test]
    fn what_is_no_number_leaves_a_gap() {
        let a = [(1.0, 1.0), (2.0, f64::NAN), (3.0, 1.0)];
        assert_eq!(sparkline([&a, &a], 3)[0], "▁ ▁");
    }
}
