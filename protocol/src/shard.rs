//! A layer's state at rest: sealed by the layer, opened by its owner alone.
//!
//! ```text
//! version(1) suite(1) enc(suite's length) [ AES-256-GCM[ piece of the text ] tag(16) ]*
//! text = length(8) state zeros
//! ```
//!
//! The key is exported from an HPKE encapsulation (RFC 9180, section 5.3) to a key that is made for
//! this one state of this one layer. Pieces are sealed as in STREAM (Hoang, Reyhanitabar, Rogaway and
//! Vizár, "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015): the
//! nonce holds a piece's number and whether it is the last, so that none can be moved, left out or cut
//! off. The associated data binds version, suite, layer, step and term. Pieces are cut so that the
//! whole, divided into parts of [`PART`] bytes, has one in each part: a layer seals a part when it is
//! asked for it, and never holds a sealed copy beside its state.
//!
//! Zeros fill the text up to the next length of Padmé (Nikitin et al., "Reducing Metadata Leakage from
//! Encrypted Files and Communication with PURBs", PoPETs 2019): at most 12 % more, and only O(log log)
//! bits of the length can be seen.

use crate::cell::key::aead_key;
use crate::control::PART;
use crate::sizes::AEAD_TAG;
use crate::suite::{share_once, shared_once};
use crate::{KeyPair, PublicKey, Suite, SuiteError, labels};
use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use hpke::rand_core::CryptoRng;
use std::ops::Range;
use zeroize::Zeroizing;

const VERSION: u8 = 2;
/// Version and suite.
const FIXED: usize = 2;
const LENGTH: usize = 8;

/// What a sealed state is a state of. It opens under the same binding only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Name of the layer, known to the layer and its owner.
    pub layer: [u8; 16],
    /// The state after this many steps.
    pub step: u64,
    /// The designer's term in which it was sealed.
    pub term: u32,
}

/// Why a sealed state was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// Not the bytes of a sealed state of this version.
    #[error("not a sealed state of version {VERSION}")]
    Malformed,
    /// Changed, sealed to another key, or of another layer, step or term.
    #[error("does not open: it was changed, or is of another key, layer, step or term")]
    Open,
    /// The key is of no use.
    #[error(transparent)]
    Key(SuiteError),
}

/// Seals one state, part by part, in any order and as often as asked: the same part has the same bytes.
pub struct Sealer {
    head: Vec<u8>,
    key: LessSafeKey,
    aad: Vec<u8>,
    state: usize,
}

impl Sealer {
    /// Seals a state of `state` bytes to a key that is used for nothing else.
    ///
    /// # Errors
    /// The key is of no use.
    pub fn new(
        to: &PublicKey,
        binding: &Binding,
        state: usize,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, ShardError> {
        let suite = to.suite();
        let (enc, secret) =
            share_once(to, &info(suite), labels::SHARD_KEY, rng).map_err(ShardError::Key)?;
        let head = [&[VERSION, suite.code()], enc.as_slice()].concat();
        Ok(Self { head, key: aead_key(&secret), aad: aad(suite, binding), state })
    }

    fn text(&self) -> usize {
        padded(LENGTH + self.state)
    }

    /// Bytes of the sealed state.
    pub fn length(&self) -> usize {
        let (text, first) = (self.text(), room(self.head.len(), 0));
        let pieces = 1 + text.saturating_sub(first).div_ceil(room(self.head.len(), 1));
        self.head.len() + text + pieces * AEAD_TAG
    }

    /// The sealed state's bytes from `index` times [`PART`] on, [`PART`] of them but for the last part;
    /// none behind the end. `read` gives the state's bytes from an offset on.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn part<E>(
        &self,
        index: u32,
        read: impl FnOnce(usize, &mut [u8]) -> Result<(), E>,
    ) -> Result<Option<Vec<u8>>, E> {
        let Some(piece) = piece(self.head.len(), self.text(), index) else { return Ok(None) };
        let is_last = piece.end == self.text();
        let mut out = if index == 0 { self.head.clone() } else { Vec::new() };
        let at = out.len();
        out.reserve(piece.len() + AEAD_TAG);
        out.resize(at + piece.len(), 0);
        self.fill(&piece, &mut out[at..], read)?;
        let sealed = self.key.seal_in_place_separate_tag(
            nonce(index, is_last),
            Aad::from(&self.aad),
            &mut out[at..],
        );
        // It fails for texts of more than 64 GiB only; a piece has less than one part.
        let tag = sealed.expect("a piece is short");
        out.extend_from_slice(tag.as_ref());
        Ok(Some(out))
    }

    /// Writes a piece of the text.
    fn fill<E>(
        &self,
        piece: &Range<usize>,
        out: &mut [u8],
        read: impl FnOnce(usize, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let length = (self.state as u64).to_be_bytes();
        let in_length = piece.start.min(LENGTH)..piece.end.min(LENGTH);
        let (head, rest) = out.split_at_mut(in_length.len());
        head.copy_from_slice(&length[in_length]);
        let end = LENGTH + self.state;
        let in_state = piece.start.clamp(LENGTH, end)..piece.end.clamp(LENGTH, end);
        if in_state.is_empty() {
            return Ok(());
        }
        read(in_state.start - LENGTH, &mut rest[..in_state.len()])
    }
}

/// How much text the part of this index takes.
const fn room(head: usize, index: u32) -> usize {
    PART - AEAD_TAG - if index == 0 { head } else { 0 }
}

/// The text's bytes in the part of this index.
fn piece(head: usize, text: usize, index: u32) -> Option<Range<usize>> {
    let start = match index {
        0 => 0,
        _ => room(head, 0) + (index as usize - 1) * room(head, index),
    };
    (start < text).then(|| start..text.min(start + room(head, index)))
}

fn nonce(index: u32, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[7..11].copy_from_slice(&index.to_be_bytes());
    bytes[11] = is_last.into();
    Nonce::assume_unique_for_key(bytes)
}

/// Opens a sealed state.
///
/// # Errors
/// Why it was refused.
pub fn open(
    keys: &KeyPair,
    binding: &Binding,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ShardError> {
    let suite = keys.public().suite();
    let (fixed, rest) = sealed.split_at_checked(FIXED).ok_or(ShardError::Malformed)?;
    if fixed != [VERSION, suite.code()] {
        return Err(ShardError::Malformed);
    }
    let (enc, pieces) = rest.split_at_checked(suite.enc_len()).ok_or(ShardError::Malformed)?;
    let secret = shared_once(keys, &info(suite), enc, labels::SHARD_KEY);
    let key = aead_key(&secret.map_err(|_| ShardError::Open)?);
    let mut text = open_pieces(&key, &aad(suite, binding), FIXED + enc.len(), pieces)?;
    let length = text.first_chunk().map(|head| u64::from_be_bytes(*head) as usize);
    let length = length.filter(|n| *n <= text.len() - LENGTH).ok_or(ShardError::Malformed)?;
    text.drain(..LENGTH);
    text.truncate(length);
    Ok(text)
}

fn open_pieces(
    key: &LessSafeKey,
    aad: &[u8],
    head: usize,
    mut sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ShardError> {
    let mut text = Zeroizing::new(Vec::with_capacity(sealed.len()));
    for index in 0.. {
        let (piece, rest) = sealed.split_at(sealed.len().min(room(head, index) + AEAD_TAG));
        let start = text.len();
        text.extend_from_slice(piece);
        let opened =
            key.open_in_place(nonce(index, rest.is_empty()), Aad::from(aad), &mut text[start..]);
        let opened = opened.map_err(|_| ShardError::Open)?.len();
        text.truncate(start + opened);
        sealed = rest;
        if sealed.is_empty() {
            break;
        }
    }
    Ok(text)
}

fn info(suite: Suite) -> Vec<u8> {
    [labels::SHARD_INFO, &[suite.code()]].concat()
}

fn aad(suite: Suite, binding: &Binding) -> Vec<u8> {
    let Binding { layer, step, term } = binding;
    [&[VERSION, suite.code()], &layer[..], &step.to_be_bytes(), &term.to_be_bytes()].concat()
}

/// Padmé: of a length with `e + 1` significant bits, all but the topmost `s` become zero, rounded up,
/// where `s` is the number of bits of `e`.
pub fn padded(length: usize) -> usize {
    if length < 2 {
        return length;
    }
    let e = length.ilog2();
    let s = e.checked_ilog2().unwrap_or(0) + 1;
    let mask = (1_usize << e.saturating_sub(s)) - 1;
    (length + mask) & !mask
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::SystemRng;

    const BINDING: Binding = Binding { layer: [7; 16], step: 50, term: 2 };

    fn part(sealer: &Sealer, state: &[u8], index: u32) -> Option<Vec<u8>> {
        let read = |at: usize, out: &mut [u8]| {
            out.copy_from_slice(&state[at..][..out.len()]);
            Ok::<_, ShardError>(())
        };
        sealer.part(index, read).unwrap()
    }

    fn seal(to: &PublicKey, state: &[u8]) -> Vec<u8> {
        let sealer = Sealer::new(to, &BINDING, state.len(), &mut SystemRng).unwrap();
        let sealed: Vec<u8> = (0..).map_while(|i| part(&sealer, state, i)).flatten().collect();
        assert_eq!(sealed.len(), sealer.length());
        sealed
    }

    #[test]
    fn parts_have_one_length_and_come_in_any_order() {
        let keys = KeyPair::derive(Suite::XWing, &[1; 32]);
        let first = PART - AEAD_TAG - FIXED - Suite::XWing.enc_len() - LENGTH;
        for length in [0, 1, first - 1, first, first + 1, first + PART - AEAD_TAG, 3 * PART + 5] {
            let state: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let sealer = Sealer::new(keys.public(), &BINDING, length, &mut SystemRng).unwrap();
            let count = sealer.length().div_ceil(PART) as u32;
            assert!(part(&sealer, &state, count).is_none());
            let mut parts: Vec<_> =
                (0..count).rev().map(|i| part(&sealer, &state, i).unwrap()).collect();
            parts.reverse();
            assert!(parts.iter().rev().skip(1).all(|p| p.len() == PART), "{length}");
            assert_eq!(parts.concat().len(), sealer.length());
            assert_eq!(*open(&keys, &BINDING, &parts.concat()).unwrap(), state);
            assert_eq!(part(&sealer, &state, 0), Some(parts[0].clone()), "again, the same");
        }
    }

    #[test]
    fn parts_moved_left_out_or_of_another_state_are_refused() {
        let keys = KeyPair::derive(Suite::X25519, &[1; 32]);
        let state = vec![9; 4 * PART];
        let sealed = seal(keys.public(), &state);
        let parts: Vec<&[u8]> = sealed.chunks(PART).collect();
        let other = seal(keys.public(), &state);
        let theirs: Vec<&[u8]> = other.chunks(PART).collect();
        let wrong = [
            [parts[0], parts[2], parts[1], parts[3], parts[4]].concat(),
            [parts[0], parts[1], parts[3], parts[4]].concat(),
            parts[..4].concat(),
            [parts[0], theirs[1], parts[2], parts[3], parts[4]].concat(),
            [&parts[..], &parts[4..]].concat().concat(),
        ];
        for (i, wrong) in wrong.iter().enumerate() {
            assert_eq!(open(&keys, &BINDING, wrong), Err(ShardError::Open), "{i}");
        }
    }

    #[test]
    fn it_opens_under_its_key_and_binding_and_no_other() {
        for suite in [Suite::XWing, Suite::X25519] {
            let keys = KeyPair::derive(suite, &[1; 32]);
            let sealed = seal(keys.public(), b"weights");
            let again = KeyPair::derive(suite, &[1; 32]);
            assert_eq!(open(&again, &BINDING, &sealed).unwrap().as_slice(), b"weights");
            for other in [
                Binding { layer: [8; 16], ..BINDING },
                Binding { step: 51, ..BINDING },
                Binding { term: 1, ..BINDING },
            ] {
                assert_eq!(open(&keys, &other, &sealed), Err(ShardError::Open));
            }
            let stranger = KeyPair::derive(suite, &[2; 32]);
            assert_eq!(open(&stranger, &BINDING, &sealed), Err(ShardError::Open));
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let keys = KeyPair::derive(Suite::X25519, &[1; 32]);
        let sealed = seal(keys.public(), b"weights");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&keys, &BINDING, &changed).is_err(), "byte {at}");
            assert!(open(&keys, &BINDING, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn padding_costs_at_most_12_percent_and_hides_the_low_bits() {
        for length in 0..70_000_usize {
            let padded = padded(length);
            assert!(padded >= length);
            assert!(length < 2 || padded * 100 <= length * 112, "{length} -> {padded}");
        }
        // From the paper: 9 is 1001, e = 3, s = 2, so that one low bit is rounded away.
        assert_eq!([8, 9, 10, 17, 1_000_001].map(padded), [8, 10, 10, 18, 1_015_808]);
    }
}
