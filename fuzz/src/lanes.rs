//! Lanes: the bytes are a script of what happens to cells on their way.

use super::forge;
use mixnn_protocol::cell::{Hop, HopOutcome, LaneSender, TagKey, TagTable};
use mixnn_protocol::frame::FrameHeader;
use mixnn_protocol::lane::crossing;
use mixnn_protocol::letter::{HopRole, HopSetup, ReceivingEnd, SendingEnd};
use mixnn_protocol::sizes::{CELL, FRAME_DATA, FRAME_HEADER, LINK_TAG};
use mixnn_protocol::{Cell, Epoch, Inbox, Kind, LaneRole, MessageHeader, NodeId, Secret};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const EPOCH: Epoch = Epoch(1);
const QUOTA: u32 = 8;
/// A script is no longer than this: what it may hold in memory is bounded, too.
const MOST_STEPS: usize = 200;

fn secret(n: usize) -> Secret {
    Secret::from_bytes([n as u8 + 1; 32])
}

struct Relay {
    hop: Hop,
    tags: TagTable<()>,
}

struct Lane {
    sender: LaneSender,
    relays: Vec<Relay>,
    inbox: Inbox<()>,
    /// What is on each link.
    links: Vec<VecDeque<Box<Cell>>>,
    now: Instant,
    /// The cells of each message sent.
    sent: Vec<usize>,
    /// One above the last message that came out.
    received: u64,
}

impl Lane {
    fn new(hops: usize) -> Self {
        let c = crossing(hops);
        let last_tag = secret(100);
        let out_tag = |i: usize| if i < hops { secret(i).hop_tag() } else { last_tag.clone() };
        let relay = |i: usize| {
            let role = match i {
                _ if i < c => HopRole::Sender { layers: (c - i + 1) as u8 },
                _ if i == c => HopRole::Crossing { out_tag: out_tag(i) },
                _ => HopRole::Receiver { layers: (i - c) as u8, out_tag: out_tag(i) },
            };
            let next = NodeId::from_bytes([0; 16]);
            let setup = HopSetup { role, epoch: EPOCH, quota: QUOTA, idle_seconds: 1, next };
            let mut tags = TagTable::default();
            tags.insert((), TagKey::new(&secret(i - 1).hop_tag()), QUOTA);
            Relay { hop: Hop::new(&setup, &secret(i - 1)), tags }
        };
        let sending = SendingEnd {
            role: LaneRole::Forward,
            epoch: EPOCH,
            first: NodeId::from_bytes([0; 16]),
            e2e: secret(101),
            layers: (0..c).map(|i| (secret(i).hop_tag(), secret(i).hop_open())).collect(),
            cover: None,
        };
        let mut inbox = Inbox::default();
        inbox.insert((), &receiving(hops));
        Self {
            sender: LaneSender::new(&sending),
            relays: (1..=hops).map(relay).collect(),
            inbox,
            links: vec![VecDeque::new(); hops + 1],
            now: Instant::now(),
            sent: Vec::new(),
            received: 0,
        }
    }

    fn send(&mut self, cells: usize) {
        let message = MessageHeader {
            kind: Kind::Activation,
            term: 0,
            attempt: 0,
            step: self.sent.len() as u64,
            micro_batch: 0,
        };
        let payload = payload(message.step, cells);
        self.sent.push(cells);
        let mut bytes = Vec::new();
        self.sender.message(message, &payload).append_to(&mut bytes).unwrap();
        self.links[0].extend(bytes.chunks_exact(CELL).map(|c| Box::new(c.try_into().unwrap())));
    }

    /// Gives a cell to whoever receives `link`.
    fn arrive(&mut self, link: usize, cell: &Cell) {
        let Some(relay) = self.relays.get_mut(link) else {
            let _ = self.inbox.cell(self.now, cell);
            return self.check();
        };
        let tag = cell[..LINK_TAG].try_into().unwrap();
        let Some(((), number)) = relay.tags.look_up(&tag) else { return };
        let mut out = Box::new([0; CELL]);
        let Ok(outcome) = relay.hop.forward(self.now, number, cell, &mut out) else { return };
        relay.tags.spend((), number);
        if outcome == HopOutcome::Ready {
            self.links[link + 1].push_back(out);
        }
        self.poll(link);
    }

    fn poll(&mut self, relay: usize) {
        let mut cells = 0;
        loop {
            let mut out = Box::new([0; CELL]);
            if !self.relays[relay].hop.poll(self.now, &mut out).unwrap() {
                return;
            }
            self.links[relay + 1].push_back(out);
            cells += 1;
            assert!(cells <= QUOTA + 1, "a hop held more than its quota");
        }
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        for relay in 0..self.relays.len() {
            self.poll(relay);
        }
        self.inbox.release(self.now);
        self.check();
    }

    /// What comes out was sent, is whole, and comes in order.
    fn check(&mut self) {
        while let Some(message) = self.inbox.poll(()) {
            let step = message.header.step;
            assert!(step >= self.received, "replayed or out of order");
            let cells = self.sent[step as usize];
            assert!(message.payload == payload(step, cells), "not what was sent");
            self.received = step + 1;
        }
    }
}

/// A message of `cells` cells that says which one it is.
fn payload(step: u64, cells: usize) -> Vec<u8> {
    vec![step as u8; (cells - 1) * FRAME_DATA + 1]
}

fn receiving(hops: usize) -> ReceivingEnd {
    ReceivingEnd {
        role: LaneRole::Forward,
        epoch: EPOCH,
        quota: QUOTA,
        e2e: secret(101),
        link_tag: secret(100),
        layers: (crossing(hops) - 1..hops).rev().map(|i| secret(i).hop_seal()).collect(),
    }
}

/// Anybody on any link, without keys: reorders, repeats, drops, changes, waits.
pub fn relay(data: &[u8]) {
    let Some((&first, script)) = data.split_first() else { return };
    let mut lane = Lane::new(usize::from(first) % 5 + 1);
    for step in script.chunks_exact(2).take(MOST_STEPS) {
        let (what, how) = (step[0], usize::from(step[1]));
        let link = usize::from(what >> 3) % lane.links.len();
        let waiting = lane.links[link].len();
        match what & 7 {
            0 => lane.send(how % 3 + 1),
            1 => lane.wait(how as u64 * 10),
            2 => dummy(&mut lane),
            _ if waiting == 0 => {}
            3 => drop(lane.links[link].remove(how % waiting)),
            4 => {
                let mut cell = lane.links[link][how % waiting].clone();
                cell[how * 67 % CELL] ^= 1;
                lane.arrive(link, &cell);
            }
            5 => {
                let cell = lane.links[link][how % waiting].clone();
                lane.arrive(link, &cell);
            }
            6 => {
                if let Some(cell) = lane.links[link].remove(how % waiting) {
                    lane.arrive(link, &cell);
                }
            }
            _ => {
                if let Some(cell) = lane.links[link].pop_front() {
                    lane.arrive(link, &cell);
                }
            }
        }
    }
    lane.wait(10_000);
}

fn dummy(lane: &mut Lane) {
    let c = crossing(lane.relays.len());
    if let Hop::Crossing(hop) = &mut lane.relays[c - 1].hop {
        let mut out = Box::new([0; CELL]);
        hop.dummy(&mut out).unwrap();
        lane.links[c].push_back(out);
    }
}

/// A peer with all keys of the lane: marks, numbers and frames of any bytes.
pub fn receiver(data: &[u8]) {
    let Some((&first, script)) = data.split_first() else { return };
    let end = receiving(usize::from(first) % 5 + 1);
    let mut inbox = Inbox::default();
    inbox.insert((), &end);
    let mut now = Instant::now();
    for (number, step) in (0..).zip(script.chunks_exact(12).take(MOST_STEPS)) {
        now += Duration::from_millis(u64::from(step[0]) * 4);
        let count = u32::from(step[4] % 12);
        let header = FrameHeader {
            message: MessageHeader {
                kind: Kind::ALL[usize::from(step[2]) % Kind::ALL.len()],
                term: 0,
                attempt: 0,
                step: u64::from(step[3]),
                micro_batch: 0,
            },
            id: u64::from(step[3]),
            index: u32::from(step[5] % 12),
            count: if step[4] == 255 { u32::MAX } else { count },
            length: u16::from_be_bytes([step[6], step[7]]).min(FRAME_DATA as u16 + 1),
        };
        let mut frame = forge::frame(&header, &[]);
        // Sometimes a byte that does not belong there.
        if step[8] > 200 {
            frame[usize::from(step[8]) % FRAME_HEADER] = step[9];
        }
        let sealed = forge::sealed_frame(&end.e2e, EPOCH, u64::from(step[10]), &frame);
        let mark = if step[11] > 240 { step[11] } else { 0 };
        let cell = forge::receiver_cell(&end.link_tag, &end.layers, EPOCH, number, mark, &sealed);
        assert_eq!(inbox.lane_of(&cell), Some(()));
        let _ = inbox.cell(now, &cell);
        inbox.release(now);
        while let Some(message) = inbox.poll(()) {
            assert!(message.payload.len() <= QUOTA as usize * FRAME_DATA);
            assert!(LaneRole::Forward.carries(message.header.kind));
        }
    }
}
