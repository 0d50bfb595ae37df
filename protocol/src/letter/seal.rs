//! Sealing a letter layer by layer, and opening one layer.

use super::MAX_QUOTA;
use crate::cell::key::{aead_key, nonce};
use crate::codec::{Malformed, Reader};
use crate::rng::SystemRng;
use crate::sizes::{AEAD_TAG, CELL, MAX_HOPS, NODE_ID};
use crate::suite::{self, Encapsulation, KeyPair, PublicKey, SuiteError};
use crate::{NodeId, RelayRef, Secret, Token, VERSION};
use aws_lc_rs::aead::Aad;
use hpke::rand_core::{CryptoRng, Rng};
use zeroize::Zeroizing;

/// A letter on a link.
pub type Letter = [u8; CELL];

/// Length of the head before HPKE seals it.
const HEAD: usize = 1 + 1 + 2 // action, reserved, body length
    + NODE_ID
    + Token::LEN;

/// Stands for the next node where the letter goes no further.
const NOWHERE: NodeId = NodeId::from_bytes([0; NODE_ID]);

const FORWARD: u8 = 1;
const DELIVER: u8 = 2;

/// Why a letter could not be made or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LetterError {
    /// A version or suite that this node does not speak.
    #[error("letter of version {version}, suite {suite}; this node speaks version {VERSION}, suite {}", .own)]
    Version {
        /// The version byte.
        version: u8,
        /// The suite byte.
        suite: u8,
        /// The suite byte of this node's key.
        own: u8,
    },
    /// HPKE refused it: not for this key, or changed.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// The body was changed.
    #[error("letter body does not open")]
    Body,
    /// What is inside does not follow the layout.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Content and layers do not fit into a letter.
    #[error("letter of {0} bytes does not fit into 16384: fewer hops or a smaller content")]
    TooLong(usize),
    /// A lane has 1 to 5 relays.
    #[error("a lane over {0} relays; it takes 1 to {MAX_HOPS}")]
    Hops(usize),
    /// A lane's quota is 1 to 65,536 cells.
    #[error(
        "a lane with a quota of {0} cells; it takes 1 to {MAX_QUOTA}: use smaller micro-batches"
    )]
    Quota(u32),
    /// A covered lane's period, start or stop is out of its bounds.
    #[error("the lane's cover has a period, start or stop out of bounds")]
    Cover,
    /// No admission token is left for this relay.
    #[error("no admission token for relay {0}")]
    NoToken(NodeId),
    /// The signature of a pod set-up does not verify under the pod's claim.
    #[error("pod set-up is not signed under this pod's claim")]
    Signature,
    /// The term and sequence do not rise.
    #[error("pod set-up of term {0}, sequence {1} is not newer than the last")]
    Stale(u32, u32),
}

/// The sealed layers of a letter so far, without the fill.
#[derive(Clone, Debug)]
pub struct SealedLetter(Vec<u8>);

/// A letter whose key is encapsulated but whose content is not yet written.
pub struct Draft(Encapsulation, crate::Suite);

impl Draft {
    /// Starts a letter to the holder of `key`.
    ///
    /// # Errors
    /// HPKE refuses the key.
    pub fn to(key: &PublicKey, rng: &mut impl CryptoRng) -> Result<Self, LetterError> {
        Ok(Self(Encapsulation::to(key, rng)?, key.suite()))
    }

    /// The secret that this letter's HPKE context exports, for one hop of one lane.
    pub const fn hop_secret(&self) -> &Secret {
        &self.0.shared.hop
    }

    /// Seals `content` for the holder of the key.
    ///
    /// # Errors
    /// The content does not fit.
    pub fn deliver(
        self,
        token: Option<&Token>,
        content: &[u8],
    ) -> Result<SealedLetter, LetterError> {
        self.seal(DELIVER, &NOWHERE, token, content)
    }

    fn forward(
        self,
        token: Option<&Token>,
        next: &NodeId,
        inner: &SealedLetter,
    ) -> Result<SealedLetter, LetterError> {
        self.seal(FORWARD, next, token, &inner.0)
    }

    fn seal(
        self,
        action: u8,
        next: &NodeId,
        token: Option<&Token>,
        text: &[u8],
    ) -> Result<SealedLetter, LetterError> {
        let Self(encapsulation, suite) = self;
        let body_length = text.len() + AEAD_TAG;
        let length = 2 + suite.enc_len() + HEAD + AEAD_TAG + body_length;
        if length > CELL {
            return Err(LetterError::TooLong(length));
        }
        let mut head = Zeroizing::new(Vec::with_capacity(HEAD));
        head.extend([action, 0]);
        head.extend((body_length as u16).to_be_bytes());
        head.extend(next.as_bytes());
        match token {
            Some(token) => token.write(&mut head),
            None => head.resize(HEAD, 0),
        }
        // Room for the tag from the start: growing would leave a copy of the text behind.
        let mut body = Zeroizing::new(Vec::with_capacity(body_length));
        body.extend_from_slice(text);
        aead_key(&encapsulation.shared.body)
            .seal_in_place_append_tag(nonce(0), Aad::empty(), &mut *body)
            .map_err(|_| LetterError::Body)?;
        let mut out = Vec::with_capacity(length);
        out.extend([VERSION, suite.code()]);
        let aad = [out[0], out[1]];
        out.extend(&encapsulation.enc);
        out.extend(encapsulation.seal(&head, &aad)?);
        out.extend_from_slice(&body);
        Ok(SealedLetter(out))
    }
}

impl SealedLetter {
    /// Fills the letter up with random bytes.
    pub fn into_letter(mut self) -> Box<Letter> {
        let used = self.0.len();
        self.0.resize(CELL, 0);
        SystemRng.fill_bytes(&mut self.0[used..]);
        self.0.into_boxed_slice().try_into().expect("resized to a letter")
    }
}

/// Wraps `letter`, which is for `to`, for its way over `relays` (first to pass first). Send the
/// result to the first relay, or to `to` if there is none.
///
/// # Errors
/// It does not fit, or a token is missing.
pub fn route<R: CryptoRng>(
    mut letter: SealedLetter,
    to: NodeId,
    relays: &[RelayRef],
    rng: &mut R,
    admit: &mut impl FnMut(NodeId) -> Option<Token>,
) -> Result<Box<Letter>, LetterError> {
    let mut next = to;
    for relay in relays.iter().rev() {
        let token = admit(relay.id).ok_or(LetterError::NoToken(relay.id))?;
        letter = Draft::to(&relay.key, rng)?.forward(Some(&token), &next, &letter)?;
        next = relay.id;
    }
    Ok(letter.into_letter())
}

/// What a letter says to the node that opened its outermost layer.
pub enum Opened {
    /// Send this letter to that node.
    Forward {
        /// The node that comes next.
        next: NodeId,
        /// The admission token that the letter spends here.
        token: Token,
        /// The next letter.
        letter: Box<Letter>,
    },
    /// The content is for this node.
    Deliver {
        /// The admission token that the letter spends here (zeros in a letter to a layer pod).
        token: Token,
        /// What the sender wrote.
        content: Zeroizing<Vec<u8>>,
        /// The secret that the HPKE context exports, for one hop of one lane.
        hop_secret: Secret,
    },
}

/// Opens one layer of a letter.
///
/// The caller then refuses a token that was spent before, which is also what refuses a replay.
///
/// # Errors
/// Why the letter must be dropped.
pub fn open(keys: &KeyPair, letter: &Letter) -> Result<Opened, LetterError> {
    let suite = keys.public().suite();
    let mut r = Reader::new(letter);
    let aad = r.array::<2>()?;
    if aad != [VERSION, suite.code()] {
        return Err(LetterError::Version { version: aad[0], suite: aad[1], own: suite.code() });
    }
    let enc = r.take(suite.enc_len())?;
    let (head, shared) = suite::open(keys, enc, r.take(HEAD + AEAD_TAG)?, &aad)?;
    let mut h = Reader::new(&head);
    let action = h.u8()?;
    if h.u8()? != 0 {
        return Err(h.malformed("reserved byte").into());
    }
    let body_length = usize::from(h.u16()?);
    let next = NodeId::read(&mut h)?;
    let token = Token::read(&mut h)?;
    h.end()?;
    let mut body = Zeroizing::new(r.take(body_length)?.to_vec());
    let text = aead_key(&shared.body)
        .open_in_place(nonce(0), Aad::empty(), &mut body)
        .map_err(|_| LetterError::Body)?
        .len();
    body.truncate(text);
    match action {
        FORWARD => {
            let letter = SealedLetter(body.to_vec()).into_letter();
            Ok(Opened::Forward { next, token, letter })
        }
        DELIVER if next != NOWHERE => Err(Malformed { what: "next", at: 4 }.into()),
        DELIVER => Ok(Opened::Deliver { token, content: body, hop_secret: shared.hop }),
        _ => Err(Malformed { what: "letter action", at: 0 }.into()),
    }
}
