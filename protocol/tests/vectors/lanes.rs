//! Keys, link tags, the ratchet, and whole lanes with fixed secrets.

use crate::own::{base64, hex_of, pattern, secret, sha256};
use mixnn_protocol::cell::{Hop, HopOutcome, LaneSender, TagKey};
use mixnn_protocol::lane::crossing;
use mixnn_protocol::letter::{HopRole, HopSetup, ReceivingEnd, SendingEnd};
use mixnn_protocol::sizes::{
    AEAD_TAG, CELL, FRAME_DATA, LINK_TAG, MARK, SEALED_FRAME, SENDER_LAYER,
};
use mixnn_protocol::{
    Cell, Epoch, Inbox, Kind, LaneRole, MessageHeader, NodeId, Secret, cell, labels,
};
use serde_json::{Value, json};
use std::time::Instant;

const EPOCH: Epoch = Epoch(0x0102_0304);
const GENERATION: u64 = 1 << 24;

pub fn hop_secrets() -> Value {
    let one = |n| {
        let s = secret(1, n);
        json!({
            "secret": hex_of(&s),
            "tag": hex_of(&s.hop_tag()),
            "open": hex_of(&s.hop_open()),
            "seal": hex_of(&s.hop_seal()),
        })
    };
    [one(0), one(1)].into()
}

pub fn link_tags() -> Value {
    let s = secret(2, 0);
    let one = |number: u64| {
        let tag = TagKey::new(&s).tag(number);
        json!({"secret": hex_of(&s), "number": number, "tag": hex::encode(tag)})
    };
    [one(0), one(1), one(255), one(GENERATION), one(u64::from(u32::MAX) + 1)].into()
}

/// The keys of three generations, and one hop's cells on both sides of each change.
pub fn ratchet() -> Value {
    let (hop, out_tag) = (secret(3, 0), secret(3, 1));
    let mut current = hop.hop_seal();
    let mut generations = Vec::new();
    for generation in 0..3 {
        generations.push(json!({
            "generation": generation,
            "secret": hex_of(&current),
            "key": hex_of(&current.derive(labels::GENERATION_KEY)),
        }));
        current = current.derive(labels::GENERATION_NEXT);
    }
    let role = HopRole::Receiver { layers: 1, out_tag: out_tag.clone() };
    let mut relay = Hop::new(&setup(role), &hop);
    let inner = pattern(AEAD_TAG + MARK + SEALED_FRAME);
    let mut incoming: Box<Cell> = Box::new([0; CELL]);
    incoming[LINK_TAG..LINK_TAG + inner.len()].copy_from_slice(&inner);
    let mut cell = |number: u64| {
        let mut out = Box::new([0; CELL]);
        relay.forward(Instant::now(), number, &incoming, &mut out).unwrap();
        let used = LINK_TAG + AEAD_TAG + inner.len();
        json!({"number": number, "used": used, "sha256": sha256(&out[..used])})
    };
    let cells: Vec<Value> =
        [0, GENERATION - 1, GENERATION, 2 * GENERATION - 1, 2 * GENERATION].map(&mut cell).into();
    json!({
        "hopSecret": hex_of(&hop),
        "outTag": hex_of(&out_tag),
        "epoch": EPOCH.0,
        "innerLength": inner.len(),
        "generations": generations,
        "cells": cells,
    })
}

fn setup(role: HopRole) -> HopSetup {
    HopSetup { role, epoch: EPOCH, quota: 64, idle_seconds: 60, next: NodeId::from_bytes([0; 16]) }
}

pub fn lanes() -> Value {
    [1, 2, 3, 5].map(lane).to_vec().into()
}

/// The hops of a lane, set up by hand from their secrets.
fn hops(secrets: &[Secret], last_tag: &Secret) -> Vec<Hop> {
    let c = crossing(secrets.len());
    let role = |i: usize| {
        let out_tag = secrets.get(i).map_or_else(|| last_tag.clone(), Secret::hop_tag);
        match i {
            _ if i < c => HopRole::Sender { layers: (c - i + 1) as u8 },
            _ if i == c => HopRole::Crossing { out_tag },
            _ => HopRole::Receiver { layers: (i - c) as u8, out_tag },
        }
    };
    secrets.iter().enumerate().map(|(i, s)| Hop::new(&setup(role(i + 1)), s)).collect()
}

/// How much of a cell on `link` (from 1) is not random fill.
fn used(link: usize, crossing: usize) -> usize {
    match link.checked_sub(crossing) {
        None | Some(0) => SENDER_LAYER * (crossing - link + 1) + SEALED_FRAME,
        Some(after) => LINK_TAG + AEAD_TAG * after + MARK + SEALED_FRAME,
    }
}

struct Lane {
    hops: Vec<Hop>,
    inbox: Inbox<()>,
    crossing: usize,
    /// Whether the vectors carry every sealed byte.
    whole: bool,
}

impl Lane {
    /// A cell on all links from `first` on, as the vectors tell it.
    fn carry(&mut self, first: usize, number: u64, mut cell: Box<Cell>) -> Value {
        let now = Instant::now();
        let mut links = Vec::new();
        for link in first..=self.hops.len() + 1 {
            let bytes = &cell[..used(link, self.crossing)];
            let mut told = json!({
                "link": link,
                "used": bytes.len(),
                "start": hex::encode(&bytes[..64]),
                "sha256": sha256(bytes),
            });
            if self.whole {
                told["bytes"] = base64(bytes).into();
            }
            links.push(told);
            if let Some(hop) = self.hops.get_mut(link - 1) {
                let mut out = Box::new([0; CELL]);
                let outcome = hop.forward(now, number, &cell, &mut out).unwrap();
                assert_eq!(outcome, HopOutcome::Ready);
                cell = out;
            }
        }
        self.inbox.cell(now, &cell).unwrap();
        links.into()
    }

    fn message(&mut self, sender: &mut LaneSender, first: u64, payload: &[u8]) -> Value {
        let header =
            MessageHeader { kind: Kind::Activation, term: 1, attempt: 2, step: 3, micro_batch: 4 };
        let mut bytes = Vec::new();
        sender.message(header, payload).append_to(&mut bytes).unwrap();
        let cells: Vec<Value> = (first..)
            .zip(bytes.chunks_exact(CELL))
            .map(|(number, c)| {
                let links = self.carry(1, number, Box::new(c.try_into().unwrap()));
                json!({"number": number, "links": links})
            })
            .collect();
        let arrived = self.inbox.poll(()).unwrap();
        assert_eq!((arrived.header, &arrived.payload[..]), (header, payload));
        json!({"header": crate::messages::header(&header), "cells": cells})
    }

    /// A dummy of the crossing relay, from its outgoing link on.
    fn dummy(&mut self, number: u64) -> Value {
        let mut out = Box::new([0; CELL]);
        let Hop::Crossing(hop) = &mut self.hops[self.crossing - 1] else {
            panic!("the hop at the crossing")
        };
        hop.dummy(&mut out).unwrap();
        let links = self.carry(self.crossing + 1, number, out);
        assert!(self.inbox.poll(()).is_none());
        json!({"number": number, "links": links})
    }
}

fn lane(count: usize) -> Value {
    let n = count as u8;
    let secrets: Vec<Secret> = (1..=n).map(|i| secret(0x40 + n, i)).collect();
    let (e2e, last_tag) = (secret(0x50 + n, 0), secret(0x60 + n, 0));
    let c = crossing(count);
    let sending = SendingEnd {
        role: LaneRole::Forward,
        epoch: EPOCH,
        first: NodeId::from_bytes([0; 16]),
        e2e: e2e.clone(),
        layers: secrets[..c].iter().map(|s| (s.hop_tag(), s.hop_open())).collect(),
        cover: None,
    };
    let receiving = ReceivingEnd {
        role: LaneRole::Forward,
        epoch: EPOCH,
        quota: 64,
        e2e: e2e.clone(),
        link_tag: last_tag.clone(),
        layers: secrets[c - 1..].iter().rev().map(Secret::hop_seal).collect(),
    };
    let mut inbox = Inbox::default();
    inbox.insert((), &receiving);
    let mut lane = Lane { hops: hops(&secrets, &last_tag), inbox, crossing: c, whole: count == 3 };
    let mut sender = cell::LaneSender::new(&sending);
    let text = format!("a message of one cell over {count} hops");
    let mut first = lane.message(&mut sender, 0, text.as_bytes());
    first["payload"] = hex::encode(&text).into();
    lane.whole = false;
    let length = FRAME_DATA + 5;
    let mut second = lane.message(&mut sender, 1, &pattern(length));
    second["payloadPattern"] = length.into();
    json!({
        "hops": count,
        "crossing": c,
        "epoch": EPOCH.0,
        "hopSecrets": secrets.iter().map(hex_of).collect::<Vec<_>>(),
        "e2e": hex_of(&e2e),
        "lastTag": hex_of(&last_tag),
        "messages": [first, second],
        "dummy": lane.dummy(3),
    })
}
