//! Lanes end to end: what gets through, and at which hop everything else is refused.

#![allow(clippy::unwrap_used)]

mod common;

use common::{LATER, Lane, header};
use mixnn_protocol::sizes::{CELL, FRAME_DATA};
use mixnn_protocol::{Cell, CellDrop, Epoch, Suite};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_message_comes_out_as_it_went_in(
        hops in 1..=5_usize,
        size in prop_oneof![0..64_usize, FRAME_DATA - 2..FRAME_DATA + 3, 0..5 * FRAME_DATA],
        x25519: bool,
        fill: u8,
    ) {
        let suite = if x25519 { Suite::X25519 } else { Suite::XWing };
        let mut lane = Lane::new(hops, suite, 16);
        let payload: Vec<u8> = (0..size).map(|i| fill.wrapping_add(i as u8)).collect();
        let cells = lane.cells(header(3), &payload);
        let links = lane.carry(cells);
        prop_assert_eq!(links.len(), hops + 1);
        prop_assert!(links.iter().all(|l| l.len() == links[0].len()));
        lane.receive(&links[hops]).unwrap();
        let message = lane.inbox.poll(()).unwrap();
        prop_assert_eq!(message.header, header(3));
        prop_assert_eq!(message.payload, payload);
        prop_assert!(lane.inbox.poll(()).is_none());
    }

    #[test]
    fn any_order_within_the_window_is_put_right(
        hops in 1..=5_usize,
        link_pick: prop::sample::Index,
        order in Just((0..8_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let mut lane = Lane::new(hops, Suite::X25519, 64);
        let payload: Vec<u8> = (0..8 * FRAME_DATA).map(|i| (i / FRAME_DATA) as u8).collect();
        let mut cells = lane.cells(header(1), &payload);
        let shuffled_link = link_pick.index(hops + 1);
        for link in 0..=hops {
            if link == shuffled_link {
                cells = order.iter().map(|&i| cells[i].clone()).collect();
            }
            if link < hops {
                let now = lane.now;
                cells = cells.iter().flat_map(|c| lane.hops[link].forward(now, c).unwrap()).collect();
            }
        }
        lane.receive(&cells).unwrap();
        prop_assert_eq!(lane.inbox.poll(()).unwrap().payload, payload);
    }
}

/// The longest run of bytes that two cells share at any offsets, up to `limit`.
fn share_a_window(a: &Cell, b: &Cell, window: usize) -> bool {
    let seen: std::collections::HashSet<&[u8]> = a.windows(window).collect();
    b.windows(window).any(|w| seen.contains(w))
}

#[test]
fn no_two_links_and_no_two_cells_share_eight_bytes_even_for_zeros() {
    for hops in 1..=5 {
        let mut lane = Lane::new(hops, Suite::X25519, 16);
        let cells = lane.cells(header(0), &vec![0; 2 * FRAME_DATA]);
        let all: Vec<_> = lane.carry(cells).into_iter().flatten().collect();
        assert_eq!(all.len(), 2 * (hops + 1));
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert!(!share_a_window(a, b, 8), "{hops} hops: two cells share 8 bytes");
            }
        }
    }
}

#[test]
fn a_replayed_cell_is_refused_at_every_hop_and_at_the_end() {
    for hops in 1..=5 {
        let mut lane = Lane::new(hops, Suite::X25519, 16);
        let cells = lane.cells(header(1), b"once");
        let links = lane.carry(cells);
        for (hop, link) in lane.hops.iter_mut().zip(&links) {
            assert_eq!(hop.forward(lane.now, &link[0]).unwrap_err(), CellDrop::UnknownTag);
        }
        lane.receive(&links[hops]).unwrap();
        assert_eq!(lane.receive(&links[hops]).unwrap_err(), CellDrop::UnknownTag);
    }
}

/// Where a flipped bit on a link must be found.
fn refused_where(lane: &mut Lane, link: usize, mut cell: Box<Cell>) -> Option<(usize, CellDrop)> {
    for hop in link..lane.hops.len() {
        match lane.hops[hop].forward(lane.now, &cell) {
            Ok(mut out) => cell = out.remove(0),
            Err(drop) => return Some((hop, drop)),
        }
    }
    lane.inbox.cell(lane.now, &cell).err().map(|drop| (lane.hops.len(), drop))
}

#[test]
fn a_flipped_bit_is_found_at_the_next_opening_hop() {
    // One place in each region: link tag, AEAD tag, first and last sealed byte.
    for hops in [1, 2, 3, 5] {
        for link in 0..=hops {
            for at in [0, 15, 16, 31, 32, 48, 1000, 16_000] {
                let mut fresh = Lane::new(hops, Suite::X25519, 64);
                let mut cell = fresh.cells(header(1), &[1; 100]).remove(0);
                for hop in 0..link {
                    cell = fresh.hops[hop].forward(fresh.now, &cell).unwrap().remove(0);
                }
                cell[at] ^= 0x40;
                let crossing = fresh.crossing();
                let (found_at, drop) = refused_where(&mut fresh, link, cell).unwrap();
                let expected = match at {
                    0..16 => (link, CellDrop::UnknownTag),
                    _ if link <= crossing => (link, CellDrop::BadTag),
                    _ => (hops, CellDrop::BadTag),
                };
                assert_eq!((found_at, drop), expected, "{hops} hops, link {link}, byte {at}");
            }
        }
    }
}

#[test]
fn a_lost_cell_costs_its_message_and_nothing_after_it() {
    for hops in [1, 3, 5] {
        for lossy_link in 0..=hops {
            let mut lane = Lane::new(hops, Suite::X25519, 64);
            let mut cells = lane.cells(header(1), &vec![1; 3 * FRAME_DATA]);
            cells.extend(lane.cells(header(2), b"after the loss"));
            for link in 0..=hops {
                if link == lossy_link {
                    cells.remove(1);
                }
                if link < hops {
                    let now = lane.now;
                    let mut out: Vec<_> = cells
                        .iter()
                        .flat_map(|c| lane.hops[link].forward(now, c).unwrap())
                        .collect();
                    out.extend(lane.hops[link].poll(now + LATER));
                    cells = out;
                }
            }
            lane.receive(&cells).unwrap();
            lane.inbox.release(lane.now + LATER);
            let message = lane.inbox.poll(()).unwrap();
            assert_eq!(message.payload, b"after the loss", "{hops} hops, link {lossy_link}");
            assert!(lane.inbox.poll(()).is_none());
        }
    }
}

#[test]
fn a_cell_of_another_epoch_does_not_open() {
    let mut old = Lane::in_epoch(3, Suite::X25519, 16, Epoch(1));
    // The same secrets, one epoch later: only the associated data differs.
    let mut sending = old.keys.sending.clone();
    sending.epoch = Epoch(2);
    let mut sender = mixnn_protocol::cell::LaneSender::new(&sending);
    let mut bytes = Vec::new();
    sender.message(header(1), b"late").append_to(&mut bytes).unwrap();
    let cell: Cell = bytes.try_into().unwrap();
    assert_eq!(old.hops[0].forward(old.now, &cell).unwrap_err(), CellDrop::BadTag);
}

#[test]
fn every_cell_has_one_size() {
    for size in [0, 1, FRAME_DATA, FRAME_DATA + 1, 10 * FRAME_DATA] {
        let mut lane = Lane::new(2, Suite::X25519, 16);
        let mut bytes = Vec::new();
        lane.sender.message(header(1), &vec![9; size]).append_to(&mut bytes).unwrap();
        assert_eq!(bytes.len() % CELL, 0);
        assert_eq!(bytes.len() / CELL, mixnn_protocol::sizes::cells_for(size));
    }
}
