//! The loss since the training began, in few points: a status is no database.

use mixnn_crds::LossCurve;

/// The most points. When there are more, each two become one.
const MOST: usize = 48;

/// Means of the loss over equal stretches of steps.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Steps of a stretch.
    every: u64,
    /// Sum of losses and how many, of each stretch.
    points: Vec<(f64, u64)>,
}

impl Default for Curve {
    fn default() -> Self {
        Self { every: 1, points: Vec::new() }
    }
}

impl Curve {
    /// As a designer before this one left it.
    pub fn of(status: Option<&LossCurve>) -> Self {
        let Some(status) = status else { return Self::default() };
        let Ok(every) = u64::try_from(status.every) else { return Self::default() };
        let mean =
            |text: &String| text.parse::<f64>().ok().map(|mean| (mean * every as f64, every));
        let points: Option<Vec<_>> = status.loss.iter().map(mean).collect();
        match points {
            Some(points) if every > 0 && points.len() <= MOST => Self { every, points },
            _ => Self::default(),
        }
    }

    /// The loss of a step, from 1. A step that is made again has the same loss: counting it twice changes little.
    pub fn add(&mut self, step: u64, loss: f64) {
        if !loss.is_finite() {
            return;
        }
        while self.place(step) >= MOST {
            self.every *= 2;
            self.points = self.points.chunks(2).map(sum).collect();
        }
        let place = self.place(step);
        if self.points.len() <= place {
            self.points.resize(place + 1, (0.0, 0));
        }
        let (sum, count) = &mut self.points[place];
        *sum += loss;
        *count += 1;
    }

    /// The training goes on after this step: what came later is made again.
    pub fn resume(&mut self, after: u64) {
        self.points.truncate(usize::try_from(after.div_ceil(self.every)).unwrap_or(MOST));
    }

    /// As the status says it. Stretches of which no loss is known are left out.
    pub fn status(&self) -> Option<LossCurve> {
        let known = self.points.iter().filter(|(_, count)| *count > 0);
        let loss: Vec<_> =
            known.map(|(sum, count)| format!("{:.4}", sum / *count as f64)).collect();
        (!loss.is_empty()).then_some(LossCurve { every: self.every as i64, loss })
    }

    fn place(&self, step: u64) -> usize {
        usize::try_from(step.saturating_sub(1) / self.every).unwrap_or(usize::MAX)
    }
}

fn sum(points: &[(f64, u64)]) -> (f64, u64) {
    points.iter().fold((0.0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stay_few_and_survive_another_designer() {
        let mut curve = Curve::default();
        (1..=1000).for_each(|step| curve.add(step, 2000.0 - step as f64));
        let status = curve.status().unwrap_or_default();
        assert_eq!((status.every, status.loss.len()), (32, 32));
        assert!(status.loss.windows(2).all(|w| w[0] > w[1]), "{status:?}");
        let mut next = Curve::of(Some(&status));
        next.resume(320);
        assert_eq!(next.status().unwrap_or_default().loss, status.loss[..10]);
        next.add(321, 9.0);
        assert_eq!(next.status().unwrap_or_default().loss[10], "9.0000");
        next.add(322, f64::NAN);
        assert_eq!(next.status().unwrap_or_default().loss.len(), 11);
        assert!(
            Curve::of(Some(&LossCurve { every: 0, loss: vec!["1".into()] })).status().is_none()
        );
    }
}
