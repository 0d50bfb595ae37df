//! The relay without sockets or clock.

use crate::budget::{Budget, LetterRate};
use mixnn_protocol::admission::{AdmissionError, Turnstile};
use mixnn_protocol::cell::{Hop, HopOutcome, TagKey, TagTable};
use mixnn_protocol::cover::{Cover, Pacer, WallClock};
use mixnn_protocol::letter::{self, HopRole, HopSetup, Lease, Letter, LetterError, Opened};
use mixnn_protocol::sizes::{CELL, LINK_TAG};
use mixnn_protocol::{AdmissionKey, Cell, CellDrop, KeyPair, NodeId, Secret, Suite, SystemRng};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// The relay's own name for a lane.
pub type LaneKey = u64;

/// A lane is forgotten after at most a day without a cell.
const LONGEST_IDLE: Duration = Duration::from_secs(86_400);
/// Where memory is short, a lane that has had no cell for so long makes room for a new one: its owner has most
/// likely drawn it anew, over other relays, and if not will do so. One that is in use never does.
const SPARE: Duration = Duration::from_secs(300);
/// A covered lane starts at most this long after its letter.
const LONGEST_WAIT: Duration = Duration::from_secs(7200);

/// Slots of covered lanes that are caught up with after this process was kept from the CPU. What came
/// in meanwhile finds room at the same time.
const CATCH_UP: u64 = Cover::SLACK as u64;

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
        /// Idle lanes that had to make room.
        evicted: usize,
    },
    /// A covered lane's stop has been moved.
    Leased,
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
    /// The lane's cover takes more cells a second than this relay has left.
    #[error("no cells a second left for a covered lane of this period")]
    CoverRate,
    /// The lane's cover is over, or begins too far in the future.
    #[error("the lane's cover is over, or begins too late")]
    CoverTime,
    /// The lane whose stop is to be moved is not here.
    #[error("no lane of this name")]
    Lease,
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
            Self::CoverRate => "cover_rate",
            Self::CoverTime => "cover_time",
            Self::Lease => "lease_unknown",
            Self::Memory => "lane_memory",
        }
    }
}

struct Lane {
    hop: Hop,
    bytes: usize,
    idle: Duration,
    last_cell: Instant,
    cover: Option<Cover>,
    /// Under which a covered lane's owner moves its stop.
    name: Option<Secret>,
}

impl Lane {
    /// When the lane may be forgotten. A covered one lives until its stop, whether cells come or not:
    /// else who cuts its input would see its output end.
    fn forgotten(&self) -> Option<Instant> {
        self.cover.is_none().then(|| self.last_cell + self.idle)
    }
}

/// What time has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Cells that were dropped.
    pub drops: Vec<CellDrop>,
    /// Cells of covered lanes that left.
    pub slots: u64,
    /// Slots of covered lanes whose peer takes no more; the cell waits for the next one.
    pub blocked: u64,
    /// Slots given up for all lanes of a period alike: this process had no CPU for too long.
    pub missed: u64,
    /// How late each slot was.
    pub late: Vec<Duration>,
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
    pacer: Pacer<LaneKey>,
    wall: WallClock,
    scratch: Box<Cell>,
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
            pacer: Pacer::new(CATCH_UP),
            wall: WallClock::system(),
            scratch: Box::new([0; CELL]),
        }
    }

    /// Takes up the id and the issuer's key that registration gave.
    pub fn admit(&mut self, id: NodeId, issuer: AdmissionKey) {
        self.turnstile = Some(Turnstile::new(id, issuer));
    }

    /// A reading of the platform's clock, by which edges are told: lanes taken up from now on follow it.
    pub const fn set_clock(&mut self, wall: WallClock) {
        self.wall = wall;
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
            Opened::Deliver { content, .. } if Lease::is_lease(&content) => {
                let lease = Lease::from_bytes(&content).map_err(LetterError::from)?;
                self.move_stop(now, &lease)?;
                Ok(LetterOutcome::Leased)
            }
            Opened::Deliver { content, hop_secret, .. } => {
                let setup = HopSetup::from_bytes(&content).map_err(LetterError::from)?;
                let evicted = self.install(now, &setup, &hop_secret, egress)?;
                Ok(LetterOutcome::Installed { next: setup.next, evicted })
            }
        }
    }

    fn install(
        &mut self,
        now: Instant,
        setup: &HopSetup,
        secret: &Secret,
        egress: &mut impl Egress,
    ) -> Result<usize, LetterDrop> {
        let cover = match setup.role {
            HopRole::Covered { cover, .. } => Some(cover),
            _ => None,
        };
        let quota = setup.quota + cover.map_or(0, |_| Cover::SLACK);
        let bytes = Budget::lane(quota);
        if let Some(cover) = &cover {
            let (start, stop) = (self.wall.edge(cover.start), self.wall.edge(cover.stop));
            if stop <= now || start > now + LONGEST_WAIT {
                return Err(LetterDrop::CoverTime);
            }
            if !self.budget.take_rate(cover) {
                return Err(LetterDrop::CoverRate);
            }
        }
        let evicted = self.make_room(now, bytes, egress);
        if !self.budget.take(bytes) {
            cover.iter().for_each(|cover| self.budget.give_back_rate(cover));
            return Err(LetterDrop::Memory);
        }
        let key = self.next_lane;
        self.next_lane += 1;
        self.tags.insert(key, TagKey::new(&secret.hop_tag()), quota);
        let idle = Duration::from_secs(setup.idle_seconds.into()).min(LONGEST_IDLE);
        let hop = Hop::new(setup, secret);
        let name = cover.map(|_| secret.hop_lease());
        self.lanes.insert(key, Lane { hop, bytes, idle, last_cell: now, cover, name });
        egress.open(key, setup.next, quota);
        if let Some(cover) = &cover {
            let (start, stop) = (self.wall.edge(cover.start), self.wall.edge(cover.stop));
            self.pacer.insert(key, cover.crossing_period(), start, stop);
        }
        Ok(evicted)
    }

    /// Forgets the longest idle lanes until `bytes` fit, or none where they never would. Gives how many.
    fn make_room(&mut self, now: Instant, bytes: usize, egress: &mut impl Egress) -> usize {
        if self.budget.has(bytes) {
            return 0;
        }
        let is_spare = |lane: &Lane| lane.cover.is_none() && now >= lane.last_cell + SPARE;
        let mut spare: Vec<(Instant, LaneKey, usize)> = (self.lanes.iter())
            .filter(|(_, lane)| is_spare(lane))
            .map(|(key, lane)| (lane.last_cell, *key, lane.bytes))
            .collect();
        spare.sort_unstable();
        let freed = spare.iter().scan(0, |sum, (_, _, bytes)| {
            *sum += bytes;
            Some(*sum)
        });
        let Some(last) =
            freed.map(|freed| bytes.saturating_sub(freed)).position(|b| self.budget.has(b))
        else {
            return 0;
        };
        spare.iter().take(last + 1).for_each(|(_, key, _)| self.forget(*key, egress));
        last + 1
    }

    fn move_stop(&mut self, now: Instant, lease: &Lease) -> Result<(), LetterDrop> {
        let stop = self.wall.edge(lease.stop);
        if stop > now + Duration::from_secs(Cover::MAX_LIFE.into()) {
            return Err(LetterDrop::CoverTime);
        }
        let named = |(_, lane): &(&LaneKey, &mut Lane)| lane.name.as_ref() == Some(&lease.name);
        let (key, lane) = self.lanes.iter_mut().find(named).ok_or(LetterDrop::Lease)?;
        self.pacer.set_stop(*key, stop);
        lane.cover = lane.cover.map(|cover| Cover { stop: lease.stop, ..cover });
        Ok(())
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
        if lane.cover.is_some() {
            let taken = lane.hop.forward(now, number, cell, &mut self.scratch);
            // One that finds no room was authentic: were its tag still awaited, a burst of them would
            // leave the lane deaf.
            if matches!(taken, Ok(_) | Err(CellDrop::OverQuota)) {
                self.tags.spend(key, number);
            }
            return taken.map(drop);
        }
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
        let of = |lane: &Lane| lane.hop.deadline().into_iter().chain(lane.forgotten());
        self.lanes.values().flat_map(of).chain(self.pacer.deadline()).min()
    }

    /// The next slot of any covered lane.
    pub fn next_slot(&self) -> Option<Instant> {
        self.pacer.deadline()
    }

    /// Lanes that cross here under cover, by what they share: only those of one entry hide each other.
    pub fn crossing(&self) -> BTreeMap<Cover, usize> {
        let mut cohorts = BTreeMap::new();
        for cover in self.lanes.values().filter_map(|lane| lane.cover) {
            *cohorts.entry(cover).or_default() += 1;
        }
        cohorts
    }

    /// Emits the slots that are due, lets held cells go whose predecessor is overdue, and forgets
    /// lanes that are idle or over.
    pub fn on_time(&mut self, now: Instant, egress: &mut impl Egress) -> Passed {
        let mut passed = self.slots(now, egress);
        for (&key, lane) in &mut self.lanes {
            if lane.hop.deadline().is_some_and(|d| now >= d) {
                passed.drops.extend(drain(key, lane, now, egress).err());
            }
        }
        let is_idle = |lane: &Lane| lane.forgotten().is_some_and(|t| now >= t);
        let idle: Vec<LaneKey> =
            self.lanes.iter().filter(|(_, lane)| is_idle(lane)).map(|(key, _)| *key).collect();
        idle.into_iter().for_each(|key| self.forget(key, egress));
        passed
    }

    /// Emits the slots of covered lanes that are due. Nothing in here depends on what came in.
    pub fn slots(&mut self, now: Instant, egress: &mut impl Egress) -> Passed {
        let mut passed = Passed::default();
        let lanes = &mut self.lanes;
        let paced = self.pacer.due(now, |key| {
            let Some(lane) = lanes.get_mut(&key) else { return };
            match egress.push_with(key, &mut |out| lane.hop.slot(now, out)) {
                Ok(_) => passed.slots += 1,
                Err(CellDrop::Exhausted) => passed.drops.push(CellDrop::Exhausted),
                Err(_) => passed.blocked += 1,
            }
        });
        passed.missed = paced.missed;
        passed.late = paced.late;
        paced.stopped.into_iter().for_each(|key| self.forget(key, egress));
        passed
    }

    fn forget(&mut self, key: LaneKey, egress: &mut impl Egress) {
        if let Some(lane) = self.lanes.remove(&key) {
            self.budget.give_back(lane.bytes);
            lane.cover.iter().for_each(|cover| self.budget.give_back_rate(cover));
        }
        self.tags.remove(key);
        egress.close(key);
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
