//! A lane in memory: two ends and their relays, with every link open to the test.

#![allow(clippy::unwrap_used, dead_code)]

pub mod attack;
pub mod forge;

use mixnn_protocol::admission::{AdmissionKey, Issuer, TokenRequest, Turnstile};
use mixnn_protocol::cell::{Hop, HopOutcome, LaneSender, TagKey, TagTable};
use mixnn_protocol::lane::{LaneKeys, LanePlan};
use mixnn_protocol::letter::{self, HopRole, HopSetup, Opened};
use mixnn_protocol::sizes::{CELL, LINK_TAG};
use mixnn_protocol::{
    Cell, CellDrop, Epoch, Inbox, KeyPair, Kind, LaneRole, MessageHeader, NodeId, RelayRef, Secret,
    Suite, SystemRng, Token,
};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// One RSA key for all tests of a binary: making one takes longer than all else.
pub fn issuer() -> &'static Issuer {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    ISSUER.get_or_init(|| Issuer::generate().unwrap())
}

pub fn admission_key() -> AdmissionKey {
    AdmissionKey::from_der(&issuer().public_der().unwrap()).unwrap()
}

pub fn token(relay: NodeId) -> Token {
    let key = admission_key();
    let request = TokenRequest::new(&key, relay, &mut SystemRng).unwrap();
    let answer = issuer().sign(request.blinded()).unwrap();
    request.finish(&key, &answer).unwrap()
}

/// A relay with its keys, before it knows any lane.
pub struct Relay {
    pub keys: KeyPair,
    pub reference: RelayRef,
    pub turnstile: Turnstile,
}

pub fn relay(suite: Suite) -> Relay {
    let keys = KeyPair::generate(suite, &mut SystemRng);
    let reference = RelayRef { id: NodeId::random(&mut SystemRng), key: keys.public().clone() };
    let turnstile = Turnstile::new(reference.id, admission_key());
    Relay { keys, reference, turnstile }
}

/// A relay's part in one lane, with the tags it awaits.
pub struct Installed {
    pub hop: Hop,
    pub tags: TagTable<()>,
    pub setup: HopSetup,
    /// What the relay got from its letter, and an attacker from the relay.
    pub secret: Secret,
}

/// Opens the set-up letter at its relay, as the relay does.
pub fn install(relay: &mut Relay, letter: &letter::Letter) -> Installed {
    let Opened::Deliver { token, content, hop_secret } = letter::open(&relay.keys, letter).unwrap()
    else {
        panic!("the letter is for this relay")
    };
    relay.turnstile.spend(&token).unwrap();
    let setup = HopSetup::from_bytes(&content).unwrap();
    let mut tags = TagTable::default();
    tags.insert((), TagKey::new(&hop_secret.hop_tag()), setup.quota);
    Installed { hop: Hop::new(&setup, &hop_secret), tags, setup, secret: hop_secret }
}

impl Installed {
    pub fn forward(&mut self, now: Instant, cell: &Cell) -> Result<Vec<Box<Cell>>, CellDrop> {
        let tag = cell[..LINK_TAG].try_into().unwrap();
        let ((), number) = self.tags.look_up(&tag).ok_or(CellDrop::UnknownTag)?;
        let mut out = Box::new([0; CELL]);
        let outcome = self.hop.forward(now, number, cell, &mut out)?;
        self.tags.spend((), number);
        let mut cells = Vec::new();
        if outcome == HopOutcome::Ready {
            cells.push(out);
        }
        cells.extend(self.poll(now));
        Ok(cells)
    }

    pub fn poll(&mut self, now: Instant) -> Vec<Box<Cell>> {
        let mut cells = Vec::new();
        loop {
            let mut out = Box::new([0; CELL]);
            if !self.hop.poll(now, &mut out).unwrap() {
                return cells;
            }
            cells.push(out);
        }
    }
}

pub struct Lane {
    pub sender: LaneSender,
    pub hops: Vec<Installed>,
    pub inbox: Inbox<()>,
    pub keys: LaneKeys,
    pub now: Instant,
}

pub const EPOCH: Epoch = Epoch(7);

impl Lane {
    pub fn new(hops: usize, suite: Suite, quota: u32) -> Self {
        Self::in_epoch(hops, suite, quota, EPOCH)
    }

    pub fn in_epoch(hops: usize, suite: Suite, quota: u32, epoch: Epoch) -> Self {
        let mut relays: Vec<Relay> = (0..hops).map(|_| relay(suite)).collect();
        let path: Vec<RelayRef> = relays.iter().map(|r| r.reference.clone()).collect();
        let plan = LanePlan {
            role: LaneRole::Forward,
            receiver: NodeId::random(&mut SystemRng),
            path: &path,
            epoch,
            quota,
            idle_seconds: 60,
            cover: None,
        };
        let keys = plan.draw(&mut SystemRng, &mut |id| Some(token(id))).unwrap();
        let hops = keys
            .hops
            .iter()
            .zip(&mut relays)
            .map(|((_, letter), relay)| install(relay, &letter.clone().into_letter()))
            .collect();
        let mut inbox = Inbox::default();
        inbox.insert((), &keys.receiving);
        let sender = LaneSender::new(&keys.sending);
        Self { sender, hops, inbox, keys, now: Instant::now() }
    }

    /// The cells of one message as they leave the sending end.
    pub fn cells(&mut self, header: MessageHeader, payload: &[u8]) -> Vec<Box<Cell>> {
        let mut bytes = Vec::new();
        self.sender.message(header, payload).append_to(&mut bytes).unwrap();
        bytes.chunks_exact(CELL).map(|c| Box::new(c.try_into().unwrap())).collect()
    }

    /// Carries cells over all hops; gives what was on each link, the first link first.
    pub fn carry(&mut self, cells: Vec<Box<Cell>>) -> Vec<Vec<Box<Cell>>> {
        let mut links = vec![cells];
        for hop in &mut self.hops {
            let mut out = Vec::new();
            for cell in &links[links.len() - 1] {
                out.extend(hop.forward(self.now, cell).unwrap());
            }
            links.push(out);
        }
        links
    }

    /// Hands the last link's cells to the receiving end.
    pub fn receive(&mut self, cells: &[Box<Cell>]) -> Result<(), CellDrop> {
        cells.iter().try_for_each(|c| self.inbox.cell(self.now, c))
    }

    pub fn crossing(&self) -> usize {
        let at_crossing = |h: &Installed| matches!(h.setup.role, HopRole::Crossing { .. });
        self.hops.iter().position(at_crossing).unwrap()
    }
}

pub fn header(step: u64) -> MessageHeader {
    MessageHeader { kind: Kind::Activation, term: 1, attempt: 0, step, micro_batch: 0 }
}

pub const LATER: Duration = Duration::from_secs(5);
