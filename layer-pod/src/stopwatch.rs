//! Where this layer's time goes, for an owner who asked.

use crate::Lane;
use mixnn_protocol::times::{Doing, MAX_SPANS, Span, Sums, Times};
use mixnn_protocol::{Kind, MessageHeader};
use mixnn_transport::Passage;
use std::time::{Duration, Instant};

/// Notes what was done, until it is told.
pub(crate) struct Stopwatch {
    zero: Instant,
    noted: Vec<Noted>,
    left_out: u32,
    sums: Sums,
}

struct Noted {
    doing: Doing,
    step: u64,
    micro_batch: u32,
    began: Instant,
    took: Duration,
}

impl Stopwatch {
    pub(crate) fn new() -> Self {
        let (noted, sums) = (Vec::new(), Sums::default());
        Self { zero: Instant::now(), noted, left_out: 0, sums }
    }

    /// Something was computed from `began` until now.
    pub(crate) fn computed(&mut self, doing: Doing, step: u64, micro_batch: u32, began: Instant) {
        let took = began.elapsed();
        let sum = match doing {
            Doing::Forward => &mut self.sums.forward,
            Doing::Backward | Doing::Loss => &mut self.sums.backward,
            _ => &mut self.sums.apply,
        };
        *sum = sum.saturating_add(micros(took));
        self.note(Noted { doing, step, micro_batch, began, took });
    }

    /// A message came in or went out. Only those of steps are noted.
    pub(crate) fn passed(&mut self, lane: Lane, header: MessageHeader, passage: Passage) {
        let (doing, sum) = match (lane, header.kind) {
            (Lane::ForwardIn, Kind::Activation) => (Doing::ForwardCame, &mut self.sums.opening),
            (Lane::BackwardIn, Kind::Gradient | Kind::Labels) => {
                (Doing::BackwardCame, &mut self.sums.opening)
            }
            (Lane::ForwardOut, Kind::Activation) => (Doing::ForwardSealed, &mut self.sums.sealing),
            (Lane::BackwardOut, Kind::Gradient) => (Doing::BackwardSealed, &mut self.sums.sealing),
            _ => return,
        };
        *sum = sum.saturating_add(micros(passage.sealing));
        let (step, micro_batch, began) = (header.step, header.micro_batch, passage.began);
        let took = passage.ended.saturating_duration_since(began);
        self.note(Noted { doing, step, micro_batch, began, took });
    }

    fn note(&mut self, noted: Noted) {
        if self.noted.len() < MAX_SPANS {
            self.noted.push(noted);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// What was noted since the last time, told in a report of `step`.
    pub(crate) fn take(&mut self, step: u64) -> Times {
        let now = Instant::now();
        let span = |noted: &Noted| Span {
            doing: noted.doing,
            ahead: ahead(noted.step, step),
            micro_batch: noted.micro_batch,
            before: micros(now.saturating_duration_since(noted.began)),
            took: micros(noted.took),
        };
        let times = Times {
            now: now.duration_since(self.zero).as_micros() as u64,
            spans: self.noted.iter().map(span).collect(),
            left_out: self.left_out,
            sums: self.sums,
        };
        self.forget();
        times
    }

    /// Drops what was noted: it is of an attempt that is over.
    pub(crate) fn forget(&mut self) {
        self.noted.clear();
        self.left_out = 0;
        self.sums = Sums::default();
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

fn ahead(step: u64, of: u64) -> i8 {
    let ahead = i128::from(step) - i128::from(of);
    ahead.clamp(i8::MIN.into(), i8::MAX.into()) as i8
}
