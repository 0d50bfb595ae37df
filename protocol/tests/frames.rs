//! Frames: one way to write each, and no other is read.

#![allow(clippy::unwrap_used)]

use mixnn_protocol::frame::{self, FrameHeader};
use mixnn_protocol::sizes::{FRAME, FRAME_DATA, FRAME_HEADER};
use mixnn_protocol::{Kind, LaneRole, MessageHeader};
use proptest::prelude::*;

fn write(header: &FrameHeader, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; FRAME];
    header.write((&mut frame[..FRAME_HEADER]).try_into().unwrap());
    frame[FRAME_HEADER..FRAME_HEADER + data.len()].copy_from_slice(data);
    frame
}

prop_compose! {
    fn a_message()(
        kind in prop::sample::select(Kind::ALL),
        term: u32, attempt: u32, step: u64, micro_batch: u32,
    ) -> MessageHeader {
        MessageHeader { kind, term, attempt, step, micro_batch }
    }
}

prop_compose! {
    /// A header that a sender could write.
    fn a_header()(
        message in a_message(),
        id: u64,
        count in prop_oneof![Just(1_u32), 2..100_u32, Just(u32::MAX)],
        place in 0.0..1.0_f64,
        last_length in 1..=FRAME_DATA,
    ) -> FrameHeader {
        let cover = message.kind == Kind::Cover;
        let count = if cover { 1 } else { count };
        let index = (f64::from(count) * place) as u32;
        let length = match () {
            () if cover => 0,
            () if index + 1 < count => FRAME_DATA,
            () => last_length,
        };
        FrameHeader { message, id, index, count, length: length as u16 }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(header in a_header(), fill: u8) {
        let data = vec![fill; usize::from(header.length)];
        let frame = write(&header, &data);
        let (read, found) = frame::parse(&frame).unwrap();
        prop_assert_eq!(read, header);
        prop_assert_eq!(found, &data[..]);
    }

    #[test]
    fn what_is_read_is_the_only_way_to_write_it(
        header in a_header(),
        fill: u8,
        changes in prop::collection::vec((0..FRAME_HEADER + 64, any::<u8>()), 1..4),
    ) {
        let mut frame = write(&header, &vec![fill; usize::from(header.length)]);
        for (at, byte) in changes {
            frame[at] = byte;
        }
        if let Ok((read, data)) = frame::parse(&frame) {
            prop_assert_eq!(write(&read, data), frame);
        }
    }
}

/// A frame that is the last of three, with 10 bytes of data.
fn last_of_three() -> (FrameHeader, Vec<u8>) {
    let message =
        MessageHeader { kind: Kind::Activation, term: 1, attempt: 2, step: 3, micro_batch: 4 };
    (FrameHeader { message, id: 5, index: 2, count: 3, length: 10 }, vec![9; 10])
}

fn refusal(frame: &[u8]) -> (&'static str, usize) {
    let refused = frame::parse(frame).unwrap_err();
    (refused.what, refused.at)
}

#[test]
fn every_other_form_is_refused() {
    let (header, data) = last_of_three();
    let good = write(&header, &data);
    assert!(frame::parse(&good).is_ok());
    let with = |at: usize, byte: u8| {
        let mut frame = good.clone();
        frame[at] = byte;
        refusal(&frame)
    };
    for kind in Kind::ALL.len() as u8..=255 {
        assert_eq!(with(0, kind), ("frame kind", 0));
    }
    assert_eq!(with(1, 1), ("reserved byte", 1));
    assert_eq!(with(FRAME_HEADER + 10, 1), ("padding", FRAME_HEADER + 10));
    assert_eq!(with(FRAME - 1, 0x80), ("padding", FRAME_HEADER + 10));
    for length in [0, 1, FRAME - 1, FRAME + 1, 2 * FRAME] {
        let mut frame = good.clone();
        frame.resize(length, 0);
        assert_eq!(refusal(&frame).0, "frame length");
    }
}

#[test]
fn lengths_that_no_sender_cuts_are_refused() {
    let (header, _) = last_of_three();
    let refused = |change: fn(&mut FrameHeader)| {
        let mut changed = header;
        change(&mut changed);
        let data = vec![0; usize::from(changed.length).min(FRAME_DATA)];
        frame::parse(&write(&changed, &data)).is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|h| h.index = 3), "index beyond count");
    assert!(refused(|h| h.index = u32::MAX), "index at its end");
    assert!(refused(|h| h.count = 0), "no frames");
    assert!(refused(|h| h.index = 1), "not full, and not the last");
    assert!(refused(|h| h.length = 0), "an empty last frame");
    assert!(refused(|h| h.length = FRAME_DATA as u16 + 1), "longer than a frame");
    assert!(refused(|h| h.length = u16::MAX), "longer than a frame");
    let cover = |h: &mut FrameHeader| {
        h.message.kind = Kind::Cover;
        (h.index, h.count, h.length) = (0, 1, 0);
    };
    let (mut empty, mut with_data, mut of_two) = (header, header, header);
    for h in [&mut empty, &mut with_data, &mut of_two] {
        cover(h);
    }
    with_data.length = 1;
    of_two.count = 2;
    assert!(frame::parse(&write(&empty, &[])).is_ok());
    assert!(frame::parse(&write(&with_data, &[0])).is_err(), "cover with data");
    assert!(frame::parse(&write(&of_two, &[])).is_err(), "cover of two frames");
}

#[test]
fn a_kind_travels_on_its_own_lanes_only() {
    use LaneRole::{Backward, Command, Forward, Report};
    let carried = |kind: Kind| {
        [Forward, Backward, Command, Report]
            .into_iter()
            .filter(|role| role.carries(kind))
            .collect::<Vec<_>>()
    };
    assert_eq!(carried(Kind::Cover), [Forward, Backward, Command, Report]);
    assert_eq!(carried(Kind::Activation), [Forward]);
    assert_eq!(carried(Kind::Evaluation), [Forward]);
    assert_eq!(carried(Kind::Gradient), [Backward]);
    assert_eq!(carried(Kind::Labels), [Backward]);
    assert_eq!(carried(Kind::Command), [Command]);
    assert_eq!(carried(Kind::Report), [Report]);
    assert_eq!(carried(Kind::Weights), [Command, Report]);
    assert_eq!(carried(Kind::Probe), [Forward, Backward]);
    assert_eq!(Kind::ALL.len(), 9, "a new kind needs a line here");
}
