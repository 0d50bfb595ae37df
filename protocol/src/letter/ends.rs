//! What the two ends of a lane are told.

use crate::cell::Epoch;
use crate::codec::{Malformed, Reader};
use crate::cover::Cover;
use crate::lane::LaneRole;
use crate::sizes::{MAX_HOPS, MAX_SENDER_LAYERS};
use crate::{NodeId, Secret};

/// For the sending end: how to wrap a cell, and where to send it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendingEnd {
    /// What the lane is for.
    pub role: LaneRole,
    /// The key epoch.
    pub epoch: Epoch,
    /// The first relay.
    pub first: NodeId,
    /// The end-to-end secret.
    pub e2e: Secret,
    /// For each sender-half hop, first to pass first: its link tag secret and its opening secret.
    pub layers: Vec<(Secret, Secret)>,
    /// When cells leave, on a lane under constant-rate cover.
    pub cover: Option<Cover>,
}

/// For the receiving end: how to tell its cells and open them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivingEnd {
    /// What the lane is for.
    pub role: LaneRole,
    /// The key epoch.
    pub epoch: Epoch,
    /// Cells in flight.
    pub quota: u32,
    /// The end-to-end secret.
    pub e2e: Secret,
    /// The tag secret of the last link.
    pub link_tag: Secret,
    /// The sealing secrets of the receiver-half hops, last relay first.
    pub layers: Vec<Secret>,
}

/// `role(1) epoch(4) first(16) e2e(32) layers(1) [tag(32) open(32)]*`, and under cover
/// `period(4) start(4) stop(4)`.
impl SendingEnd {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.role as u8);
        out.extend(self.epoch.0.to_be_bytes());
        out.extend(self.first.as_bytes());
        out.extend(self.e2e.expose());
        out.push(self.layers.len() as u8);
        for (tag, open) in &self.layers {
            out.extend(tag.expose());
            out.extend(open.expose());
        }
        if let Some(cover) = self.cover {
            cover.write(out);
        }
    }

    pub(super) fn read(r: &mut Reader<'_>, covered: bool) -> Result<Self, Malformed> {
        Ok(Self {
            role: read_role(r)?,
            epoch: Epoch(r.u32()?),
            first: NodeId::read(r)?,
            e2e: r.secret()?,
            layers: read_layers(r, MAX_SENDER_LAYERS, |r| Ok((r.secret()?, r.secret()?)))?,
            cover: if covered { Some(Cover::read(r)?) } else { None },
        })
    }
}

/// `role(1) epoch(4) quota(4) e2e(32) link tag(32) layers(1) [seal(32)]*`
impl ReceivingEnd {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.role as u8);
        out.extend(self.epoch.0.to_be_bytes());
        out.extend(self.quota.to_be_bytes());
        out.extend(self.e2e.expose());
        out.extend(self.link_tag.expose());
        out.push(self.layers.len() as u8);
        for seal in &self.layers {
            out.extend(seal.expose());
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            role: read_role(r)?,
            epoch: Epoch(r.u32()?),
            quota: super::hop_setup::read_quota(r)?,
            e2e: r.secret()?,
            link_tag: r.secret()?,
            layers: read_layers(r, MAX_HOPS - MAX_SENDER_LAYERS + 1, Reader::secret)?,
        })
    }
}

fn read_role(r: &mut Reader<'_>) -> Result<LaneRole, Malformed> {
    LaneRole::from_code(r.u8()?).ok_or_else(|| r.malformed("lane role"))
}

fn read_layers<'a, T>(
    r: &mut Reader<'a>,
    most: usize,
    one: impl Fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let n = usize::from(r.u8()?);
    if !(1..=most).contains(&n) {
        return Err(r.malformed("number of layers"));
    }
    (0..n).map(|_| one(r)).collect()
}
