//! Active attacks on a relay that lanes of several owners share: refused, counted, and no other lane
//! sees any of it.

#![allow(clippy::unwrap_used)]

mod common;

use common::covered::{Bench, Lane, PERIOD, UNIX, cover, header, slot};
use mixnn_protocol::cell::SlotSender;
use mixnn_protocol::sizes::{AEAD_TAG, CELL, FRAME_DATA, LINK_TAG, SEALED_FRAME, SENDER_LAYER};
use mixnn_protocol::{Cell, CellDrop, Cover, Epoch};
use std::collections::BTreeMap;
use std::time::Instant;

/// Slots of a run.
const SLOTS: u32 = 120;

/// Two honest lanes, one of which is busy, while an attacker does what it likes in every slot. Gives
/// how often each reason was counted.
fn under_attack(
    attack: impl Fn(&mut Bench, &mut Lane, Instant, u32) -> Vec<Box<Cell>>,
) -> BTreeMap<&'static str, usize> {
    let mut bench = Bench::new();
    let mut honest = [bench.lane(), bench.lane()];
    let mut corrupt = bench.lane();
    let payload = vec![3; 9 * FRAME_DATA];
    (1..=10).for_each(|step| honest[0].sender.push(header(step), payload.clone()).unwrap());
    let mut counted = BTreeMap::new();
    for n in 0..SLOTS {
        let now = bench.start() + n * PERIOD;
        for cell in attack(&mut bench, &mut corrupt, now, n) {
            if let Err(drop) = bench.cell(now, &cell) {
                *counted.entry(drop.reason()).or_default() += 1;
            }
        }
        for lane in &mut honest {
            let cell = slot(lane);
            bench.cell(now, &cell).unwrap();
        }
        bench.slots(now);
    }
    // Throughput of the others: not one cell less, nor at another time.
    assert_eq!(bench.times(0), bench.times(1));
    assert_eq!(bench.times(0), bench.times(2), "the attacker's lane emits like any other");
    assert_eq!(bench.left(0), 123);
    let mut whole = 0;
    for (at, key, cell) in &bench.wire.cells {
        if let Some(lane) = honest.get_mut(*key as usize) {
            lane.inbox.cell(*at, cell).unwrap();
            while let Some(message) = lane.inbox.poll(()) {
                assert_eq!(message.payload, payload);
                whole += 1;
            }
        }
    }
    assert_eq!(whole, 10, "every message of the busy lane arrives");
    counted
}

#[test]
fn nothing_done_counts_nothing() {
    assert_eq!(under_attack(|_, _, _, _| Vec::new()), BTreeMap::new());
}

#[test]
fn replays_are_refused() {
    let counted = under_attack(|_, lane, _, _| {
        let cell = slot(lane);
        vec![cell.clone(), cell.clone(), cell]
    });
    assert_eq!(counted, BTreeMap::from([("unknown_tag", 2 * SLOTS as usize)]));
}

#[test]
fn a_cell_recorded_for_one_relay_is_unknown_to_another() {
    let mut elsewhere = Bench::new();
    let mut lane = elsewhere.lane();
    let recorded = slot(&mut lane);
    let counted = under_attack(|_, _, _, _| vec![recorded.clone()]);
    assert_eq!(counted, BTreeMap::from([("unknown_tag", SLOTS as usize)]));
}

#[test]
fn what_a_relay_sent_is_unknown_when_it_comes_back() {
    let counted = under_attack(|bench, _, _, _| {
        bench.wire.cells.last().map(|(_, _, cell)| cell.clone()).into_iter().collect()
    });
    assert_eq!(counted, BTreeMap::from([("unknown_tag", SLOTS as usize - 1)]));
}

/// One flip in each region of the cell: which reason, and whether the true cell still passes.
#[test]
fn flips_in_every_region_are_refused_and_cost_the_true_cell_nothing() {
    let used = SENDER_LAYER + SEALED_FRAME;
    let regions = [
        (0, "unknown_tag"),
        (LINK_TAG - 1, "unknown_tag"),
        (LINK_TAG, "bad_tag"),
        (LINK_TAG + AEAD_TAG - 1, "bad_tag"),
        (LINK_TAG + AEAD_TAG, "bad_tag"),
        (LINK_TAG + AEAD_TAG + 8, "bad_tag"),
        (used / 2, "bad_tag"),
        (used - 1, "bad_tag"),
    ];
    for (at, reason) in regions {
        let counted = under_attack(|_, lane, _, _| {
            let cell = slot(lane);
            let mut flipped = cell.clone();
            flipped[at] ^= 0x40;
            vec![flipped, cell]
        });
        assert_eq!(counted, BTreeMap::from([(reason, SLOTS as usize)]), "byte {at}");
    }
}

#[test]
fn a_flip_of_the_fill_changes_nothing() {
    let counted = under_attack(|_, lane, _, _| {
        let mut cell = slot(lane);
        cell[CELL - 1] ^= 1;
        vec![cell]
    });
    assert_eq!(counted, BTreeMap::new());
}

#[test]
fn cells_of_another_epoch_do_not_open() {
    let counted = under_attack(|_, lane, _, n| {
        let mut sending = lane.keys.sending.clone();
        sending.epoch = Epoch(0);
        let mut old = SlotSender::new(&sending, 1);
        let mut cell = Box::new([0; CELL]);
        (0..=n % 50).for_each(|_| old.slot(&mut cell).unwrap());
        vec![cell]
    });
    assert_eq!(counted, BTreeMap::from([("bad_tag", SLOTS as usize)]));
}

/// The attacker's own tag before another lane's content: the keys do not fit.
#[test]
fn a_cell_aimed_at_another_lane_does_not_open() {
    let mut elsewhere = Bench::new();
    let mut other = elsewhere.lane();
    let foreign = slot(&mut other);
    let counted = under_attack(|_, lane, _, _| {
        let mut cell = slot(lane);
        cell[LINK_TAG..].copy_from_slice(&foreign[LINK_TAG..]);
        vec![cell]
    });
    assert_eq!(counted, BTreeMap::from([("bad_tag", SLOTS as usize)]));
}

/// A hop's key at the wrong hop: sealed under what is the next link's secret.
#[test]
fn keys_of_one_hop_are_none_of_another() {
    let counted = under_attack(|_, lane, _, _| {
        let mut sending = lane.keys.sending.clone();
        let (tag, open) = &sending.layers[0];
        sending.layers = vec![(tag.clone(), tag.clone()), (open.clone(), open.clone())];
        sending.layers.truncate(1);
        let mut confused = SlotSender::new(&sending, 1);
        let mut cell = Box::new([0; CELL]);
        confused.slot(&mut cell).unwrap();
        vec![cell]
    });
    assert_eq!(counted, BTreeMap::from([("bad_tag", SLOTS as usize)]));
}

/// Twenty cells a slot on a lane that may have one: its own queue fills, and nobody else's.
#[test]
fn a_flood_hurts_the_flooder_alone() {
    let counted = under_attack(|_, lane, _, _| (0..20).map(|_| slot(lane)).collect());
    assert!(counted.values().sum::<usize>() > 15 * SLOTS as usize, "{counted:?}");
    assert!(counted.keys().all(|r| *r == "over_quota"), "{counted:?}");
}

#[test]
fn rubbish_is_unknown() {
    let counted =
        under_attack(|_, _, _, n| (0..50).map(|i| Box::new([(n + i) as u8; CELL])).collect());
    assert_eq!(counted, BTreeMap::from([("unknown_tag", 50 * SLOTS as usize)]));
}

/// Another owner's designer in the pool takes all the lanes it can get: what it gets is bounded, and no
/// lane that is there already is touched.
#[test]
fn a_greedy_designer_gets_no_more_than_is_left() {
    let mut bench = Bench::new();
    let mut honest = bench.lane();
    let fast = Cover { period: Cover::MIN_PERIOD, ..cover() };
    let mut reasons = BTreeMap::new();
    for _ in 0..10 {
        let (_, letter) = bench.draw(fast);
        let reason = bench.letter(&letter).map(drop).err().map_or("taken", |d| d.reason());
        *reasons.entry(reason).or_insert(0) += 1;
        // Its token is spent, whatever became of it.
        assert_eq!(bench.letter(&letter).map(drop).unwrap_err().reason(), "token_spent");
    }
    assert_eq!(reasons, BTreeMap::from([("taken", 2), ("cover_rate", 8)]));
    let over = Cover { start: UNIX - 10, stop: UNIX - 5, ..cover() };
    let (_, letter) = bench.draw(over);
    assert_eq!(bench.letter(&letter).map(drop).unwrap_err().reason(), "cover_time");
    for n in 0..SLOTS {
        let now = bench.start() + n * PERIOD;
        let cell = slot(&mut honest);
        assert_eq!(bench.cell(now, &cell), Ok::<(), CellDrop>(()));
        bench.slots(now);
    }
    assert_eq!(bench.left(0), 123);
}
