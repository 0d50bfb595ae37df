//! Constant-rate cover: when a lane's cells leave, whatever there is to say.
//!
//! A covered lane emits exactly one cell in every *slot*, from its start to its stop: the next real
//! cell if one waits, a dummy if not. All lanes of one process that share a period share its slots,
//! and leave each slot in a fresh random order. The crossing relay regenerates the receiver half on
//! its own clock; nothing that happens before it can change when, or how many, cells leave it.
//!
//! Sans-IO: time comes in as `now`.

use crate::codec::{Malformed, Reader};
use crate::{SystemRng, below};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A covered lane's clock, as its letters give it: `period(4) start(4) stop(4)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cover {
    /// Microseconds from slot to slot of the sending end, [`Cover::MIN_PERIOD`] to
    /// [`Cover::MAX_PERIOD`].
    pub period: u32,
    /// When the first slot may be, in seconds of Unix time: an edge.
    pub start: u32,
    /// When no more slot may be, in seconds of Unix time: an edge.
    pub stop: u32,
}

impl Cover {
    /// The shortest period, in microseconds.
    pub const MIN_PERIOD: u32 = 100;
    /// The longest period, in microseconds.
    pub const MAX_PERIOD: u32 = 10_000_000;
    /// The longest that a covered lane may live without its owner's word, in seconds: two hours.
    pub const MAX_LIFE: u32 = 7200;
    /// The crossing relay's period is shorter by this part: clocks drift, and were it the slower one,
    /// its queue would fill until real cells were lost.
    pub const SHADE: u32 = 32;
    /// Cells that may wait at the crossing relay, and to leave it, beyond the lane's quota: what a
    /// process brings at once after it was kept from the CPU.
    pub const SLACK: u32 = 128;

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend(self.period.to_be_bytes());
        out.extend(self.start.to_be_bytes());
        out.extend(self.stop.to_be_bytes());
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        let cover = Self { period: r.u32()?, start: r.u32()?, stop: r.u32()? };
        if cover.is_valid() { Ok(cover) } else { Err(r.malformed("cover")) }
    }

    /// Whether all fields are within their bounds.
    pub const fn is_valid(&self) -> bool {
        Self::MIN_PERIOD <= self.period
            && self.period <= Self::MAX_PERIOD
            && self.start < self.stop
            && self.stop - self.start <= Self::MAX_LIFE
    }

    /// From slot to slot of the sending end.
    pub const fn sender_period(&self) -> Duration {
        Duration::from_micros(self.period as u64)
    }

    /// From slot to slot of the crossing relay.
    pub const fn crossing_period(&self) -> Duration {
        let nanos = self.period as u64 * 1000;
        Duration::from_nanos(nanos - nanos / Self::SHADE as u64)
    }
}

/// What the clock on the wall says at an instant.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    /// The instant.
    pub at: Instant,
    /// Unix time then.
    pub unix: Duration,
}

impl WallClock {
    /// What the system's clock says now: for the platform, and for whoever has not heard of it yet. The only
    /// place where this crate reads a clock.
    pub fn system() -> Self {
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock before 1970 is wrong anyway: every edge is then far away.
        Self { at: Instant::now(), unix: unix.unwrap_or_default() }
    }

    /// Takes up a newer reading of the platform's clock if the two disagree by more than a reading's own noise:
    /// lanes whose edges are the same second must start at the same instant, or one has a slot more than another.
    /// A reading is late by the time that it travelled, so one that is behind by less than that may have been is no news.
    pub fn follow(&mut self, newer: Self) {
        let expected = self.unix_at(newer.at);
        if newer.unix > expected + Self::NOISE || newer.unix + Self::TRAVEL < expected {
            *self = newer;
        }
    }

    const NOISE: Duration = Duration::from_millis(20);
    const TRAVEL: Duration = Duration::from_secs(10);

    fn unix_at(&self, now: Instant) -> Duration {
        self.unix + now.saturating_duration_since(self.at)
    }

    /// Unix time at an instant, in whole seconds.
    pub fn seconds(&self, now: Instant) -> u32 {
        u32::try_from(self.unix_at(now).as_secs()).unwrap_or(u32::MAX)
    }

    /// When an edge, in seconds of Unix time, comes by this clock; at once if it is over.
    pub fn edge(&self, seconds: u32) -> Instant {
        self.at + Duration::from_secs(seconds.into()).saturating_sub(self.unix)
    }
}

/// The slots of one period.
#[derive(Debug)]
struct SlotClock {
    origin: Instant,
    period: Duration,
    next: u64,
}

impl SlotClock {
    fn at(&self, slot: u64) -> Instant {
        let nanos = self.period.as_nanos() * u128::from(slot);
        self.origin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Slots whose time has come, at most `most`, and how many were missed before them.
    fn due(&mut self, now: Instant, most: u64) -> (std::ops::Range<u64>, u64) {
        let passed = now.saturating_duration_since(self.origin).as_nanos();
        let end = (passed / self.period.as_nanos()) as u64 + u64::from(now >= self.origin);
        let first = self.next.max(end.saturating_sub(most));
        let missed = first - self.next;
        self.next = self.next.max(end);
        (first..self.next, missed)
    }
}

struct Class<L> {
    clock: SlotClock,
    lanes: Vec<(L, Instant, Instant)>,
}

/// Says which lanes emit when. `L` is the owner's name for a lane.
///
/// Call [`due`](Self::due) at [`deadline`](Self::deadline).
pub struct Pacer<L> {
    /// By period in nanoseconds.
    classes: BTreeMap<u128, Class<L>>,
    catch_up: u64,
}

/// What became of the slots that were due.
#[derive(Debug, PartialEq, Eq)]
pub struct Paced<L> {
    /// Cells that left.
    pub cells: u64,
    /// Slots given up, for all lanes of a class alike: this process was kept from the CPU for longer
    /// than it catches up.
    pub missed: u64,
    /// How late each slot was.
    pub late: Vec<Duration>,
    /// Lanes whose stop has come; they are forgotten.
    pub stopped: Vec<L>,
}

impl<L: Copy + Eq> Pacer<L> {
    /// Catches up at most `catch_up` slots after it was late.
    pub const fn new(catch_up: u64) -> Self {
        Self { classes: BTreeMap::new(), catch_up }
    }

    /// Adds a lane, or replaces the one of this name.
    ///
    /// # Panics
    /// The period is zero: a mistake of this program; what is read from outside is checked.
    pub fn insert(&mut self, lane: L, period: Duration, start: Instant, stop: Instant) {
        assert!(!period.is_zero(), "a period of zero");
        self.remove(lane);
        let clock = SlotClock { origin: start, period, next: 0 };
        let fresh = || Class { clock, lanes: Vec::new() };
        let class = self.classes.entry(period.as_nanos()).or_insert_with(fresh);
        if class.lanes.is_empty() {
            class.clock = SlotClock { origin: start, period, next: 0 };
        }
        class.lanes.push((lane, start, stop));
    }

    /// Moves a lane's stop. One that is over ends the lane at the next [`due`](Self::due).
    pub fn set_stop(&mut self, lane: L, stop: Instant) {
        let lanes = self.classes.values_mut().flat_map(|class| &mut class.lanes);
        lanes.filter(|(l, _, _)| *l == lane).for_each(|(_, _, s)| *s = stop);
    }

    /// Forgets a lane.
    pub fn remove(&mut self, lane: L) {
        for class in self.classes.values_mut() {
            class.lanes.retain(|(l, _, _)| *l != lane);
        }
        self.classes.retain(|_, class| !class.lanes.is_empty());
    }

    /// Whether there is no lane.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The next slot of any lane.
    pub fn deadline(&self) -> Option<Instant> {
        self.classes.values().map(|class| class.clock.at(class.clock.next)).min()
    }

    /// Calls `emit` once for each slot that is due and each lane that lives in it: slot by slot, the
    /// lanes of a slot in a fresh random order.
    pub fn due(&mut self, now: Instant, mut emit: impl FnMut(L)) -> Paced<L> {
        let mut paced = Paced { cells: 0, missed: 0, late: Vec::new(), stopped: Vec::new() };
        for class in self.classes.values_mut() {
            let (slots, missed) = class.clock.due(now, self.catch_up);
            paced.missed += missed;
            for slot in slots {
                let at = class.clock.at(slot);
                paced.late.push(now.saturating_duration_since(at));
                let lives = |&&(_, start, stop): &&(L, Instant, Instant)| start <= at && at < stop;
                let mut order: Vec<L> = class.lanes.iter().filter(lives).map(|l| l.0).collect();
                paced.cells += order.len() as u64;
                while let Some(last) = order.len().checked_sub(1) {
                    emit(order.swap_remove(below(&mut SystemRng, last + 1)));
                }
            }
            let over = |(_, _, stop): &(L, Instant, Instant)| now >= *stop;
            paced.stopped.extend(class.lanes.iter().filter(|l| over(l)).map(|l| l.0));
            class.lanes.retain(|l| !over(l));
        }
        self.classes.retain(|_, class| !class.lanes.is_empty());
        paced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn count(emitted: &[u8], lane: u8) -> usize {
        emitted.iter().map(|l| usize::from(*l == lane)).sum()
    }

    fn advance(pacer: &mut Pacer<u8>, now: Instant) -> (Vec<u8>, Paced<u8>) {
        let mut emitted = Vec::new();
        let paced = pacer.due(now, |lane| emitted.push(lane));
        (emitted, paced)
    }

    #[test]
    fn of_readings_the_one_that_travelled_least_counts_and_a_clock_that_was_set_is_followed() {
        let (at, unix) = (Instant::now(), Duration::from_secs(1_800_000_000));
        let read = |after: u64, says: Duration| WallClock {
            at: at + Duration::from_secs(after),
            unix: says,
        };
        let seconds = Duration::from_secs;
        let mut clock = read(0, unix);
        clock.follow(read(10, unix + seconds(7)));
        assert_eq!(clock.seconds(at + seconds(10)), 1_800_000_010, "a late reading is no news");
        clock.follow(read(20, unix + seconds(22)));
        assert_eq!(clock.seconds(at + seconds(20)), 1_800_000_022, "the first was late");
        clock.follow(read(30, unix.saturating_sub(seconds(3600))));
        assert_eq!(clock.seconds(at + seconds(30)), 1_799_996_400);
    }

    #[test]
    fn every_lane_emits_once_a_slot_whenever_the_process_wakes() {
        let start = Instant::now();
        let stop = start + 1000 * MS;
        let mut pacer = Pacer::new(1000);
        (0..5).for_each(|lane| pacer.insert(lane, MS, start, stop));
        assert_eq!(pacer.deadline(), Some(start));
        let mut all = Vec::new();
        // Late and early, at odd times: the counts are exact all the same.
        for at in [0, 100, 1700, 1999, 2000, 9500, 300_000, 999_999, 1_000_000, 2_000_000] {
            let now = start + Duration::from_micros(at);
            all.extend(advance(&mut pacer, now).0);
            let slots = (at / 1000 + 1).min(1000) as usize;
            (0..5).for_each(|lane| assert_eq!(count(&all, lane), slots, "at {at} us"));
        }
        assert!(pacer.is_empty());
    }

    #[test]
    fn each_slot_holds_every_lane_in_an_order_of_its_own() {
        let start = Instant::now();
        let mut pacer = Pacer::new(1000);
        (0..8).for_each(|lane| pacer.insert(lane, MS, start, start + 1000 * MS));
        let (emitted, _) = advance(&mut pacer, start + 199 * MS);
        let slots: Vec<&[u8]> = emitted.chunks(8).collect();
        assert_eq!(slots.len(), 200);
        for slot in &slots {
            (0..8).for_each(|lane| assert_eq!(count(slot, lane), 1));
        }
        let distinct: std::collections::HashSet<_> = slots.iter().collect();
        assert!(distinct.len() > 150, "orders repeat");
        for place in 0..8 {
            let first = slots.iter().filter(|slot| slot[place] == 0).count();
            assert!((5..60).contains(&first), "lane 0 is at place {place} {first} times of 200");
        }
    }

    #[test]
    fn what_is_too_late_is_given_up_for_all_lanes_alike() {
        let start = Instant::now();
        let mut pacer = Pacer::new(10);
        (0..3).for_each(|lane| pacer.insert(lane, MS, start, start + 10_000 * MS));
        let (emitted, paced) = advance(&mut pacer, start + 99 * MS);
        assert_eq!((emitted.len(), paced.missed), (30, 90));
        let (emitted, paced) = advance(&mut pacer, start + 100 * MS);
        assert_eq!((emitted.len(), paced.missed), (3, 0));
    }

    #[test]
    fn lanes_start_and_stop_at_their_edges_and_periods_do_not_touch() {
        let start = Instant::now();
        let mut pacer = Pacer::new(1000);
        pacer.insert(1, MS, start, start + 10 * MS);
        pacer.insert(2, MS, start + 5 * MS, start + 20 * MS);
        pacer.insert(3, 4 * MS, start, start + 20 * MS);
        let (emitted, paced) = advance(&mut pacer, start + 12 * MS);
        assert_eq!([1, 2, 3].map(|l| count(&emitted, l)), [10, 8, 4]);
        assert_eq!(paced.stopped, [1]);
        let (emitted, paced) = advance(&mut pacer, start + 30 * MS);
        assert_eq!([1, 2, 3].map(|l| count(&emitted, l)), [0, 7, 1]);
        assert_eq!(paced.stopped, [2, 3]);
        assert_eq!(pacer.deadline(), None);
    }

    #[test]
    fn a_stop_can_be_moved_both_ways() {
        let start = Instant::now();
        let mut pacer = Pacer::new(1000);
        (0..3).for_each(|lane| pacer.insert(lane, MS, start, start + 10 * MS));
        pacer.set_stop(0, start + 20 * MS);
        pacer.set_stop(1, start + 5 * MS);
        pacer.set_stop(9, start + 5 * MS);
        let (emitted, paced) = advance(&mut pacer, start + 30 * MS);
        assert_eq!([0, 1, 2].map(|l| count(&emitted, l)), [20, 5, 10]);
        assert_eq!(paced.stopped, [0, 1, 2]);
    }

    #[test]
    fn the_crossing_relay_is_faster_by_more_than_clocks_drift() {
        let cover = Cover { period: 1000, start: 0, stop: 1 };
        let ratio = cover.sender_period().as_secs_f64() / cover.crossing_period().as_secs_f64();
        assert!((1.03..1.04).contains(&ratio), "{ratio}");
    }
}
