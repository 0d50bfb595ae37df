//! Where the time of each step goes, put together from what this process did and what layers tell.

mod clocks;

use crate::ring::{End, Lane};
use clocks::{Clocks, Offset};
use mixnn_events::{Doing, Row, Span, Sums, Times};
use mixnn_protocol::times::{self, MAX_SPANS};
use mixnn_protocol::{Kind, LaneRole, MessageHeader};
use mixnn_transport::Passage;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Spans of one step that are kept, of all processes together.
const MOST: usize = 8192;

/// Steps under way, and how clocks lie. Rows are the designer and then the layers, as around the ring.
pub(crate) struct Timeline {
    /// The zero of this process's times, and when that was, in milliseconds since 1970.
    zero: (Instant, u64),
    rows: usize,
    clocks: Clocks,
    /// By step. Only this process begins one: what layers say of others is passed over.
    under_way: BTreeMap<u64, Vec<Noted>>,
    /// Of this process, since the last step.
    sums: Sums,
}

/// What is known of one process in one step, by its own clock in microseconds.
#[derive(Clone, Default)]
struct Noted {
    spans: Vec<Raw>,
    left_out: u32,
    sums: Sums,
    /// When the report was written, and when it came.
    report: Option<(i64, i64)>,
}

#[derive(Clone, Copy)]
struct Raw {
    doing: Doing,
    micro_batch: u32,
    began: i64,
    took: u32,
}

impl Timeline {
    /// Of a ring with `layers` layers.
    pub(crate) fn new(layers: usize) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from((Instant::now(), now.as_millis() as u64), layers + 1)
    }

    fn from(zero: (Instant, u64), rows: usize) -> Self {
        let (clocks, under_way) = (Clocks::new(rows), BTreeMap::new());
        Self { zero, rows, clocks, under_way, sums: Sums::default() }
    }

    /// What was on its way is of an attempt that is over, and pods may be others.
    pub(crate) fn forget(&mut self) {
        *self = Self::from(self.zero, self.rows);
    }

    /// This process computed something from `began` until now.
    pub(crate) fn computed(&mut self, doing: Doing, step: u64, micro_batch: u32, began: Instant) {
        let took = began.elapsed();
        let sum =
            if doing == Doing::Loss { &mut self.sums.backward } else { &mut self.sums.inputs };
        *sum += took.as_secs_f64() * 1e3;
        self.own(doing, (step, micro_batch), began, took);
    }

    /// A message of a step left this process, or came to it.
    pub(crate) fn passed(&mut self, lane: &Lane, header: MessageHeader, passage: Passage) {
        let milliseconds = passage.sealing.as_secs_f64() * 1e3;
        let doing = match (lane.role, lane.from, header.kind) {
            (LaneRole::Forward, End::Designer, Kind::Activation) => Doing::ForwardSealed,
            (LaneRole::Forward, End::Layer(_), Kind::Activation) => Doing::ForwardCame,
            (LaneRole::Backward, _, Kind::Gradient | Kind::Labels) => Doing::BackwardSealed,
            _ => return,
        };
        let opens = doing == Doing::ForwardCame;
        *(if opens { &mut self.sums.opening } else { &mut self.sums.sealing }) += milliseconds;
        let took = passage.ended.saturating_duration_since(passage.began);
        self.own(doing, (header.step, header.micro_batch), passage.began, took);
    }

    fn own(&mut self, doing: Doing, at: (u64, u32), began: Instant, took: Duration) {
        let (rows, (step, micro_batch)) = (self.rows, at);
        let began = micros(began.saturating_duration_since(self.zero.0));
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        let noted = self.under_way.entry(step).or_insert_with(|| vec![Noted::default(); rows]);
        noted[0].spans.push(Raw { doing, micro_batch, began, took });
    }

    /// A layer says where its time of a step went; its report came just now.
    pub(crate) fn told(
        &mut self,
        layer: usize,
        step: u64,
        times: &times::Times,
        at: Option<Passage>,
    ) {
        let now = i64::try_from(times.now).unwrap_or(i64::MAX);
        for span in times.spans.iter().take(MAX_SPANS) {
            let of = step.checked_add_signed(span.ahead.into());
            let Some(noted) = of.and_then(|of| self.under_way.get_mut(&of)) else { continue };
            let Some(noted) = noted.get_mut(1 + layer) else { continue };
            // Its own, of the step before and of the one after.
            if noted.spans.len() < 3 * MAX_SPANS {
                let began = now.saturating_sub(span.before.into());
                let (micro_batch, took) = (span.micro_batch, span.took);
                noted.spans.push(Raw { doing: name(span.doing), micro_batch, began, took });
            }
        }
        let came = at.map(|passage| micros(passage.began.saturating_duration_since(self.zero.0)));
        let Some(noted) = self.under_way.get_mut(&step).and_then(|rows| rows.get_mut(1 + layer))
        else {
            return;
        };
        noted.left_out = times.left_out;
        noted.sums = sums(&times.sums);
        noted.report = came.map(|came| (now, came));
    }

    /// A step is committed. What was done of the one before is known by now: layers tell of what they sealed
    /// last with the next step.
    pub(crate) fn committed(&mut self, step: u64) -> Vec<Times> {
        if let Some(rows) = self.under_way.get_mut(&step) {
            rows[0].sums = std::mem::take(&mut self.sums);
        }
        let later = self.under_way.split_off(&step);
        self.end(later)
    }

    /// No step follows: whatever is known of the last one.
    pub(crate) fn rest(&mut self) -> Vec<Times> {
        self.end(BTreeMap::new())
    }

    fn end(&mut self, later: BTreeMap<u64, Vec<Noted>>) -> Vec<Times> {
        let ended = std::mem::replace(&mut self.under_way, later);
        ended.into_iter().map(|(step, rows)| self.times(step, &rows)).collect()
    }

    fn times(&mut self, step: u64, rows: &[Noted]) -> Times {
        self.set_clocks(rows);
        let offsets = self.clocks.offsets();
        let at = |offset: &Offset, raw: &Raw| raw.began as f64 + offset.micros;
        let all =
            || rows.iter().zip(&offsets).flat_map(|(n, o)| n.spans.iter().map(move |r| at(o, r)));
        let begun = all().reduce(f64::min).unwrap_or_default();
        let most = MOST / self.rows.max(1);
        let row = |(noted, offset): (&Noted, &Offset)| {
            let span = |raw: &Raw| Span {
                doing: raw.doing,
                micro_batch: raw.micro_batch,
                at: milliseconds(at(offset, raw) - begun),
                took: milliseconds(raw.took.into()),
            };
            let over = noted.spans.len().saturating_sub(most) as u32;
            Row {
                error: offset.error.map(milliseconds),
                spans: noted.spans.iter().take(most).map(span).collect(),
                left_out: noted.left_out.saturating_add(over),
                sums: noted.sums,
            }
        };
        let begun = self.zero.1 as f64 + milliseconds(begun);
        Times { step, begun, rows: rows.iter().zip(&offsets).map(row).collect() }
    }

    /// Takes in what the messages of a step say of clocks.
    fn set_clocks(&mut self, rows: &[Noted]) {
        for from in 0..self.rows {
            let next = (from + 1) % self.rows;
            let back = (from + self.rows - 1) % self.rows;
            let both = [
                (next, Doing::ForwardSealed, Doing::ForwardCame),
                (back, Doing::BackwardSealed, Doing::BackwardCame),
            ];
            for (to, sealed, came) in both {
                let sent: HashMap<u32, i64> = of(&rows[from], sealed).collect();
                for (micro_batch, came) in of(&rows[to], came) {
                    if let Some(&sent) = sent.get(&micro_batch) {
                        self.clocks.message(from, to, sent, came);
                    }
                }
            }
            if let Some((written, came)) = rows[from].report {
                self.clocks.message(from, 0, written, came);
            }
        }
        self.clocks.step();
    }
}

/// Micro-batch and beginning of every span of a kind.
fn of(noted: &Noted, doing: Doing) -> impl Iterator<Item = (u32, i64)> {
    let is_one = move |raw: &&Raw| raw.doing == doing;
    noted.spans.iter().filter(is_one).map(|raw| (raw.micro_batch, raw.began))
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Microseconds as milliseconds, without digits that say nothing.
fn milliseconds(micros: f64) -> f64 {
    micros.round() / 1e3
}

fn sums(told: &times::Sums) -> Sums {
    let ms = |micros: u32| milliseconds(micros.into());
    Sums {
        forward: ms(told.forward),
        backward: ms(told.backward),
        apply: ms(told.apply),
        inputs: 0.0,
        opening: ms(told.opening),
        sealing: ms(told.sealing),
    }
}

const fn name(doing: times::Doing) -> Doing {
    match doing {
        times::Doing::Forward => Doing::Forward,
        times::Doing::Backward => Doing::Backward,
        times::Doing::Loss => Doing::Loss,
        times::Doing::Apply => Doing::Apply,
        times::Doing::ForwardCame => Doing::ForwardCame,
        times::Doing::BackwardCame => Doing::BackwardCame,
        times::Doing::ForwardSealed => Doing::ForwardSealed,
        times::Doing::BackwardSealed => Doing::BackwardSealed,
    }
}
