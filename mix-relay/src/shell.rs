//! The relay on sockets: one current-thread runtime, no lock on the way of a cell.

use crate::core::{Egress, LaneKey, LetterOutcome, Passed, RelayCore};
use mixnn_protocol::WallClock;
use mixnn_protocol::letter::Letter;
use mixnn_protocol::{Cell, CellDrop, NodeId};
use mixnn_transport::server::{self, Receiver};
use mixnn_transport::{Authority, Counters, LaneSlot, LetterPost, Limits, Links, pace};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use std::cell::{Cell as Mutable, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// How often held cells and idle lanes are looked after.
const TICK: Duration = Duration::from_millis(50);
/// Letters that wait for an address to become known.
const WAITING_LETTERS: usize = 256;
/// How long they wait.
const LETTER_PATIENCE: Duration = Duration::from_secs(5);

/// A running relay. Lives in one `LocalRuntime` or `LocalSet`.
pub struct Relay {
    core: RefCell<RelayCore>,
    exits: RefCell<Exits>,
    post: LetterPost,
    waiting: RefCell<Vec<(Instant, NodeId, Box<Letter>)>>,
    counters: Arc<Counters>,
    /// Told when a cell or letter is for a node whose address is not known.
    pub wants_directory: Notify,
    /// Told when a lane was installed whose slots may come sooner than any other's.
    slots_changed: Notify,
    slots: Slots,
    /// When a valid cell or letter came last.
    heard: Mutable<Instant>,
}

impl Relay {
    /// A relay around `core`.
    pub fn new(core: RelayCore, limits: Limits, counters: Arc<Counters>) -> Rc<Self> {
        let slots = Slots::register(&counters);
        let links = Links::new(limits.clone(), counters.clone(), |_| {});
        Rc::new(Self {
            core: RefCell::new(core),
            exits: RefCell::new(Exits { links, directory: HashMap::new(), lanes: HashMap::new() }),
            post: LetterPost::new(limits, counters.clone()),
            waiting: RefCell::default(),
            counters,
            wants_directory: Notify::new(),
            slots_changed: Notify::new(),
            slots,
            heard: Mutable::new(Instant::now()),
        })
    }

    /// When a valid cell or letter came last; at first, when the relay began.
    pub fn heard(&self) -> Instant {
        self.heard.get()
    }

    /// A reading of the platform's clock.
    pub fn set_clock(&self, clock: WallClock) {
        self.core.borrow_mut().set_clock(clock);
    }

    /// Replaces the addresses of nodes.
    pub fn set_directory(&self, nodes: HashMap<NodeId, Authority>) {
        self.exits.borrow_mut().directory = nodes;
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for (since, next, letter) in waiting {
            self.forward(since, next, letter);
        }
    }

    /// Serves until the future is dropped.
    pub async fn serve(self: Rc<Self>, listener: TcpListener, limits: Limits) {
        let serving = server::serve(listener, self.clone(), limits, self.counters.clone());
        let mut tick = tokio::time::interval(TICK);
        tokio::pin!(serving);
        loop {
            let slot = self.core.borrow().next_slot();
            tokio::select! {
                () = &mut serving => {}
                () = pace::until(slot) => self.on_slot(Instant::now()),
                _ = tick.tick() => self.on_time(Instant::now()),
                () = self.slots_changed.notified() => {}
            }
        }
    }

    /// Sends what is queued and ends all links, at most `within`.
    pub async fn finish(&self, within: Duration) {
        let links = {
            let mut exits = self.exits.borrow_mut();
            exits.lanes.clear();
            exits.links.clone()
        };
        links.finish(within).await;
    }

    fn on_time(&self, now: Instant) {
        let exits = &mut *self.exits.borrow_mut();
        let (passed, crossing) = {
            let mut core = self.core.borrow_mut();
            (core.on_time(now, exits), core.crossing().values().sum::<usize>())
        };
        self.slots.crossing.set(crossing as i64);
        self.passed(passed);
        self.waiting.borrow_mut().retain(|(since, _, _)| {
            let keep = now.duration_since(*since) < LETTER_PATIENCE;
            if !keep {
                self.counters.count("unknown_node");
            }
            keep
        });
    }

    fn on_slot(&self, now: Instant) {
        let exits = &mut *self.exits.borrow_mut();
        let passed = self.core.borrow_mut().slots(now, exits);
        self.passed(passed);
    }

    fn passed(&self, passed: Passed) {
        passed.drops.iter().for_each(|drop| self.counters.count(drop.reason()));
        self.slots.emitted.inc_by(passed.slots);
        self.slots.blocked.inc_by(passed.blocked);
        self.slots.missed.inc_by(passed.missed);
        passed.late.iter().for_each(|late| self.slots.late.observe(late.as_secs_f64()));
    }

    fn forward(&self, since: Instant, next: NodeId, letter: Box<Letter>) {
        let peer = self.exits.borrow().directory.get(&next).cloned();
        if let Some(peer) = peer {
            return self.post.send(peer, letter, || {});
        }
        self.wants_directory.notify_one();
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() < WAITING_LETTERS {
            waiting.push((since, next, letter));
        } else {
            self.counters.count("letters_full");
        }
    }
}

impl Receiver for Relay {
    fn cell(&self, now: Instant, cell: &Cell) {
        let exits = &mut *self.exits.borrow_mut();
        match self.core.borrow_mut().cell(now, cell, exits) {
            Ok(()) => self.heard.set(now),
            Err(drop) => self.counters.count(drop.reason()),
        }
    }

    fn letter(&self, letter: Box<Letter>) {
        let now = Instant::now();
        let outcome = {
            let exits = &mut *self.exits.borrow_mut();
            let mut core = self.core.borrow_mut();
            core.letter(now, &letter, exits)
        };
        if outcome.is_ok() {
            self.heard.set(now);
        }
        match outcome {
            Ok(LetterOutcome::Forward { next, letter }) => self.forward(now, next, letter),
            Ok(LetterOutcome::Leased) => {}
            Ok(LetterOutcome::Installed { next, evicted }) => {
                (0..evicted).for_each(|_| self.counters.count("lane_evicted"));
                self.slots_changed.notify_one();
                // Ask now, so that the address is there when the first cell comes.
                if !self.exits.borrow().directory.contains_key(&next) {
                    self.wants_directory.notify_one();
                }
            }
            Err(drop) => self.counters.count(drop.reason()),
        }
    }
}

/// What covered lanes do here, counted over all of them: by no label could one be told from another.
struct Slots {
    emitted: Counter,
    blocked: Counter,
    missed: Counter,
    crossing: Gauge,
    late: Histogram,
}

impl Slots {
    fn register(counters: &Counters) -> Self {
        // From 0.1 ms to 0.3 s, each a third more than the one before.
        let late = Histogram::new(exponential_buckets(1e-4, 4.0 / 3.0, 28));
        let (emitted, blocked, missed) = Default::default();
        let slots = Self { emitted, blocked, missed, crossing: Gauge::default(), late };
        counters.with_registry(|r| {
            r.register("cover_cells", "Cells that left in slots", slots.emitted.clone());
            r.register("cover_blocked", "Slots whose peer took no more", slots.blocked.clone());
            r.register("cover_missed", "Slots given up for want of CPU", slots.missed.clone());
            r.register("cover_late_seconds", "How late slots were", slots.late.clone());
            r.register("cover_crossing", "Covered lanes that cross here", slots.crossing.clone());
        });
        slots
    }
}

/// The outgoing side: which lane leaves for whom.
struct Exits {
    links: Links,
    directory: HashMap<NodeId, Authority>,
    lanes: HashMap<LaneKey, Exit>,
}

struct Exit {
    next: NodeId,
    quota: u32,
    slot: Option<LaneSlot>,
}

impl Egress for Exits {
    fn open(&mut self, lane: LaneKey, next: NodeId, quota: u32) {
        // Connects now, if it can: a link that is made when the first cell comes delays it, and under
        // cover all that follow.
        let slot = self.directory.get(&next).map(|peer| self.links.lane(peer, quota));
        self.lanes.insert(lane, Exit { next, quota, slot });
    }

    fn close(&mut self, lane: LaneKey) {
        self.lanes.remove(&lane);
    }

    fn push_with(
        &mut self,
        lane: LaneKey,
        write: &mut dyn FnMut(&mut Cell) -> Result<bool, CellDrop>,
    ) -> Result<bool, CellDrop> {
        let Some(exit) = self.lanes.get_mut(&lane) else { return Err(CellDrop::UnknownTag) };
        if exit.slot.is_none() {
            let peer = self.directory.get(&exit.next).ok_or(CellDrop::UnknownNode)?;
            exit.slot = Some(self.links.lane(peer, exit.quota));
        }
        exit.slot.as_ref().ok_or(CellDrop::UnknownNode)?.push_with(write)
    }
}
