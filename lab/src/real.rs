//! The product's relay with real cells: what the reduced trials leave out changes nothing.

use crate::sim::regenerated;
use crate::workload::Ms;
use anyhow::Context;
use mixnn_mix_relay::{Budget, Egress, LaneKey, LetterOutcome, RelayCore};
use mixnn_protocol::admission::{Issuer, TokenRequest};
use mixnn_protocol::cell::SlotSender;
use mixnn_protocol::cover::WallClock;
use mixnn_protocol::lane::LanePlan;
use mixnn_protocol::sizes::CELL;
use mixnn_protocol::{
    AdmissionKey, Cell, CellDrop, Cover, Epoch, Kind, LaneRole, MessageHeader, NodeId, RelayRef,
    Suite, SystemRng,
};
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;
use std::time::{Duration, Instant};

const UNIX: u32 = 1_800_000_000;

/// A crossing relay of the product with covered lanes, each with its true sender.
pub struct Crossing {
    core: RelayCore,
    senders: Vec<SlotSender>,
    wire: Wire,
    zero: Instant,
}

/// What left, as a tap sees it.
#[derive(Default)]
pub struct Wire {
    /// By lane: when, and the cell's bytes.
    pub cells: Vec<(LaneKey, Ms, Box<Cell>)>,
    now: Ms,
}

impl Egress for Wire {
    fn open(&mut self, _lane: LaneKey, _next: NodeId, _quota: u32) {}
    fn close(&mut self, _lane: LaneKey) {}
    fn push_with(
        &mut self,
        lane: LaneKey,
        write: &mut dyn FnMut(&mut Cell) -> Result<bool, CellDrop>,
    ) -> Result<bool, CellDrop> {
        let mut cell = Box::new([0; CELL]);
        let written = write(&mut cell)?;
        if written {
            self.cells.push((lane, self.now, cell));
        }
        Ok(written)
    }
}

impl Crossing {
    /// `k` lanes of this period, in microseconds, for `seconds`.
    ///
    /// # Errors
    /// A key, a token or a letter cannot be made.
    pub fn new(issuer: &Issuer, k: usize, period: u32, seconds: u32) -> anyhow::Result<Self> {
        let key = AdmissionKey::from_der(&issuer.public_der()?)?;
        let mut core = RelayCore::new(Suite::X25519, Budget::new(1 << 30));
        let id = NodeId::random(&mut SystemRng);
        core.admit(id, key);
        let key = AdmissionKey::from_der(&issuer.public_der()?)?;
        let zero = Instant::now();
        core.set_clock(WallClock { at: zero, unix: Duration::from_secs(UNIX.into()) });
        let path = [RelayRef { id, key: core.public_key().clone() }];
        let mut wire = Wire::default();
        let mut senders = Vec::new();
        for _ in 0..k {
            let plan = LanePlan {
                role: LaneRole::Forward,
                receiver: NodeId::random(&mut SystemRng),
                path: &path,
                epoch: Epoch(1),
                quota: 64,
                idle_seconds: 60,
                cover: Some(Cover { period, start: UNIX, stop: UNIX + seconds }),
            };
            let request = TokenRequest::new(&key, id, &mut SystemRng)?;
            let answer = issuer.sign(request.blinded())?;
            let token = request.finish(&key, &answer)?;
            let mut keys = plan.draw(&mut SystemRng, &mut |_| Some(token.clone()))?;
            let letter = keys.hops.pop().context("a lane of one hop")?.1.into_letter();
            let outcome = core.letter(zero, &letter, &mut wire)?;
            anyhow::ensure!(matches!(outcome, LetterOutcome::Installed { .. }), "not installed");
            senders.push(SlotSender::new(&keys.sending, 60_000));
        }
        Ok(Self { core, senders, wire, zero })
    }

    fn at(&self, ms: Ms) -> Instant {
        self.zero + Duration::from_secs_f64(ms / 1000.0)
    }

    /// Gives a lane something to say.
    ///
    /// # Errors
    /// The lane's quota is used up.
    pub fn say(&mut self, lane: usize, bytes: usize) -> Result<(), CellDrop> {
        let header =
            MessageHeader { kind: Kind::Activation, term: 1, attempt: 0, step: 1, micro_batch: 0 };
        self.senders[lane].push(header, vec![0; bytes])
    }

    /// A slot of one lane's sender: the cell that leaves it, which the relay takes.
    ///
    /// # Errors
    /// The relay drops it.
    pub fn send(&mut self, lane: usize, ms: Ms) -> Result<Box<Cell>, CellDrop> {
        let mut cell = Box::new([0; CELL]);
        self.senders[lane].slot(&mut cell)?;
        self.core.cell(self.at(ms), &cell, &mut self.wire)?;
        Ok(cell)
    }

    /// Wakes the relay.
    pub fn wake(&mut self, ms: Ms) {
        self.wire.now = ms;
        self.core.slots(self.at(ms), &mut self.wire);
    }

    /// What has left so far.
    pub const fn wire(&self) -> &Wire {
        &self.wire
    }
}

/// The same wakes to the reduced crossing, and to the product's relay with real cells of which lanes
/// are busy, silent, cut off: gives for each the number of cells of each lane after every wake.
///
/// # Errors
/// The product's relay cannot be set up.
pub fn counts_side_by_side(
    issuer: &Issuer,
    rng: &mut ChaCha8Rng,
    k: usize,
    until: Ms,
) -> anyhow::Result<[Vec<Vec<usize>>; 2]> {
    let (reduced, wakes) = regenerated(rng, k, 1.0, until);
    let seconds = (until / 1000.0).ceil() as u32;
    let mut real = Crossing::new(issuer, k, 1000, seconds)?;
    let mut counts = [Vec::new(), Vec::new()];
    let mut slot = 0.0;
    for (n, &wake) in wakes.iter().enumerate() {
        while slot <= wake {
            for lane in 0..k {
                // A third of the lanes is silent (dummies), a third busy, a third cut off.
                if lane % 3 == 1 && n % 7 == 0 {
                    real.say(lane, 10 * CELL).ok();
                }
                if lane % 3 != 2 {
                    real.send(lane, slot)?;
                }
            }
            slot += 1.0;
        }
        real.wake(wake);
        let next = wakes.get(n + 1).copied().unwrap_or(f64::MAX);
        counts[0].push(reduced.iter().map(|l| l.partition_point(|t| *t < next)).collect());
        let mut of = vec![0; k];
        real.wire.cells.iter().for_each(|(lane, _, _)| of[*lane as usize] += 1);
        counts[1].push(of);
    }
    Ok(counts)
}

/// Attacker 2: how many windows of 8 bytes are seen both going in and coming out, over all lanes, while
/// every frame is zeros; and how many cells were looked at.
///
/// # Errors
/// The product's relay cannot be set up.
pub fn common_windows(issuer: &Issuer, k: usize, slots: usize) -> anyhow::Result<(u64, u64)> {
    let mut real = Crossing::new(issuer, k, 1000, 60)?;
    let mut input: Vec<Box<Cell>> = Vec::new();
    for slot in 0..slots {
        for lane in 0..k {
            if slot == 0 && lane % 2 == 0 {
                real.say(lane, slots * CELL / 2)?;
            }
            input.push(real.send(lane, slot as f64)?);
        }
        real.wake(slot as f64);
    }
    let window = |w: &[u8]| u64::from_le_bytes(w.try_into().unwrap_or_default());
    let seen: HashSet<u64> = input.iter().flat_map(|c| c.windows(8).map(window)).collect();
    let mut common = 0;
    for (_, _, cell) in &real.wire.cells {
        common += cell.windows(8).filter(|w| seen.contains(&window(w))).count() as u64;
    }
    Ok((common, (input.len() + real.wire.cells.len()) as u64))
}
