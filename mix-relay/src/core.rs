//! The relay without sockets or clock.

use crate::budget::{Budget, LetterRate};
use mixnn_protocol::admission::{AdmissionError, Turnstile};
use mixnn_protocol::cell::{Hop, HopOutcome, TagKey, TagTable};
use mixnn_protocol::letter::{self, HopSetup, Letter, LetterError, Opened};
use mixnn_protocol::sizes::LINK_TAG;
use mixnn_protocol::{AdmissionKey, Cell, CellDrop, KeyPair, NodeId, Suite, SystemRng};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The relay's own name for a lane.
pub type LaneKey = u64;

/// A lane is forgotten after at most a day without a cell.
const LONGEST_IDLE: Duration = Duration::from_secs(86_400);

/// Where accepted cells go.
pub trait Egress {
    /// A lane now leaves for `next`, with at most `quota` cells waiting.
    fn open(&mut self, lane: LaneKey, next: NodeId, quota: u32);
    /// The lane is gone.
    fn close(&mut self, lane: LaneKey);
    /// Lets `write` put a cell into the lane's queue; nothing is queued if it gives `false`.
    ///
    /// # Errors
    /// The queue is full, or what `write` says.
    fn push_with(
        &mut self,
        lane: LaneKey,
        write: &mut dyn FnMut(&mut Cell) -> Result<bool, CellDrop>,
    ) -> Result<bool, CellDrop>;
}

/// What a letter asked for.
pub enum LetterOutcome {
    /// Send this letter to that node.
    Forward {
        /// The node that comes next.
        next: NodeId,
        /// The next letter.
        letter: Box<Letter>,
    },
    /// A lane has been installed.
    Installed {
        /// The node for which it leaves.
        next: NodeId,
    },
}

/// Why a letter was dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LetterDrop {
    /// More letters than this relay opens.
    #[error("too many letters")]
    Rate,
    /// It does not open.
    #[error(transparent)]
    Letter(#[from] LetterError),
    /// Its token is not good.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// There is no memory for the lane.
    #[error("no memory left for a lane of this quota")]
    Memory,
}

impl LetterDrop {
    /// A stable name for metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Rate => "letter_rate",
            Self::Letter(LetterError::Version { .. }) => "letter_version",
            Self::Letter(LetterError::Malformed(_)) => "letter_malformed",
            Self::Letter(_) => "letter_unopened",
            Self::Admission(AdmissionError::Spent) => "token_spent",
            Self::Admission(AdmissionError::Full) => "token_memory",
            Self::Admission(_) => "token_invalid",
            Self::Memory => "lane_memory",
        }
    }
}

struct Lane {
    hop: Hop,
    bytes: usize,
    idle: Duration,
    last_cell: Instant,
}

/// One relay: its key, its lanes, what it has spent.
pub struct RelayCore {
    keys: KeyPair,
    turnstile: Option<Turnstile>,
    tags: TagTable<LaneKey>,
    lanes: HashMap<LaneKey, Lane>,
    next_lane: LaneKey,
    budget: Budget,
    letters: LetterRate,
}

impl RelayCore {
    /// A relay with a fresh key, that takes no letter before [`admit`](Self::admit).
    pub fn new(suite: Suite, budget: Budget) -> Self {
        Self {
            keys: KeyPair::generate(suite, &mut SystemRng),
            turnstile: None,
            tags: TagTable::default(),
            lanes: HashMap::new(),
            next_lane: 0,
            budget,
            letters: LetterRate::new(),
        }
    }

    /// Takes up the id and the issuer's key that registration gave.
    pub fn admit(&mut self, id: NodeId, issuer: AdmissionKey) {
        self.turnstile = Some(Turnstile::new(id, issuer));
    }

    /// The public key.
    pub const fn public_key(&self) -> &mixnn_protocol::PublicKey {
        self.keys.public()
    }

    /// Opens a letter.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn letter(
        &mut self,
        now: Instant,
        letter: &Letter,
        egress: &mut impl Egress,
    ) -> Result<LetterOutcome, LetterDrop> {
        if !self.letters.admit(now) {
            return Err(LetterDrop::Rate);
        }
        let opened = letter::open(&self.keys, letter)?;
        let (Opened::Forward { token, .. } | Opened::Deliver { token, .. }) = &opened;
        self.turnstile.as_mut().ok_or(AdmissionError::Key)?.spend(token)?;
        match opened {
            Opened::Forward { next, letter, .. } => Ok(LetterOutcome::Forward { next, letter }),
            Opened::Deliver { content, hop_secret, .. } => {
                let setup = HopSetup::from_bytes(&content).map_err(LetterError::from)?;
                let bytes = Budget::lane(setup.quota);
                if !self.budget.take(bytes) {
                    return Err(LetterDrop::Memory);
                }
                let key = self.next_lane;
                self.next_lane += 1;
                self.tags.insert(key, TagKey::new(&hop_secret.hop_tag()), setup.quota);
                let idle = Duration::from_secs(setup.idle_seconds.into()).min(LONGEST_IDLE);
                let hop = Hop::new(&setup, &hop_secret);
                self.lanes.insert(key, Lane { hop, bytes, idle, last_cell: now });
                egress.open(key, setup.next, setup.quota);
                Ok(LetterOutcome::Installed { next: setup.next })
            }
        }
    }

    /// Takes a cell and writes what goes out.
    ///
    /// # Errors
    /// Why it was dropped.
    pub fn cell(
        &mut self,
        now: Instant,
        cell: &Cell,
        egress: &mut impl Egress,
    ) -> Result<(), CellDrop> {
        let tag = cell.first_chunk::<LINK_TAG>().ok_or(CellDrop::UnknownTag)?;
        let (key, number) = self.tags.look_up(tag).ok_or(CellDrop::UnknownTag)?;
        let lane = self.lanes.get_mut(&key).ok_or(CellDrop::UnknownTag)?;
        let mut opened = false;
        let pushed = egress.push_with(key, &mut |out| {
            let outcome = lane.hop.forward(now, number, cell, out)?;
            opened = true;
            Ok(outcome == HopOutcome::Ready)
        });
        if opened {
            self.tags.spend(key, number);
            lane.last_cell = now;
        }
        pushed?;
        drain(key, lane, now, egress)
    }

    /// When [`on_time`](Self::on_time) should be called even if nothing comes.
    pub fn deadline(&self) -> Option<Instant> {
        let of = |lane: &Lane| {
            let idle = lane.last_cell + lane.idle;
            lane.hop.deadline().map_or(idle, |held| held.min(idle))
        };
        self.lanes.values().map(of).min()
    }

    /// Lets held cells go whose predecessor is overdue, and forgets idle lanes. Gives the drops.
    pub fn on_time(&mut self, now: Instant, egress: &mut impl Egress) -> Vec<CellDrop> {
        let mut drops = Vec::new();
        for (&key, lane) in &mut self.lanes {
            if lane.hop.deadline().is_some_and(|d| now >= d) {
                drops.extend(drain(key, lane, now, egress).err());
            }
        }
        let is_idle = |lane: &Lane| now >= lane.last_cell + lane.idle;
        let idle: Vec<LaneKey> =
            self.lanes.iter().filter(|(_, lane)| is_idle(lane)).map(|(key, _)| *key).collect();
        for key in idle {
            if let Some(lane) = self.lanes.remove(&key) {
                self.budget.give_back(lane.bytes);
            }
            self.tags.remove(key);
            egress.close(key);
        }
        drops
    }

    /// How many lanes are installed.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }
}

fn drain(
    key: LaneKey,
    lane: &mut Lane,
    now: Instant,
    egress: &mut impl Egress,
) -> Result<(), CellDrop> {
    while egress.push_with(key, &mut |out| lane.hop.poll(now, out))? {}
    Ok(())
}
