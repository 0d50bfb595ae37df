//! Two colluding layer pods and every relay, with all their keys, against the honest pods.
//!
//! The lane under attack runs between two honest pods. The attacker holds what every relay of it got
//! from its letter, and both ends of other lanes; it writes cells freely on the last link. Whatever
//! it does, the honest receiver takes only what its true neighbour sent: each message at most once,
//! whole, in order.

#![allow(clippy::unwrap_used)]

mod common;

use common::attack::{Relays, attacked, inject, seen_at_crossing};
use common::forge::{self, DUMMY, REAL};
use common::{LATER, Lane, header};
use mixnn_protocol::frame::FrameHeader;
use mixnn_protocol::sizes::{E2E_COUNTER, FRAME, FRAME_DATA, SEALED_FRAME};
use mixnn_protocol::{CellDrop, Epoch, Secret, Suite};
use proptest::prelude::*;

#[test]
fn the_attacker_can_do_what_relays_do() {
    // Else the attacks below would be refused for the wrong reason.
    for hops in 1..=5 {
        let (mut lane, mut relays) = attacked(hops);
        let frames = seen_at_crossing(&mut lane, header(1), &vec![7; 2 * FRAME_DATA]);
        for frame in &frames {
            let cell = relays.cell(REAL, frame);
            inject(&mut lane, &cell).unwrap();
        }
        assert_eq!(lane.inbox.poll(()).unwrap().payload, vec![7; 2 * FRAME_DATA]);
    }
}

#[test]
fn relays_cannot_make_a_frame_of_their_own() {
    for hops in 1..=5 {
        let (mut lane, mut relays) = attacked(hops);
        let data = b"take this";
        let forged = FrameHeader {
            message: header(1),
            id: 0,
            index: 0,
            count: 1,
            length: data.len() as u16,
        };
        let frame = forge::frame(&forged, data);
        let mut secrets: Vec<Secret> = lane.hops.iter().map(|h| h.secret.clone()).collect();
        secrets.extend(relays.seals.clone());
        secrets.push(relays.link_tag.clone());
        secrets.push(Secret::from_bytes([0; 32]));
        for secret in &secrets {
            let sealed = forge::sealed_frame(secret, relays.epoch, 0, &frame);
            let cell = relays.cell(REAL, &sealed);
            assert_eq!(inject(&mut lane, &cell), Err(CellDrop::EndToEnd));
        }
        let unsealed = [&[0; SEALED_FRAME - FRAME], &frame[..]].concat();
        let cell = relays.cell(REAL, &unsealed);
        assert_eq!(inject(&mut lane, &cell), Err(CellDrop::EndToEnd));
        assert!(lane.inbox.poll(()).is_none());
    }
}

#[test]
fn a_changed_frame_is_refused_wherever_it_was_changed() {
    let (mut lane, mut relays) = attacked(3);
    let frame = seen_at_crossing(&mut lane, header(1), b"true").remove(0);
    let places = (0..E2E_COUNTER + 40).chain([1000, SEALED_FRAME - 1]);
    for at in places {
        let mut changed = frame.clone();
        changed[at] ^= 1;
        let cell = relays.cell(REAL, &changed);
        assert_eq!(inject(&mut lane, &cell), Err(CellDrop::EndToEnd), "byte {at}");
    }
    assert!(lane.inbox.poll(()).is_none());
}

#[test]
fn a_frame_sealed_again_under_a_new_link_number_is_a_replay() {
    for hops in 1..=5 {
        let (mut lane, mut relays) = attacked(hops);
        let frame = seen_at_crossing(&mut lane, header(1), b"once").remove(0);
        let cell = relays.cell(REAL, &frame);
        inject(&mut lane, &cell).unwrap();
        assert_eq!(lane.inbox.poll(()).unwrap().payload, b"once");
        for _ in 0..3 {
            let again = relays.cell(REAL, &frame);
            assert_eq!(inject(&mut lane, &again), Err(CellDrop::Replayed));
        }
        assert!(lane.inbox.poll(()).is_none());
    }
}

#[test]
fn a_frame_held_back_until_its_place_was_given_up_is_refused() {
    let (mut lane, mut relays) = attacked(3);
    let old = seen_at_crossing(&mut lane, header(1), b"old").remove(0);
    let new = seen_at_crossing(&mut lane, header(2), b"new").remove(0);
    let cell = relays.cell(REAL, &new);
    inject(&mut lane, &cell).unwrap();
    assert_eq!(lane.inbox.poll(()).unwrap().payload, b"new");
    let cell = relays.cell(REAL, &old);
    assert_eq!(inject(&mut lane, &cell), Err(CellDrop::Replayed));
    assert!(lane.inbox.poll(()).is_none());
}

#[test]
fn a_frame_of_another_lane_is_refused_even_one_of_the_attackers_own() {
    let (mut lane, mut relays) = attacked(3);
    let mut other = Lane::new(3, Suite::X25519, 64);
    let foreign = seen_at_crossing(&mut other, header(1), b"of another lane").remove(0);
    let cell = relays.cell(REAL, &foreign);
    assert_eq!(inject(&mut lane, &cell), Err(CellDrop::EndToEnd));
    // The colluders hold the other lane's end-to-end secret too.
    let single = FrameHeader { message: header(1), id: 0, index: 0, count: 1, length: 0 };
    let frame = forge::frame(&single, &[]);
    let made = forge::sealed_frame(&other.keys.sending.e2e, relays.epoch, 0, &frame);
    let cell = relays.cell(REAL, &made);
    assert_eq!(inject(&mut lane, &cell), Err(CellDrop::EndToEnd));
    assert!(lane.inbox.poll(()).is_none());
}

#[test]
fn what_a_pod_sent_cannot_be_reflected_to_it() {
    // Two honest pods, one lane each way: the relays turn round what they carry.
    let (mut there, _) = attacked(3);
    let (mut back, mut relays) = attacked(3);
    let sent = seen_at_crossing(&mut there, header(1), b"mine").remove(0);
    let cell = relays.cell(REAL, &sent);
    assert_eq!(inject(&mut back, &cell), Err(CellDrop::EndToEnd));
}

#[test]
fn nothing_of_a_lane_survives_its_rebuilding() {
    let (mut old, mut old_relays) = attacked(3);
    let frame = seen_at_crossing(&mut old, header(1), b"before").remove(0);
    let on_old_link = old_relays.cell(REAL, &frame);
    let new = Lane::new(3, Suite::X25519, 64);
    let mut new_relays = Relays::of(&new);
    old.inbox.insert((), &new.keys.receiving);
    assert_eq!(inject(&mut old, &on_old_link), Err(CellDrop::UnknownTag));
    let on_new_link = new_relays.cell(REAL, &frame);
    assert_eq!(inject(&mut old, &on_new_link), Err(CellDrop::EndToEnd));
}

#[test]
fn a_frame_of_one_epoch_does_not_open_in_another() {
    let (mut lane, mut relays) = attacked(3);
    let frame = seen_at_crossing(&mut lane, header(1), b"last epoch").remove(0);
    // Even with the same secrets, which no designer gives twice.
    let mut next_epoch = lane.keys.receiving.clone();
    next_epoch.epoch = Epoch(relays.epoch.0 + 1);
    lane.inbox.insert((), &next_epoch);
    relays.epoch = next_epoch.epoch;
    let cell = relays.cell(REAL, &frame);
    assert_eq!(inject(&mut lane, &cell), Err(CellDrop::EndToEnd));
}

#[test]
fn the_mark_makes_no_message() {
    let (mut lane, mut relays) = attacked(3);
    let frames = seen_at_crossing(&mut lane, header(1), &vec![1; 2 * FRAME_DATA]);
    // A real frame marked as a dummy is lost; a dummy marked as real, or any other mark, an error.
    let hidden = relays.cell(DUMMY, &frames[0]);
    inject(&mut lane, &hidden).unwrap();
    let shown = relays.cell(REAL, &[0; SEALED_FRAME]);
    assert_eq!(inject(&mut lane, &shown), Err(CellDrop::EndToEnd));
    for mark in 2..=255 {
        let odd = relays.cell(mark, &frames[0]);
        assert_eq!(inject(&mut lane, &odd), Err(CellDrop::BadFrame));
        relays.next -= 1; // an unknown mark spends nothing
    }
    let rest = relays.cell(REAL, &frames[1]);
    inject(&mut lane, &rest).unwrap();
    assert!(lane.inbox.poll(()).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever the relays drop, repeat, put in another order or delay: what comes out is what was
    /// sent, each message at most once, in order.
    #[test]
    fn any_schedule_gives_a_part_of_what_was_sent_in_order(
        hops in 1..=5_usize,
        schedule in prop::collection::vec((0..9_usize, any::<bool>()), 0..40),
    ) {
        let (mut lane, mut relays) = attacked(hops);
        let mut frames = Vec::new();
        let sent: Vec<Vec<u8>> = [1, 2, 1, 3, 2]
            .iter()
            .enumerate()
            .map(|(i, cells)| vec![i as u8 + 1; cells * FRAME_DATA])
            .collect();
        for (step, payload) in sent.iter().enumerate() {
            frames.extend(seen_at_crossing(&mut lane, header(step as u64), payload));
        }
        prop_assert_eq!(frames.len(), 9);
        for (pick, wait) in schedule {
            let cell = relays.cell(REAL, &frames[pick]);
            let _ = lane.inbox.cell(lane.now, &cell);
            if wait {
                lane.now += LATER;
                lane.inbox.release(lane.now);
            }
        }
        lane.inbox.release(lane.now + LATER);
        let got: Vec<_> = std::iter::from_fn(|| lane.inbox.poll(())).collect();
        prop_assert!(got.is_sorted_by(|a, b| a.header.step < b.header.step));
        for message in got {
            prop_assert_eq!(&message.payload, &sent[message.header.step as usize]);
        }
    }
}
