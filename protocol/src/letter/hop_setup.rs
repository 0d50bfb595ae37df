//! What a relay is told of one lane.

use crate::cell::Epoch;
use crate::codec::{Malformed, Reader};
use crate::cover::Cover;
use crate::sizes::{MAX_HOPS, MAX_SENDER_LAYERS, SECRET};
use crate::{NodeId, Secret};
use zeroize::Zeroizing;

pub(super) const HOP_SETUP: u8 = 1;
/// The role of a covered crossing.
const COVERED: u8 = 4;

/// The most cells in flight that a lane may declare: 65,536, a gibibyte.
pub const MAX_QUOTA: u32 = 1 << 16;

/// One hop of one lane. Its keys are not in here: they come from the letter's HPKE context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopSetup {
    /// The hop's part.
    pub role: HopRole,
    /// The key epoch.
    pub epoch: Epoch,
    /// Cells in flight, at least 1 and at most 65,536.
    pub quota: u32,
    /// After how many seconds without a cell the lane may be forgotten.
    pub idle_seconds: u32,
    /// Where accepted cells go.
    pub next: NodeId,
}

/// The part of a hop in its lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HopRole {
    /// Before the crossing.
    Sender {
        /// Sender layers on an incoming cell.
        layers: u8,
    },
    /// At the crossing.
    Crossing {
        /// The tag secret of the outgoing link.
        out_tag: Secret,
    },
    /// At the crossing of a lane under constant-rate cover.
    Covered {
        /// The tag secret of the outgoing link.
        out_tag: Secret,
        /// When cells leave.
        cover: Cover,
    },
    /// After the crossing.
    Receiver {
        /// Receiver layers on an incoming cell.
        layers: u8,
        /// The tag secret of the outgoing link.
        out_tag: Secret,
    },
}

/// `kind(1)=1 role(1) layers(1) reserved(1) epoch(4) quota(4) idle seconds(4) next(16) out tag(32)`,
/// and for a covered crossing `period(4) start(4) stop(4)`.
impl HopSetup {
    /// Encodes the set-up.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let none = none();
        let (role, layers, out_tag) = match &self.role {
            HopRole::Sender { layers } => (1, *layers, &none),
            HopRole::Crossing { out_tag } => (2, 1, out_tag),
            HopRole::Receiver { layers, out_tag } => (3, *layers, out_tag),
            HopRole::Covered { out_tag, .. } => (COVERED, 1, out_tag),
        };
        let mut out = Zeroizing::new(Vec::with_capacity(4 + 12 + 16 + SECRET + 12));
        out.extend([HOP_SETUP, role, layers, 0]);
        out.extend(self.epoch.0.to_be_bytes());
        out.extend(self.quota.to_be_bytes());
        out.extend(self.idle_seconds.to_be_bytes());
        out.extend(self.next.as_bytes());
        out.extend(out_tag.expose());
        if let HopRole::Covered { cover, .. } = &self.role {
            cover.write(&mut out);
        }
        out
    }

    /// Decodes a letter's content.
    ///
    /// # Errors
    /// It is no hop set-up, or a field is out of its bounds.
    pub fn from_bytes(content: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(content);
        if r.u8()? != HOP_SETUP {
            return Err(r.malformed("content kind"));
        }
        let (role, layers) = (r.u8()?, r.u8()?);
        if r.u8()? != 0 {
            return Err(r.malformed("reserved byte"));
        }
        let epoch = Epoch(r.u32()?);
        let quota = read_quota(&mut r)?;
        let idle_seconds = r.u32()?;
        let next = NodeId::read(&mut r)?;
        let out_tag = r.secret()?;
        let cover = if role == COVERED { Some(Cover::read(&mut r)?) } else { None };
        r.end()?;
        let within = |most: usize| (1..=most).contains(&usize::from(layers));
        let role = match (role, cover) {
            // A sender-half relay writes no tag: the one way to say so is zeros.
            (1, _) if out_tag != none() => return Err(Malformed { what: "out tag", at: 32 }),
            (1, _) if within(MAX_SENDER_LAYERS) && layers > 1 => HopRole::Sender { layers },
            (2, _) if layers == 1 => HopRole::Crossing { out_tag },
            (3, _) if within(MAX_HOPS - MAX_SENDER_LAYERS) => HopRole::Receiver { layers, out_tag },
            (COVERED, Some(cover)) if layers == 1 => HopRole::Covered { out_tag, cover },
            _ => return Err(Malformed { what: "hop role or layers", at: 1 }),
        };
        Ok(Self { role, epoch, quota, idle_seconds, next })
    }
}

/// Stands where there is no secret.
const fn none() -> Secret {
    Secret::from_bytes([0; SECRET])
}

pub(super) fn read_quota(r: &mut Reader<'_>) -> Result<u32, Malformed> {
    match r.u32()? {
        quota @ 1..=MAX_QUOTA => Ok(quota),
        _ => Err(r.malformed("quota")),
    }
}
