//! What a layer pod is told: who owns it now, its layer's key, its ends of lanes.

use super::{LetterError, ReceivingEnd, SendingEnd};
use crate::claim::{Claim, ClaimKey};
use crate::codec::{Malformed, Reader};
use crate::suite::PublicKey;
use crate::{NodeId, Secret, labels};
use aws_lc_rs::digest;
use zeroize::Zeroizing;

const POD_SETUP: u8 = 2;
const SIGNATURE: usize = 64;
const SEND: u8 = 0;
const RECEIVE: u8 = 1;
const SEND_COVERED: u8 = 2;

/// One end of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneEnd {
    /// This pod sends on the lane.
    Send(SendingEnd),
    /// This pod receives on the lane.
    Receive(ReceivingEnd),
}

/// A layer pod's set-up. What the layer computes follows over the command lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSetup {
    /// The designer's term.
    pub term: u32,
    /// Rises with every set-up of the same term (a lane rebuilt).
    pub sequence: u32,
    /// From which the layer's seeds and its digest key are derived.
    pub layer_key: Secret,
    /// The pod's ends of lanes: those given before under the same role and direction are replaced.
    pub lanes: Vec<LaneEnd>,
}

/// `kind(1)=2 term(4) sequence(4) pod(16) layer key(32) lanes(1) [direction(1) end]* signature(64)`
impl PodSetup {
    /// Encodes and signs the set-up for one pod and one key of it.
    ///
    /// # Panics
    /// More than 255 lanes: a mistake of this program.
    pub fn sign(&self, claim: &ClaimKey, pod: NodeId, key: &PublicKey) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(2048));
        out.push(POD_SETUP);
        out.extend(self.term.to_be_bytes());
        out.extend(self.sequence.to_be_bytes());
        out.extend(pod.as_bytes());
        out.extend(self.layer_key.expose());
        out.push(u8::try_from(self.lanes.len()).expect("a pod has at most 255 ends of lanes"));
        for lane in &self.lanes {
            match lane {
                LaneEnd::Send(end) => {
                    out.push(if end.cover.is_some() { SEND_COVERED } else { SEND });
                    end.write(&mut out);
                }
                LaneEnd::Receive(end) => {
                    out.push(RECEIVE);
                    end.write(&mut out);
                }
            }
        }
        let signature = claim.sign(&signed_bytes(key, &out));
        out.extend(signature);
        out
    }

    /// Verifies and decodes a set-up.
    ///
    /// `last` is the term and sequence of the newest set-up that this pod accepted.
    ///
    /// # Errors
    /// It is not signed under the claim, for another pod or key, not newer, or malformed.
    pub fn verify(
        content: &[u8],
        claim: &Claim,
        pod: NodeId,
        key: &PublicKey,
        last: Option<(u32, u32)>,
    ) -> Result<Self, LetterError> {
        let at = content.len().checked_sub(SIGNATURE).ok_or(LetterError::Signature)?;
        let (content, signature) = content.split_at(at);
        // Nothing is parsed before the signature holds.
        if !claim.verifies(&signed_bytes(key, content), signature) {
            return Err(LetterError::Signature);
        }
        let (setup, named) = Self::parse(content)?;
        if named != pod {
            return Err(LetterError::Signature);
        }
        let now = (setup.term, setup.sequence);
        if last.is_some_and(|last| now <= last) {
            return Err(LetterError::Stale(now.0, now.1));
        }
        Ok(setup)
    }

    fn parse(content: &[u8]) -> Result<(Self, NodeId), Malformed> {
        let mut r = Reader::new(content);
        if r.u8()? != POD_SETUP {
            return Err(r.malformed("content kind"));
        }
        let (term, sequence) = (r.u32()?, r.u32()?);
        let pod = NodeId::read(&mut r)?;
        let layer_key = r.secret()?;
        let lanes = (0..r.u8()?)
            .map(|_| match r.u8()? {
                SEND => Ok(LaneEnd::Send(SendingEnd::read(&mut r, false)?)),
                SEND_COVERED => Ok(LaneEnd::Send(SendingEnd::read(&mut r, true)?)),
                RECEIVE => Ok(LaneEnd::Receive(ReceivingEnd::read(&mut r)?)),
                _ => Err(r.malformed("lane direction")),
            })
            .collect::<Result<_, _>>()?;
        r.end()?;
        Ok((Self { term, sequence, layer_key, lanes }, pod))
    }
}

/// The signature covers the pod's key too: a set-up cannot be replayed to a pod that took over an id.
fn signed_bytes(key: &PublicKey, content: &[u8]) -> Zeroizing<Vec<u8>> {
    let key = digest::digest(&digest::SHA256, &key.to_bytes());
    Zeroizing::new([labels::POD_SETUP, key.as_ref(), content].concat())
}
