//! What a relay does with a cell of one lane.

use super::key::CellKey;
use super::{Cell, CellDrop, Epoch, LinkTag, Resequencer, TagKey};
use crate::Secret;
use crate::cover::Cover;
use crate::letter::{HopRole, HopSetup};
use crate::rng;
use crate::sizes::{AEAD_TAG, CELL, LINK_TAG, MARK, SEALED_FRAME, SENDER_LAYER};
use std::time::{Duration, Instant};

/// How long the crossing relay waits for a missing cell before it goes on without it.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where the mark stands in a cell that leaves the crossing relay.
const MARK_AT: usize = LINK_TAG + AEAD_TAG;
/// Where the sealed frame stands in it.
const FRAME_AT: usize = MARK_AT + MARK;

/// One relay's part in one lane: its keys and its place.
#[expect(
    clippy::large_enum_variant,
    reason = "one per lane; its buffers and tables are far larger"
)]
pub enum Hop {
    /// Before the crossing: opens one layer.
    Sender(SenderHop),
    /// At the crossing: opens the last sender layer, seals the first receiver layer.
    Crossing(Box<CrossingHop>),
    /// At the crossing of a lane under constant-rate cover: cells leave in slots.
    Covered(Box<CrossingHop>),
    /// After the crossing: seals one more layer.
    Receiver(ReceiverHop),
}

/// What became of a cell that a hop accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HopOutcome {
    /// The outgoing cell has been written.
    Ready,
    /// The cell waits for one before it; nothing was written.
    Held,
}

impl Hop {
    /// The hop that a set-up letter describes; `secret` is what the letter's HPKE context exports.
    pub fn new(setup: &HopSetup, secret: &Secret) -> Self {
        let epoch = setup.epoch;
        match &setup.role {
            HopRole::Sender { layers } => Self::Sender(SenderHop {
                open: CellKey::new(&secret.hop_open(), epoch),
                used: SEALED_FRAME + SENDER_LAYER * usize::from(*layers),
            }),
            HopRole::Crossing { out_tag } => {
                Self::Crossing(Box::new(CrossingHop::new(secret, out_tag, epoch, setup.quota)))
            }
            HopRole::Covered { out_tag, .. } => {
                let most = setup.quota + Cover::SLACK;
                Self::Covered(Box::new(CrossingHop::new(secret, out_tag, epoch, most)))
            }
            HopRole::Receiver { layers, out_tag } => Self::Receiver(ReceiverHop {
                seal: CellKey::new(&secret.hop_seal(), epoch),
                out_tag: TagKey::new(out_tag),
                inner: AEAD_TAG * usize::from(*layers) + MARK + SEALED_FRAME,
            }),
        }
    }

    /// Takes the link's cell `number` and writes what goes out into `out`.
    ///
    /// After [`HopOutcome::Held`], and after every accepted cell of a crossing hop, call
    /// [`poll`](Self::poll) until it gives `false`.
    ///
    /// # Errors
    /// Why the cell must be dropped. `out` then holds rubbish. Spend the tag only on `Ok`.
    pub fn forward(
        &mut self,
        now: Instant,
        number: u64,
        cell: &Cell,
        out: &mut Cell,
    ) -> Result<HopOutcome, CellDrop> {
        match self {
            Self::Sender(hop) => hop.forward(number, cell, out),
            Self::Crossing(hop) => hop.forward(now, number, cell, out),
            Self::Covered(hop) => hop.hold(now, number, cell, out),
            Self::Receiver(hop) => hop.forward(number, cell, out),
        }
    }

    /// Writes the next held cell that may go out now, if any.
    ///
    /// # Errors
    /// The lane's counter is used up.
    pub fn poll(&mut self, now: Instant, out: &mut Cell) -> Result<bool, CellDrop> {
        match self {
            Self::Crossing(hop) => hop.poll(now, out),
            Self::Sender(_) | Self::Covered(_) | Self::Receiver(_) => Ok(false),
        }
    }

    /// Writes the cell of a covered lane's slot: the next real one, or this relay's dummy.
    ///
    /// Gives whether there was anything to write: other hops have no slots.
    ///
    /// # Errors
    /// The lane's counter is used up.
    pub fn slot(&mut self, now: Instant, out: &mut Cell) -> Result<bool, CellDrop> {
        let Self::Covered(hop) = self else { return Ok(false) };
        if !hop.poll(now, out)? {
            hop.dummy(out)?;
        }
        Ok(true)
    }

    /// When [`poll`](Self::poll) should be called even if no cell comes.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Crossing(hop) => hop.held.deadline(),
            Self::Sender(_) | Self::Covered(_) | Self::Receiver(_) => None,
        }
    }
}

/// A hop before the crossing.
pub struct SenderHop {
    open: CellKey,
    /// Length of `O_j`, the used part of an incoming cell.
    used: usize,
}

impl SenderHop {
    fn forward(&mut self, n: u64, cell: &Cell, out: &mut Cell) -> Result<HopOutcome, CellDrop> {
        let inner = self.used - SENDER_LAYER;
        self.open.open(n, &cell[LINK_TAG..self.used], &mut out[..inner])?;
        rng::fill(&mut out[inner..]);
        Ok(HopOutcome::Ready)
    }
}

/// The crossing hop: the one place where the lane's two halves meet.
pub struct CrossingHop {
    open: CellKey,
    seal: CellKey,
    out_tag: TagKey,
    /// Its own counter: it also emits dummies, and must never seal two texts under one number.
    next: u64,
    held: Resequencer<Box<[u8; SEALED_FRAME]>>,
}

impl CrossingHop {
    fn new(secret: &Secret, out_tag: &Secret, epoch: Epoch, quota: u32) -> Self {
        Self {
            open: CellKey::new(&secret.hop_open(), epoch),
            seal: CellKey::new(&secret.hop_seal(), epoch),
            out_tag: TagKey::new(out_tag),
            next: 0,
            held: Resequencer::new(quota as usize, PATIENCE),
        }
    }

    fn forward(
        &mut self,
        now: Instant,
        number: u64,
        cell: &Cell,
        out: &mut Cell,
    ) -> Result<HopOutcome, CellDrop> {
        let sealed = &cell[LINK_TAG..SENDER_LAYER + SEALED_FRAME];
        self.open.open(number, sealed, &mut out[FRAME_AT..FRAME_AT + SEALED_FRAME])?;
        if self.held.is_next(number) {
            self.held.skip_queue();
            self.emit(Mark::Real, out)?;
            return Ok(HopOutcome::Ready);
        }
        let mut frame = Box::new([0; SEALED_FRAME]);
        frame.copy_from_slice(&out[FRAME_AT..FRAME_AT + SEALED_FRAME]);
        self.held.insert(now, number, frame).map_err(|_| CellDrop::TooLate)?;
        Ok(HopOutcome::Held)
    }

    /// Takes a cell of a covered lane: it waits for a slot, in its order.
    fn hold(
        &mut self,
        now: Instant,
        number: u64,
        cell: &Cell,
        out: &mut Cell,
    ) -> Result<HopOutcome, CellDrop> {
        let sealed = &cell[LINK_TAG..SENDER_LAYER + SEALED_FRAME];
        let frame = &mut out[..SEALED_FRAME];
        self.open.open(number, sealed, frame)?;
        if self.held.is_full() {
            return Err(CellDrop::OverQuota);
        }
        let mut boxed = Box::new([0; SEALED_FRAME]);
        boxed.copy_from_slice(frame);
        self.held.insert(now, number, boxed).map_err(|_| CellDrop::TooLate)?;
        Ok(HopOutcome::Held)
    }

    fn poll(&mut self, now: Instant, out: &mut Cell) -> Result<bool, CellDrop> {
        let Some(frame) = self.held.pop(now) else { return Ok(false) };
        out[FRAME_AT..FRAME_AT + SEALED_FRAME].copy_from_slice(&frame[..]);
        self.emit(Mark::Real, out)?;
        Ok(true)
    }

    /// Writes a dummy of this relay's own, which only the receiving end can tell from a real cell.
    ///
    /// # Errors
    /// The lane's counter is used up.
    pub fn dummy(&mut self, out: &mut Cell) -> Result<(), CellDrop> {
        out[FRAME_AT..FRAME_AT + SEALED_FRAME].fill(0);
        self.emit(Mark::Dummy, out)
    }

    fn emit(&mut self, mark: Mark, out: &mut Cell) -> Result<(), CellDrop> {
        let number = self.next;
        self.next += 1;
        out[..LINK_TAG].copy_from_slice(&self.out_tag.tag(number));
        out[MARK_AT] = mark as u8;
        self.seal.seal(number, out, LINK_TAG, FRAME_AT + SEALED_FRAME)?;
        rng::fill(&mut out[FRAME_AT + SEALED_FRAME..]);
        Ok(())
    }
}

/// Says, under the crossing relay's seal, whether a sealed frame follows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Real = 0,
    Dummy = 1,
}

/// A hop after the crossing.
pub struct ReceiverHop {
    seal: CellKey,
    out_tag: TagKey,
    /// Length of what follows the link tag in an incoming cell.
    inner: usize,
}

impl ReceiverHop {
    fn forward(&mut self, n: u64, cell: &Cell, out: &mut Cell) -> Result<HopOutcome, CellDrop> {
        let used = LINK_TAG + AEAD_TAG + self.inner;
        let tag: LinkTag = self.out_tag.tag(n);
        out[..LINK_TAG].copy_from_slice(&tag);
        out[LINK_TAG + AEAD_TAG..used].copy_from_slice(&cell[LINK_TAG..LINK_TAG + self.inner]);
        self.seal.seal(n, out, LINK_TAG, used)?;
        rng::fill(&mut out[used..CELL]);
        Ok(HopOutcome::Ready)
    }
}
