//! A relay with covered lanes in memory, in virtual time.

use super::{admission_key, token};
use mixnn_mix_relay::{Budget, Egress, LaneKey, LetterDrop, LetterOutcome, RelayCore};
use mixnn_protocol::cell::SlotSender;
use mixnn_protocol::cover::WallClock;
use mixnn_protocol::lane::{LaneKeys, LanePlan};
use mixnn_protocol::letter::Letter;
use mixnn_protocol::sizes::CELL;
use mixnn_protocol::{
    Cell, CellDrop, Cover, Epoch, Inbox, Kind, LaneRole, MessageHeader, NodeId, RelayRef, Suite,
    SystemRng,
};
use std::time::{Duration, Instant};

pub const UNIX: u32 = 1_800_000_000;
pub const START: u32 = UNIX + 1;
pub const PERIOD: Duration = Duration::from_millis(1);

pub fn cover() -> Cover {
    Cover { period: 1000, start: START, stop: START + 10 }
}

/// What left: when, on which lane, what.
#[derive(Default)]
pub struct Wire {
    now: Option<Instant>,
    pub cells: Vec<(Instant, LaneKey, Box<Cell>)>,
    /// A lane whose peer takes nothing.
    pub stuck: Option<LaneKey>,
}

impl Egress for Wire {
    fn open(&mut self, _lane: LaneKey, _next: NodeId, _quota: u32) {}
    fn close(&mut self, _lane: LaneKey) {}
    fn push_with(
        &mut self,
        lane: LaneKey,
        write: &mut dyn FnMut(&mut Cell) -> Result<bool, CellDrop>,
    ) -> Result<bool, CellDrop> {
        if self.stuck == Some(lane) {
            return Err(CellDrop::OverQuota);
        }
        let mut cell = Box::new([0; CELL]);
        let written = write(&mut cell)?;
        if written {
            self.cells.push((self.now.unwrap(), lane, cell));
        }
        Ok(written)
    }
}

pub struct Bench {
    pub core: RelayCore,
    pub me: RelayRef,
    pub wire: Wire,
    pub zero: Instant,
}

pub struct Lane {
    pub sender: SlotSender,
    pub inbox: Inbox<()>,
    pub keys: LaneKeys,
}

impl Bench {
    pub fn new() -> Self {
        let mut core = RelayCore::new(Suite::X25519, Budget::new(1 << 30));
        let id = NodeId::random(&mut SystemRng);
        core.admit(id, admission_key());
        let me = RelayRef { id, key: core.public_key().clone() };
        let zero = Instant::now();
        core.set_clock(WallClock { at: zero, unix: Duration::from_secs(UNIX.into()) });
        Self { core, me, wire: Wire::default(), zero }
    }

    pub fn start(&self) -> Instant {
        self.zero + Duration::from_secs(1)
    }

    pub fn draw(&self, cover: Cover) -> (LaneKeys, Box<Letter>) {
        let plan = LanePlan {
            role: LaneRole::Forward,
            receiver: NodeId::random(&mut SystemRng),
            path: std::slice::from_ref(&self.me),
            epoch: Epoch(1),
            quota: 64,
            idle_seconds: 5,
            cover: Some(cover),
        };
        let mut keys = plan.draw(&mut SystemRng, &mut |id| Some(token(id))).unwrap();
        let letter = keys.hops.remove(0).1.into_letter();
        (keys, letter)
    }

    pub fn letter(&mut self, letter: &Letter) -> Result<LetterOutcome, LetterDrop> {
        self.core.letter(self.zero, letter, &mut self.wire)
    }

    pub fn lane(&mut self) -> Lane {
        let (keys, letter) = self.draw(cover());
        self.letter(&letter).unwrap();
        let mut inbox = Inbox::default();
        inbox.insert((), &keys.receiving);
        Lane { sender: SlotSender::new(&keys.sending, 4096), inbox, keys }
    }

    pub fn cell(&mut self, now: Instant, cell: &Cell) -> Result<(), CellDrop> {
        self.wire.now = Some(now);
        self.core.cell(now, cell, &mut self.wire)
    }

    pub fn slots(&mut self, now: Instant) -> mixnn_mix_relay::Passed {
        self.wire.now = Some(now);
        self.core.slots(now, &mut self.wire)
    }

    pub fn left(&self, lane: LaneKey) -> usize {
        self.wire.cells.iter().filter(|(_, l, _)| *l == lane).count()
    }

    /// The times at which a lane's cells left, counted from the start.
    pub fn times(&self, lane: LaneKey) -> Vec<Duration> {
        let of = self.wire.cells.iter().filter(|(_, l, _)| *l == lane);
        of.map(|(at, _, _)| *at - self.start()).collect()
    }
}

pub fn header(step: u64) -> MessageHeader {
    MessageHeader { kind: Kind::Activation, term: 1, attempt: 0, step, micro_batch: 0 }
}

pub fn slot(lane: &mut Lane) -> Box<Cell> {
    let mut cell = Box::new([0; CELL]);
    lane.sender.slot(&mut cell).unwrap();
    cell
}
