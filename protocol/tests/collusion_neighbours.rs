//! Colluding layer pods on lanes of their own: what a true neighbour can and cannot do.

#![allow(clippy::unwrap_used)]

mod common;

use common::attack::{attacked, seen_at_crossing};
use common::forge::{self, REAL};
use common::header;
use mixnn_protocol::frame::FrameHeader;
use mixnn_protocol::letter::SendingEnd;
use mixnn_protocol::sizes::FRAME_DATA;
use mixnn_protocol::{CellDrop, Inbox, Kind, LaneRole, MessageHeader};

/// A colluding pod is the true sender of its lane: it may send nonsense, but only as itself.
#[test]
fn a_neighbour_cannot_speak_as_the_designer() {
    let (mut lane, _) = attacked(3);
    let SendingEnd { e2e, layers, epoch, role, .. } = lane.keys.sending.clone();
    assert_eq!(role, LaneRole::Forward);
    let forward = |kind: Kind| role.carries(kind);
    for (number, &kind) in Kind::ALL.iter().filter(|k| !forward(**k)).enumerate() {
        let message = MessageHeader { kind, ..header(1) };
        let single = FrameHeader { message, id: 0, index: 0, count: 1, length: 0 };
        let number = number as u64;
        let sealed = forge::sealed_frame(&e2e, epoch, number, &forge::frame(&single, &[]));
        let cell = forge::sender_cell(&layers, epoch, number, &sealed);
        let links = lane.carry(vec![cell]);
        assert_eq!(lane.receive(&links[3]), Err(CellDrop::BadFrame), "{kind:?}");
    }
    assert!(lane.inbox.poll(()).is_none());
}

#[test]
fn a_neighbour_cannot_claim_more_memory_than_the_lane_has() {
    let (mut lane, _) = attacked(1);
    let SendingEnd { e2e, layers, epoch, .. } = lane.keys.sending.clone();
    let quota = lane.keys.receiving.quota;
    for (number, (count, allowed)) in
        [(quota, true), (quota + 1, false), (u32::MAX, false)].into_iter().enumerate()
    {
        let length = FRAME_DATA as u16;
        let huge = FrameHeader { message: header(1), id: 0, index: 0, count, length };
        let frame = forge::frame(&huge, &[0; FRAME_DATA]);
        let sealed = forge::sealed_frame(&e2e, epoch, number as u64, &frame);
        let cell = forge::sender_cell(&layers, epoch, number as u64, &sealed);
        let links = lane.carry(vec![cell]);
        let expected = if allowed { Ok(()) } else { Err(CellDrop::BadFrame) };
        assert_eq!(lane.receive(&links[1]), expected, "{count} cells");
    }
}

#[test]
fn two_lanes_of_one_pod_do_not_mix() {
    let (a, mut relays_a) = attacked(3);
    let (mut b, mut relays_b) = attacked(3);
    let mut inbox = Inbox::default();
    inbox.insert('a', &a.keys.receiving);
    inbox.insert('b', &b.keys.receiving);
    let of_b = seen_at_crossing(&mut b, header(1), b"for lane b").remove(0);
    let crossed = relays_a.cell(REAL, &of_b);
    assert_eq!(inbox.cell(a.now, &crossed), Err(CellDrop::EndToEnd));
    let straight = relays_b.cell(REAL, &of_b);
    assert_eq!(inbox.cell(a.now, &straight), Ok('b'));
    assert!(inbox.poll('a').is_none());
    assert_eq!(inbox.poll('b').unwrap().payload, b"for lane b");
}
