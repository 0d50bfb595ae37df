//! The product's crossing relay, driven in virtual time with real cells of the product's senders.

use crate::chance::{exponential, unit};
use crate::workload::{Lane, Ms};
use anyhow::Context;
use mixnn_mix_relay::{Budget, Egress, LaneKey, LetterOutcome, RelayCore};
use mixnn_protocol::admission::{Issuer, TokenRequest};
use mixnn_protocol::cell::SlotSender;
use mixnn_protocol::cover::WallClock;
use mixnn_protocol::lane::LanePlan;
use mixnn_protocol::rand_core::Rng;
use mixnn_protocol::sizes::{CELL, FRAME_DATA};
use mixnn_protocol::{
    AdmissionKey, Cell, CellDrop, Cover, Epoch, Kind, LaneRole, MessageHeader, NodeId, RelayRef,
    Suite, SystemRng, Token,
};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const UNIX: u32 = 1_800_000_000;
/// CPU of the relay for a cell that comes in, and for one that leaves.
const TAKE: Ms = 0.008;
const SEAL: Ms = 0.004;

/// Admission for as many relays as are wanted, one after the other, all of one id.
pub struct Desk {
    id: NodeId,
    issuer: Vec<u8>,
    tokens: Vec<Token>,
}

impl Desk {
    /// Enough for `lanes` lanes at each relay.
    ///
    /// # Errors
    /// A key or a token cannot be made.
    pub fn new(lanes: usize) -> anyhow::Result<Self> {
        let issuer = Issuer::generate()?;
        let der = issuer.public_der()?;
        let key = AdmissionKey::from_der(&der)?;
        let id = NodeId::random(&mut SystemRng);
        let token = |_| {
            let request = TokenRequest::new(&key, id, &mut SystemRng)?;
            let answer = issuer.sign(request.blinded())?;
            anyhow::Ok(request.finish(&key, &answer)?)
        };
        let tokens = (0..lanes).map(token).collect::<Result<_, _>>()?;
        Ok(Self { id, issuer: der, tokens })
    }
}

/// One cell on its way to the crossing relay.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// When its sender takes what waits: messages that are ready by then may be in it.
    pub due: Ms,
    /// When it passes the sender's own link.
    pub left: Ms,
    /// When it reaches the crossing relay.
    pub arrives: Ms,
    /// The adversary took it away.
    pub dropped: bool,
}

/// What is wrong with the crossing: for controls that the attackers must pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It regenerates nothing: it was set up as for a lane without cover.
    Forwards,
    /// A cell with something to say leaves so much later than a dummy.
    RealCellsLate(Ms),
}

/// What left, as a tap sees it, and what only the receiving ends know.
pub struct Left {
    /// For each lane, when its cells left.
    pub cells: Vec<Vec<Ms>>,
    /// For each lane, when the last cell of each message left.
    pub messages: Vec<Vec<Ms>>,
}

/// The bytes on both sides, if they are kept.
#[derive(Default)]
pub struct Bytes {
    /// Into the crossing relay.
    pub input: Vec<Box<Cell>>,
    /// Out of it.
    pub output: Vec<Box<Cell>>,
}

/// What happens at the relay.
pub struct Run<'a> {
    /// For its tokens.
    pub desk: &'a Desk,
    /// From slot to slot of a sender, in microseconds; without cover cells leave at once.
    pub period: Option<u32>,
    /// For controls.
    pub fault: Fault,
    /// What the lanes have to say.
    pub lanes: &'a [Lane],
    /// Their senders' cells, in order.
    pub sent: &'a [Vec<Sent>],
    /// When cells come that nobody sealed.
    pub rubbish: &'a [Ms],
    /// How long it goes on.
    pub until: Ms,
    /// Where bytes are kept.
    pub keep: Option<&'a mut Bytes>,
}

impl Run<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// The relay cannot be set up, or refuses a cell that it must take.
    pub fn go(mut self, rng: &mut impl Rng) -> anyhow::Result<Left> {
        let keep = self.keep.take();
        let mut relay = Relay::new(&self, keep.is_some())?;
        let mut input = Vec::new();
        let mut events: Vec<(Ms, Option<(usize, Sent)>)> =
            self.rubbish.iter().map(|at| (*at, None)).collect();
        for (lane, sent) in self.sent.iter().enumerate() {
            events.extend(sent.iter().map(|s| (s.arrives, Some((lane, *s)))));
        }
        // Stable: cells of a lane stay in their order.
        events.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (at, event) in events {
            relay.wake_before(at, rng);
            match event {
                None => relay.rubbish(at, rng),
                Some((lane, sent)) => {
                    let cell = relay.send(lane, &self.lanes[lane], &sent)?;
                    if keep.is_some() {
                        input.push(cell);
                    }
                }
            }
        }
        relay.wake_before(self.until, rng);
        let wire = relay.wire;
        if let Some(keep) = keep {
            *keep = Bytes { input, output: wire.bytes.unwrap_or_default() };
        }
        Ok(Left { cells: wire.cells, messages: wire.messages })
    }
}

struct Relay {
    core: RelayCore,
    senders: Vec<Sender>,
    wire: Wire,
    zero: Instant,
    /// When its thread is free again.
    free: Ms,
    /// When its timer will really wake it for the next slot.
    wake: Option<(Instant, Ms)>,
}

struct Sender {
    slots: SlotSender,
    /// Messages that have been handed over.
    pushed: usize,
    /// Cells of them that have not left: how many of each.
    waiting: VecDeque<usize>,
}

/// What a cell has to say, as only the ends know.
#[derive(Clone, Copy, PartialEq)]
enum Content {
    Dummy,
    Part,
    Last,
}

struct Wire {
    now: Ms,
    late: Ms,
    cells: Vec<Vec<Ms>>,
    messages: Vec<Vec<Ms>>,
    /// What has been taken and has not left, for each lane.
    inside: Vec<VecDeque<Content>>,
    bytes: Option<Vec<Box<Cell>>>,
    scratch: Box<Cell>,
}

impl Egress for Wire {
    fn open(&mut self, _lane: LaneKey, _next: NodeId, _quota: u32) {}
    fn close(&mut self, _lane: LaneKey) {}
    fn push_with(
        &mut self,
        lane: LaneKey,
        write: &mut dyn FnMut(&mut Cell) -> Result<bool, CellDrop>,
    ) -> Result<bool, CellDrop> {
        let written = write(&mut self.scratch)?;
        if written {
            let lane = lane as usize;
            self.now += SEAL;
            let content = self.inside[lane].pop_front().unwrap_or(Content::Dummy);
            let late = if content == Content::Dummy { 0.0 } else { self.late };
            self.cells[lane].push(self.now + late);
            if content == Content::Last {
                self.messages[lane].push(self.now + late);
            }
            if let Some(bytes) = &mut self.bytes {
                bytes.push(self.scratch.clone());
            }
        }
        Ok(written)
    }
}

impl Relay {
    fn new(run: &Run<'_>, keeps: bool) -> anyhow::Result<Self> {
        let mut core = RelayCore::new(Suite::X25519, Budget::new(1 << 30));
        core.admit(run.desk.id, AdmissionKey::from_der(&run.desk.issuer)?);
        let zero = Instant::now();
        core.set_clock(WallClock { at: zero, unix: Duration::from_secs(UNIX.into()) });
        let path = [RelayRef { id: run.desk.id, key: core.public_key().clone() }];
        let k = run.lanes.len();
        let mut wire = Wire {
            now: 0.0,
            late: if let Fault::RealCellsLate(late) = run.fault { late } else { 0.0 },
            cells: vec![Vec::new(); k],
            messages: vec![Vec::new(); k],
            inside: vec![VecDeque::new(); k],
            bytes: keeps.then(Vec::new),
            scratch: Box::new([0; CELL]),
        };
        let stop = UNIX + (run.until / 1000.0).ceil() as u32 + 1;
        let cover = run.period.map(|period| Cover { period, start: UNIX, stop });
        let mut tokens = run.desk.tokens.iter();
        let mut senders = Vec::with_capacity(k);
        for _ in 0..k {
            let plan = LanePlan {
                role: LaneRole::Forward,
                receiver: NodeId::random(&mut SystemRng),
                path: &path,
                epoch: Epoch(1),
                quota: 256,
                idle_seconds: 3600,
                cover: if run.fault == Fault::Forwards { None } else { cover },
            };
            let mut keys = plan.draw(&mut SystemRng, &mut |_| tokens.next().cloned())?;
            let letter = keys.hops.pop().context("a lane of one hop")?.1.into_letter();
            let outcome = core.letter(zero, &letter, &mut wire)?;
            anyhow::ensure!(matches!(outcome, LetterOutcome::Installed { .. }), "not installed");
            let slots = SlotSender::new(&keys.sending, 1 << 20);
            senders.push(Sender { slots, pushed: 0, waiting: VecDeque::new() });
        }
        Ok(Self { core, senders, wire, zero, free: 0.0, wake: None })
    }

    fn at(&self, ms: Ms) -> Instant {
        self.zero + Duration::from_secs_f64(ms / 1000.0)
    }

    /// Wakes for everything that is due before `at`: slots, and gaps that were waited for too long.
    ///
    /// A timer has a resolution of a millisecond, and the thread may be busy with cells.
    fn wake_before(&mut self, at: Ms, rng: &mut impl Rng) {
        while let Some(deadline) = self.core.deadline() {
            let wake = match self.wake {
                Some((of, wake)) if of == deadline => wake,
                _ => {
                    let due = deadline.saturating_duration_since(self.zero).as_secs_f64() * 1000.0;
                    due + unit(rng) + exponential(rng, 0.1)
                }
            };
            self.wake = Some((deadline, wake));
            let now = wake.max(self.free);
            if now > at {
                return;
            }
            self.wake = None;
            self.wire.now = now;
            self.core.on_time(self.at(now), &mut self.wire);
            self.free = self.wire.now;
        }
    }

    /// A sender's cell of this slot, which the relay takes unless it is dropped on the way.
    fn send(&mut self, lane: usize, says: &Lane, sent: &Sent) -> anyhow::Result<Box<Cell>> {
        let sender = &mut self.senders[lane];
        while let Some(message) = says.messages.get(sender.pushed).filter(|m| m.at <= sent.due) {
            sender.slots.push(header(sender.pushed), vec![0; message.cells * FRAME_DATA])?;
            sender.pushed += 1;
            sender.waiting.push_back(message.cells);
        }
        let mut cell = Box::new([0; CELL]);
        sender.slots.slot(&mut cell)?;
        let content = sender.take();
        if sent.dropped {
            return Ok(cell);
        }
        let now = sent.arrives.max(self.free);
        self.wire.now = now + TAKE;
        self.wire.inside[lane].push_back(content);
        match self.core.cell(self.at(now), &cell, &mut self.wire) {
            Ok(()) => {}
            // Held back by the adversary until its place had been given up: that costs the lane its cell.
            Err(CellDrop::OverQuota | CellDrop::TooLate | CellDrop::UnknownTag) => {
                self.wire.inside[lane].pop_back();
            }
            Err(drop) => return Err(drop.into()),
        }
        self.free = self.wire.now;
        Ok(cell)
    }

    fn rubbish(&mut self, at: Ms, rng: &mut impl Rng) {
        let now = at.max(self.free);
        let mut cell = Box::new([0; CELL]);
        rng.fill_bytes(&mut cell[..64]);
        self.wire.now = now + TAKE;
        // Nobody sealed it: it is refused, and costs time.
        let _ = self.core.cell(self.at(now), &cell, &mut self.wire);
        self.free = self.wire.now;
    }
}

impl Sender {
    /// What the cell that just left had to say.
    fn take(&mut self) -> Content {
        let Some(first) = self.waiting.front_mut() else { return Content::Dummy };
        *first -= 1;
        if *first > 0 {
            return Content::Part;
        }
        self.waiting.pop_front();
        Content::Last
    }
}

fn header(number: usize) -> MessageHeader {
    MessageHeader {
        kind: Kind::Activation,
        term: 1,
        attempt: 0,
        step: number as u64,
        micro_batch: 0,
    }
}
