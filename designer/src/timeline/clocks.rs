//! How clocks of processes lie to each other, from what they say themselves of when messages passed.
//!
//! Nothing comes before it was sent: a message from `u` to `v` says that the offset of `v`'s clock is at least
//! that of `u`'s and the difference between the two readings. Lanes go both ways around the ring, and reports
//! come straight, so that each clock is bounded from both sides; the least delays bound it best. No message
//! is sent for it.

use std::collections::HashMap;

/// Readings are forgotten after one to two times so many steps: clocks drift.
const WINDOW: u32 = 64;

/// A clock against the first one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Offset {
    /// What is added to its readings, in microseconds.
    pub(super) micros: f64,
    /// By how much that may be wrong, either way; not known if none.
    pub(super) error: Option<f64>,
}

/// The clocks of a ring; the first is the designer's.
pub(super) struct Clocks {
    count: usize,
    /// From and to: the most that a message was sent after it came, by the two clocks; of this window and the
    /// one before.
    bounds: HashMap<(usize, usize), [i64; 2]>,
    steps: u32,
}

impl Clocks {
    pub(super) fn new(count: usize) -> Self {
        Self { count, bounds: HashMap::new(), steps: 0 }
    }

    /// A message was sent and came, each by the clock of who says so, in microseconds.
    pub(super) fn message(&mut self, from: usize, to: usize, sent: i64, came: i64) {
        let bound = self.bounds.entry((from, to)).or_insert([i64::MIN; 2]);
        bound[0] = bound[0].max(sent.saturating_sub(came));
    }

    /// A step is over.
    pub(super) fn step(&mut self) {
        self.steps += 1;
        if self.steps.is_multiple_of(WINDOW) {
            self.bounds.values_mut().for_each(|bound| *bound = [i64::MIN, bound[0]]);
        }
    }

    /// What is known of every clock.
    pub(super) fn offsets(&self) -> Vec<Offset> {
        let known = |(&(from, to), bound): (&(usize, usize), &[i64; 2])| {
            let bound = bound[0].max(bound[1]);
            (bound > i64::MIN).then_some((from, to, bound as f64))
        };
        let forth: Vec<(usize, usize, f64)> = self.bounds.iter().filter_map(known).collect();
        let back: Vec<_> = forth.iter().map(|&(from, to, bound)| (to, from, bound)).collect();
        let (least, most) = (self.furthest(&forth), self.furthest(&back));
        let offset = |(least, most): (f64, f64)| match (least.is_finite(), most.is_finite()) {
            (true, true) => {
                let most = -most;
                Offset {
                    micros: f64::midpoint(least, most),
                    error: Some((most - least).abs() / 2.0),
                }
            }
            (true, false) => Offset { micros: least, error: None },
            (false, true) => Offset { micros: -most, error: None },
            (false, false) => Offset { micros: 0.0, error: None },
        };
        least.into_iter().zip(most).map(offset).collect()
    }

    /// The longest way from the first clock to each: what one bound adds to another.
    fn furthest(&self, bounds: &[(usize, usize, f64)]) -> Vec<f64> {
        let mut far = vec![f64::NEG_INFINITY; self.count];
        far[0] = 0.0;
        // Each pass settles one more clock at least. Who lies about times could make them rise for ever.
        for _ in 0..self.count {
            let mut settled = true;
            for &(from, to, bound) in bounds {
                let through = far[from] + bound;
                if to != 0 && through > far[to] {
                    far[to] = through;
                    settled = false;
                }
            }
            if settled {
                break;
            }
        }
        far
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A ring of clocks that are hours apart, with delays of 200 to 900 microseconds.
    fn told(ahead: &[i64], steps: i64) -> Clocks {
        let mut clocks = Clocks::new(ahead.len());
        let delay = |step: i64, hop: usize| 200 + (step * 7919 + hop as i64 * 104_729) % 700;
        for step in 0..steps {
            for from in 0..ahead.len() {
                let to = (from + 1) % ahead.len();
                for (from, to) in [(from, to), (to, from)] {
                    let sent = step * 10_000;
                    let came = sent + delay(step, from * 31 + to);
                    clocks.message(from, to, sent + ahead[from], came + ahead[to]);
                }
            }
            clocks.step();
        }
        clocks
    }

    #[test]
    fn every_clock_is_within_the_error_that_is_told() {
        let ahead = [0, 7_200_000_000, -3_600_000_000, 12, 86_400_000_000];
        for (clock, offset) in told(&ahead, 50).offsets().iter().enumerate() {
            let error = offset.error.unwrap();
            assert!((offset.micros + ahead[clock] as f64).abs() <= error, "{clock}: {offset:?}");
            assert!(error < 900.0, "{clock}: {offset:?}");
        }
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut clocks = told(&[0, 0], i64::from(2 * WINDOW));
        for _ in 0..2 * WINDOW {
            // The second clock has been set back since.
            clocks.message(0, 1, 0, 300 - 5_000);
            clocks.message(1, 0, -5_000, 300);
            clocks.step();
        }
        let offset = clocks.offsets()[1];
        assert!((offset.micros - 5_000.0).abs() <= offset.error.unwrap(), "{offset:?}");
    }

    #[test]
    fn who_lies_costs_the_picture_and_no_more() {
        let mut clocks = told(&[0, 0, 0], 2);
        clocks.message(1, 2, i64::MAX, i64::MIN);
        clocks.message(2, 1, i64::MAX, i64::MIN);
        assert!(clocks.offsets().iter().all(|offset| offset.micros.is_finite()));
        assert_eq!(Clocks::new(2).offsets()[1].error, None);
    }
}
