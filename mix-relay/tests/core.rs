//! The relay's rules, without sockets or clock.

#![allow(clippy::unwrap_used)]

mod common;

use common::{admission_key, token};
use mixnn_mix_relay::{Budget, Egress, LaneKey, LetterDrop, LetterOutcome, RelayCore};
use mixnn_protocol::admission::AdmissionError;
use mixnn_protocol::cell::LaneSender;
use mixnn_protocol::lane::{LaneKeys, LanePlan};
use mixnn_protocol::letter::{Letter, route};
use mixnn_protocol::sizes::CELL;
use mixnn_protocol::{
    Cell, CellDrop, Epoch, Kind, LaneRole, MessageHeader, NodeId, RelayRef, Suite, SystemRng,
};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Where cells go in a test: in memory.
#[derive(Default)]
struct Memory {
    open: HashMap<LaneKey, NodeId>,
    cells: Vec<(LaneKey, Box<Cell>)>,
}

impl Egress for Memory {
    fn open(&mut self, lane: LaneKey, next: NodeId, _quota: u32) {
        self.open.insert(lane, next);
    }
    fn close(&mut self, lane: LaneKey) {
        self.open.remove(&lane);
    }
    fn push_with(
        &mut self,
        lane: LaneKey,
        write: &mut dyn FnMut(&mut Cell) -> Result<bool, CellDrop>,
    ) -> Result<bool, CellDrop> {
        let mut cell = Box::new([0; CELL]);
        let written = write(&mut cell)?;
        if written {
            self.cells.push((lane, cell));
        }
        Ok(written)
    }
}

struct Bench {
    core: RelayCore,
    me: RelayRef,
    out: Memory,
    now: Instant,
}

fn bench(memory: usize) -> Bench {
    let mut core = RelayCore::new(Suite::X25519, Budget::new(memory));
    let id = NodeId::random(&mut SystemRng);
    core.admit(id, admission_key());
    let me = RelayRef { id, key: core.public_key().clone() };
    Bench { core, me, out: Memory::default(), now: Instant::now() }
}

impl Bench {
    fn lane(&self, quota: u32, idle_seconds: u32) -> (LaneKeys, Box<Letter>) {
        let plan = LanePlan {
            role: LaneRole::Forward,
            receiver: NodeId::random(&mut SystemRng),
            path: std::slice::from_ref(&self.me),
            epoch: Epoch(1),
            quota,
            idle_seconds,
            cover: None,
        };
        let mut keys = plan.draw(&mut SystemRng, &mut |id| Some(token(id))).unwrap();
        let letter = keys.hops.remove(0).1.into_letter();
        (keys, letter)
    }

    fn letter(&mut self, letter: &Letter) -> Result<LetterOutcome, LetterDrop> {
        self.core.letter(self.now, letter, &mut self.out)
    }

    fn cell(&mut self, cell: &Cell) -> Result<(), CellDrop> {
        self.core.cell(self.now, cell, &mut self.out)
    }
}

fn cell_of(keys: &LaneKeys) -> Box<Cell> {
    let header =
        MessageHeader { kind: Kind::Activation, term: 1, attempt: 0, step: 1, micro_batch: 0 };
    let mut bytes = Vec::new();
    LaneSender::new(&keys.sending).message(header, b"hello").append_to(&mut bytes).unwrap();
    Box::new(bytes.try_into().unwrap())
}

#[test]
fn a_lane_is_installed_and_cells_pass_once() {
    let mut bench = bench(1 << 30);
    let (keys, letter) = bench.lane(4, 60);
    let cell = cell_of(&keys);
    assert_eq!(bench.cell(&cell), Err(CellDrop::UnknownTag), "before the letter");
    assert!(matches!(bench.letter(&letter), Ok(LetterOutcome::Installed { .. })));
    assert_eq!(bench.cell(&cell), Ok(()));
    assert_eq!(bench.cell(&cell), Err(CellDrop::UnknownTag), "a replay");
    assert_eq!(bench.out.cells.len(), 1);
    assert_ne!(bench.out.cells[0].1, cell);
}

#[test]
fn a_flipped_cell_does_not_spend_the_tag() {
    let mut bench = bench(1 << 30);
    let (keys, letter) = bench.lane(4, 60);
    bench.letter(&letter).unwrap();
    let cell = cell_of(&keys);
    let mut flipped = cell.clone();
    flipped[1000] ^= 1;
    assert_eq!(bench.cell(&flipped), Err(CellDrop::BadTag));
    assert_eq!(bench.cell(&cell), Ok(()), "the true cell still passes");
}

#[test]
fn a_letter_counts_once_and_only_here() {
    let mut bench = bench(1 << 30);
    let (_, letter) = bench.lane(4, 60);
    bench.letter(&letter).unwrap();
    let again = bench.letter(&letter).map(drop).unwrap_err();
    assert_eq!(again, LetterDrop::Admission(AdmissionError::Spent));
    let mut flipped = letter.clone();
    flipped[100] ^= 1;
    assert_eq!(bench.letter(&flipped).map(drop).unwrap_err().reason(), "letter_unopened");
    let (_, foreign) = self::bench(1 << 30).lane(4, 60);
    assert_eq!(bench.letter(&foreign).map(drop).unwrap_err().reason(), "letter_unopened");
    assert_eq!(bench.core.lanes(), 1);
}

#[test]
fn a_token_for_another_relay_is_refused() {
    let mut bench = bench(1 << 30);
    let elsewhere = token(NodeId::random(&mut SystemRng));
    let to = NodeId::random(&mut SystemRng);
    let inner = bench.lane(4, 60).0;
    let plan_letter = {
        let mut admit = |_| Some(elsewhere.clone());
        let plan = LanePlan {
            role: LaneRole::Forward,
            receiver: to,
            path: std::slice::from_ref(&bench.me),
            epoch: inner.sending.epoch,
            quota: 1,
            idle_seconds: 1,
            cover: None,
        };
        plan.draw(&mut SystemRng, &mut admit).unwrap().hops.remove(0).1
    };
    let letter = plan_letter.into_letter();
    let refused = bench.letter(&letter).map(drop).unwrap_err();
    assert_eq!(refused, LetterDrop::Admission(AdmissionError::Invalid));
}

#[test]
fn a_letter_for_another_is_sent_on() {
    let mut bench = bench(1 << 30);
    let other = self::bench(1 << 30);
    let mut inner = other.lane(1, 1).0;
    inner.hops.clear();
    let plan = LanePlan {
        role: LaneRole::Forward,
        receiver: other.me.id,
        path: std::slice::from_ref(&other.me),
        epoch: Epoch(1),
        quota: 1,
        idle_seconds: 1,
        cover: None,
    };
    let mut admit = |id| Some(token(id));
    let sealed = plan.draw(&mut SystemRng, &mut admit).unwrap().hops.remove(0).1;
    let way = [bench.me.clone()];
    let letter = route(sealed, other.me.id, &way, &mut SystemRng, &mut admit).unwrap();
    let Ok(LetterOutcome::Forward { next, letter: on }) = bench.letter(&letter) else {
        panic!("to be sent on")
    };
    assert_eq!(next, other.me.id);
    let mut other = other;
    assert!(matches!(other.letter(&on), Ok(LetterOutcome::Installed { .. })));
}

#[test]
fn a_lane_that_does_not_fit_into_memory_is_refused() {
    let mut bench = bench(Budget::lane(4) + Budget::lane(4) / 2);
    let (_, first) = bench.lane(4, 60);
    let (_, second) = bench.lane(4, 60);
    bench.letter(&first).unwrap();
    assert_eq!(bench.letter(&second).map(drop).unwrap_err(), LetterDrop::Memory);
}

#[test]
fn where_memory_is_short_the_longest_idle_lane_makes_room() {
    let mut bench = bench(2 * Budget::lane(4));
    let hour = 3600;
    let (idle, first) = bench.lane(4, hour);
    let (in_use, second) = bench.lane(4, hour);
    let (_, third) = bench.lane(4, hour);
    bench.letter(&first).unwrap();
    bench.letter(&second).unwrap();
    bench.now += Duration::from_secs(200);
    bench.cell(&cell_of(&in_use)).unwrap();
    bench.now += Duration::from_secs(99);
    assert_eq!(
        bench.letter(&third).map(drop).unwrap_err(),
        LetterDrop::Memory,
        "none is spare yet"
    );
    bench.now += Duration::from_secs(2);
    let (_, fourth) = bench.lane(4, hour);
    let outcome = bench.letter(&fourth);
    assert!(matches!(outcome, Ok(LetterOutcome::Installed { evicted: 1, .. })));
    assert_eq!(bench.cell(&cell_of(&idle)), Err(CellDrop::UnknownTag));
    let (_, huge) = bench.lane(40, hour);
    bench.now += Duration::from_secs(1000);
    assert_eq!(bench.letter(&huge).map(drop).unwrap_err(), LetterDrop::Memory);
    assert_eq!(bench.core.lanes(), 2, "none goes for what would not fit even so");
}

#[test]
fn an_idle_lane_is_forgotten_and_its_memory_given_back() {
    let mut bench = bench(Budget::lane(4));
    let (keys, letter) = bench.lane(4, 10);
    bench.letter(&letter).unwrap();
    assert_eq!(bench.core.deadline(), Some(bench.now + Duration::from_secs(10)));
    bench.core.on_time(bench.now + Duration::from_secs(9), &mut bench.out);
    assert_eq!(bench.core.lanes(), 1);
    bench.core.on_time(bench.now + Duration::from_secs(10), &mut bench.out);
    assert_eq!((bench.core.lanes(), bench.out.open.len()), (0, 0));
    assert_eq!(bench.cell(&cell_of(&keys)), Err(CellDrop::UnknownTag));
    let (_, next) = bench.lane(4, 10);
    assert!(bench.letter(&next).is_ok());
}

#[test]
fn letters_are_opened_at_a_bounded_rate() {
    let mut bench = bench(1 << 30);
    let rubbish = Box::new([0; CELL]);
    let rate = |bench: &mut Bench| {
        (0..5000).filter(|_| matches!(bench.letter(&rubbish), Err(LetterDrop::Rate))).count()
    };
    assert_eq!(rate(&mut bench), 3000, "a burst of 2000 is opened");
    bench.now += Duration::from_secs(1);
    assert_eq!(rate(&mut bench), 4500, "then 500 a second");
}
