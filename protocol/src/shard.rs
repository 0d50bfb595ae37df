//! A layer's state at rest: sealed by the layer, opened by its owner alone.
//!
//! ```text
//! version(1) suite(1) enc(suite's length) AES-256-GCM[ length(8) state zeros ] tag(16)
//! ```
//!
//! HPKE single-shot (RFC 9180, section 6.1) to a key that is made for this one state of this one
//! layer. The associated data binds version, suite, layer, step and term. Zeros fill the text up to
//! the next length of Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and
//! Communication with PURBs", PoPETs 2019): at most 12 % more, and only O(log log) bits of the
//! length can be seen.

use crate::suite::{open_once, seal_once};
use crate::{KeyPair, PublicKey, Suite, SuiteError, labels};
use hpke::rand_core::CryptoRng;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
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

/// Seals a state.
///
/// # Errors
/// The key is of no use.
pub fn seal(
    to: &PublicKey,
    binding: &Binding,
    state: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, ShardError> {
    let mut text = Zeroizing::new(vec![0; padded(LENGTH + state.len())]);
    text[..LENGTH].copy_from_slice(&(state.len() as u64).to_be_bytes());
    text[LENGTH..][..state.len()].copy_from_slice(state);
    let suite = to.suite();
    let (enc, sealed) =
        seal_once(to, &info(suite), &text, &aad(suite, binding), rng).map_err(ShardError::Key)?;
    Ok([&[VERSION, suite.code()], enc.as_slice(), &sealed].concat())
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
    let (head, rest) = sealed.split_at_checked(2).ok_or(ShardError::Malformed)?;
    if head != [VERSION, suite.code()] {
        return Err(ShardError::Malformed);
    }
    let (enc, sealed) = rest.split_at_checked(suite.enc_len()).ok_or(ShardError::Malformed)?;
    let mut text = open_once(keys, &info(suite), enc, sealed, &aad(suite, binding))
        .map_err(|_| ShardError::Open)?;
    let length = text.first_chunk().map(|head| u64::from_be_bytes(*head) as usize);
    let length = length.filter(|n| *n <= text.len() - LENGTH).ok_or(ShardError::Malformed)?;
    text.drain(..LENGTH);
    text.truncate(length);
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

    #[test]
    fn it_opens_under_its_key_and_binding_and_no_other() {
        for suite in [Suite::XWing, Suite::X25519] {
            let keys = KeyPair::derive(suite, &[1; 32]);
            let sealed = seal(keys.public(), &BINDING, b"weights", &mut SystemRng).unwrap();
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
        let sealed = seal(keys.public(), &BINDING, b"weights", &mut SystemRng).unwrap();
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
