//! Lanes: one directed edge of a model's ring, through its own path of relays.

use crate::cell::Epoch;
use crate::cover::Cover;
use crate::frame::Kind;
use crate::letter::{
    Draft, HopRole, HopSetup, LetterError, MAX_QUOTA, ReceivingEnd, SealedLetter, SendingEnd,
};
use crate::sizes::MAX_HOPS;
use crate::{NodeId, PublicKey, Secret, Token};
use hpke::rand_core::CryptoRng;

/// What a lane is for. It decides which kinds of message the lane carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LaneRole {
    /// Activations, from a layer (or the designer) to the next.
    Forward = 1,
    /// Gradients, the other way.
    Backward = 2,
    /// Instructions, from the designer to a layer pod.
    Command = 3,
    /// Answers, from a layer pod to the designer.
    Report = 4,
}

impl LaneRole {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Forward, Self::Backward, Self::Command, Self::Report];

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Forward,
            2 => Self::Backward,
            3 => Self::Command,
            4 => Self::Report,
            _ => return None,
        })
    }

    /// Whether lanes of this role carry messages of this kind.
    pub fn carries(self, kind: Kind) -> bool {
        kind.roles().contains(&self)
    }
}

/// A relay as the designer sees it in the directory.
#[derive(Clone, Debug)]
pub struct RelayRef {
    /// Its id.
    pub id: NodeId,
    /// Its key.
    pub key: PublicKey,
}

/// A lane to be set up: who, over which relays, for how long, how wide.
pub struct LanePlan<'a> {
    /// What the lane is for.
    pub role: LaneRole,
    /// The node at its receiving end.
    pub receiver: NodeId,
    /// 1 to 5 relays, in the order in which cells pass them.
    pub path: &'a [RelayRef],
    /// The key epoch.
    pub epoch: Epoch,
    /// Cells in flight at any time: micro-batches x cells of the largest message.
    pub quota: u32,
    /// After how many seconds without a cell relays may forget the lane.
    pub idle_seconds: u32,
    /// Constant-rate cover, if the lane has it.
    pub cover: Option<Cover>,
}

/// A lane whose keys have been drawn: what each party is to be told.
pub struct LaneKeys {
    /// For the sending end.
    pub sending: SendingEnd,
    /// For the receiving end.
    pub receiving: ReceivingEnd,
    /// One sealed letter per relay, to be wrapped for the way to it.
    pub hops: Vec<(RelayRef, SealedLetter)>,
    /// For its owner, of a covered lane: the crossing relay, and the lane's name there.
    pub lease: Option<(RelayRef, Secret)>,
}

/// The relay, counted from 1, at which a lane of `hops` relays crosses from the sender's half to the
/// receiver's.
pub const fn crossing(hops: usize) -> usize {
    hops.div_ceil(2)
}

impl LanePlan<'_> {
    /// Draws the lane's keys and seals one letter to each relay.
    ///
    /// `admit` gives a token for the relay that will open the letter.
    ///
    /// # Errors
    /// The path has no relay or too many, the quota is none that a relay takes, a token is missing,
    /// or a letter cannot be sealed.
    pub fn draw<R: CryptoRng>(
        &self,
        rng: &mut R,
        admit: &mut impl FnMut(NodeId) -> Option<Token>,
    ) -> Result<LaneKeys, LetterError> {
        let hops = self.path.len();
        if !(1..=MAX_HOPS).contains(&hops) {
            return Err(LetterError::Hops(hops));
        }
        if !(1..=MAX_QUOTA).contains(&self.quota) {
            return Err(LetterError::Quota(self.quota));
        }
        if self.cover.is_some_and(|cover| !cover.is_valid()) {
            return Err(LetterError::Cover);
        }
        let crossing = crossing(hops);
        let e2e = Secret::random(rng);
        let last_tag = Secret::random(rng);
        let drafts: Vec<Draft> =
            self.path.iter().map(|relay| Draft::to(&relay.key, rng)).collect::<Result<_, _>>()?;
        let secrets: Vec<Secret> = drafts.iter().map(|d| d.hop_secret().clone()).collect();
        let mut letters = Vec::with_capacity(hops);
        for (i, (relay, draft)) in self.path.iter().zip(drafts).enumerate() {
            let setup = HopSetup {
                role: hop_role(i + 1, crossing, secrets.get(i + 1), &last_tag, self.cover),
                epoch: self.epoch,
                quota: self.quota,
                idle_seconds: self.idle_seconds,
                next: self.path.get(i + 1).map_or(self.receiver, |r| r.id),
            };
            let token = admit(relay.id).ok_or(LetterError::NoToken(relay.id))?;
            letters.push((relay.clone(), draft.deliver(Some(&token), &setup.to_bytes())?));
        }
        let (before, after) = (&secrets[..crossing], &secrets[crossing - 1..]);
        Ok(LaneKeys {
            sending: SendingEnd {
                role: self.role,
                epoch: self.epoch,
                first: self.path[0].id,
                e2e: e2e.clone(),
                layers: before.iter().map(|s| (s.hop_tag(), s.hop_open())).collect(),
                cover: self.cover,
            },
            receiving: ReceivingEnd {
                role: self.role,
                epoch: self.epoch,
                quota: self.quota,
                e2e,
                link_tag: last_tag,
                layers: after.iter().rev().map(Secret::hop_seal).collect(),
            },
            hops: letters,
            lease: self
                .cover
                .map(|_| (self.path[crossing - 1].clone(), secrets[crossing - 1].hop_lease())),
        })
    }
}

/// The part of hop `i` (from 1): which layers it meets, and the tag key of its outgoing link.
///
/// In the sender half the sending end has already written the next link's tag, so no relay there
/// needs a tag key but its own.
fn hop_role(
    i: usize,
    crossing: usize,
    next: Option<&Secret>,
    last_tag: &Secret,
    cover: Option<Cover>,
) -> HopRole {
    let out_tag = || next.map_or_else(|| last_tag.clone(), Secret::hop_tag);
    match i.cmp(&crossing) {
        std::cmp::Ordering::Less => HopRole::Sender { layers: (crossing - i + 1) as u8 },
        std::cmp::Ordering::Equal => match cover {
            Some(cover) => HopRole::Covered { out_tag: out_tag(), cover },
            None => HopRole::Crossing { out_tag: out_tag() },
        },
        std::cmp::Ordering::Greater => {
            HopRole::Receiver { layers: (i - crossing) as u8, out_tag: out_tag() }
        }
    }
}
