//! Lanes under constant-rate cover at their crossing relay: nothing that comes in shows in what goes out.

#![allow(clippy::unwrap_used)]

mod common;

use common::covered::{Bench, Lane, PERIOD, START, UNIX, Wire, cover, header, slot};
use common::token;
use mixnn_mix_relay::LetterOutcome;
use mixnn_protocol::letter::Lease;
use mixnn_protocol::sizes::FRAME_DATA;
use mixnn_protocol::{CellDrop, Cover, Secret, SystemRng};
use std::time::Duration;

#[test]
fn every_real_cell_arrives_and_every_lane_emits_the_same() {
    let mut bench = Bench::new();
    let mut lanes = [bench.lane(), bench.lane(), bench.lane()];
    let payload = vec![7; 5 * FRAME_DATA + 3];
    // The first lane is busy, the second silent, the third loses all that is sent to it.
    for step in 1..=4 {
        lanes[0].sender.push(header(step), payload.clone()).unwrap();
    }
    for i in 0..100 {
        let now = bench.start() + i * PERIOD;
        for (n, lane) in lanes.iter_mut().enumerate() {
            let cell = slot(lane);
            if n != 2 {
                bench.cell(now, &cell).unwrap();
            }
        }
        bench.slots(now);
    }
    assert_eq!(bench.times(0), bench.times(1));
    assert_eq!(bench.times(0), bench.times(2));
    // A shade faster than its senders: 100 slots of theirs are 103 of its own.
    assert_eq!(bench.left(0), 103);
    let mut steps = Vec::new();
    for (at, lane, cell) in &bench.wire.cells {
        let lane = &mut lanes[*lane as usize];
        lane.inbox.cell(*at, cell).unwrap();
        while let Some(message) = lane.inbox.poll(()) {
            assert_eq!(message.payload, payload);
            steps.push(message.header.step);
        }
    }
    assert_eq!(steps, [1, 2, 3, 4]);
}

#[test]
fn counts_are_exact_however_late_the_relay_wakes() {
    let mut bench = Bench::new();
    let mut lane = bench.lane();
    bench.lane();
    for late in [0, 3, 50, 51, 120, 240] {
        let now = bench.start() + late * PERIOD;
        for _ in 0..3 {
            bench.cell(now, &slot(&mut lane)).unwrap();
        }
        bench.slots(now);
        let slots = (f64::from(late) * 32.0 / 31.0) as usize + 1;
        assert_eq!([bench.left(0), bench.left(1)], [slots, slots], "{late} ms");
    }
    // Too late to be caught up with: given up for both alike.
    let passed = bench.slots(bench.start() + 1000 * PERIOD);
    assert_eq!((passed.slots, bench.left(0)), (2 * 128, bench.left(1)));
    assert!(passed.missed > 500);
}

#[test]
fn a_burst_waits_for_slots_and_what_does_not_fit_is_counted() {
    let mut bench = Bench::new();
    let mut lane = bench.lane();
    let now = bench.start();
    let taken = (0..300).filter(|_| bench.cell(now, &slot(&mut lane)).is_ok()).count();
    assert_eq!(taken, 64 + Cover::SLACK as usize + 1);
    assert_eq!(bench.cell(now, &slot(&mut lane)), Err(CellDrop::OverQuota), "and not deaf");
    assert!(bench.wire.cells.is_empty(), "nothing leaves but in a slot");
    bench.slots(now);
    assert_eq!(bench.left(0), 1);
}

#[test]
fn a_peer_that_takes_nothing_costs_no_cell_and_no_other_lane() {
    let mut bench = Bench::new();
    let mut lanes = [bench.lane(), bench.lane()];
    lanes[0].sender.push(header(1), vec![1; 3 * FRAME_DATA]).unwrap();
    bench.wire.stuck = Some(0);
    for i in 0..10 {
        let now = bench.start() + i * PERIOD;
        bench.cell(now, &slot(&mut lanes[0])).unwrap();
        let passed = bench.slots(now);
        assert_eq!((passed.slots, passed.blocked), (1, 1));
    }
    bench.wire.stuck = None;
    bench.slots(bench.start() + 20 * PERIOD);
    for (at, lane, cell) in &bench.wire.cells {
        lanes[*lane as usize].inbox.cell(*at, cell).unwrap();
    }
    assert_eq!(lanes[0].inbox.poll(()).unwrap().payload.len(), 3 * FRAME_DATA);
}

#[test]
fn lanes_start_and_stop_at_edges_whether_cells_come_or_not() {
    let mut bench = Bench::new();
    bench.lane();
    assert_eq!(bench.core.next_slot(), Some(bench.start()));
    bench.slots(bench.zero);
    assert_eq!(bench.left(0), 0);
    // Its declared idle time is long over, and no cell ever came: it goes on until its stop.
    for second in 0..10 {
        for i in 0..1000 {
            bench.slots(bench.start() + Duration::from_secs(second) + i * PERIOD);
        }
        bench.core.on_time(bench.start() + Duration::from_secs(second), &mut Wire::default());
        assert_eq!(bench.core.lanes(), 1);
    }
    assert_eq!(bench.core.crossing().into_iter().collect::<Vec<_>>(), [(cover(), 1)]);
    let end = bench.start() + Duration::from_secs(10);
    bench.slots(end);
    assert_eq!((bench.core.lanes(), bench.core.next_slot()), (0, None));
    let left = bench.left(0);
    assert!((10_300..10_330).contains(&left), "{left}");
}

/// The owner's word moves a stop, and nothing else does.
#[test]
fn a_lease_is_renewed_and_ended_by_its_owner() {
    let mut bench = Bench::new();
    let (lane, other) = (bench.lane(), bench.lane());
    let lease = |bench: &mut Bench, name: &Secret, stop: u32| {
        let letter = Lease { name: name.clone(), stop }
            .seal(&bench.me, &token(bench.me.id), &mut SystemRng)
            .unwrap()
            .into_letter();
        let outcome = bench.letter(&letter).map_err(|drop| drop.reason());
        outcome.map(|outcome| matches!(outcome, LetterOutcome::Leased))
    };
    let name = |lane: &Lane| lane.keys.lease.as_ref().unwrap().1.clone();
    assert_eq!(lease(&mut bench, &name(&lane), START + 20), Ok(true));
    assert_eq!(lease(&mut bench, &name(&other), START + 5), Ok(true));
    let far = START + Cover::MAX_LIFE + 10;
    assert_eq!(lease(&mut bench, &name(&lane), far), Err("cover_time"));
    let stranger = Secret::random(&mut SystemRng);
    assert_eq!(lease(&mut bench, &stranger, START + 5), Err("lease_unknown"));
    for (at, lanes) in [(4, 2), (6, 1), (19, 1), (21, 0)] {
        bench.slots(bench.start() + Duration::from_secs(at));
        assert_eq!(bench.core.lanes(), lanes, "after {at} s");
    }
}

#[test]
fn covers_beyond_what_the_relay_has_are_refused() {
    let mut bench = Bench::new();
    let refused = |bench: &mut Bench, cover| {
        let (_, letter) = bench.draw(cover);
        bench.letter(&letter).map(drop).map_err(|drop| drop.reason())
    };
    let over = Cover { start: UNIX - 100, stop: UNIX - 50, ..cover() };
    assert_eq!(refused(&mut bench, over), Err("cover_time"));
    let far = Cover { start: UNIX + 9000, stop: UNIX + 9100, ..cover() };
    assert_eq!(refused(&mut bench, far), Err("cover_time"));
    let fast = Cover { period: Cover::MIN_PERIOD, ..cover() };
    assert_eq!(refused(&mut bench, fast), Ok(()));
    assert_eq!(refused(&mut bench, fast), Ok(()));
    assert_eq!(refused(&mut bench, fast), Err("cover_rate"));
    assert_eq!(refused(&mut bench, cover()), Ok(()), "a modest one still fits");
}
