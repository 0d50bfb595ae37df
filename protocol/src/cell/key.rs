//! AEAD keys of cells: one generation per 2^24 cells.

use super::{Cell, CellDrop};
use crate::sizes::AEAD_TAG;
use crate::{Secret, VERSION, labels};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Key epoch of a lane, bound into every cell as associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u32);

/// Cells sealed under one AEAD key before the next generation's key takes over.
const GENERATION_BITS: u32 = 24;

/// A key that ratchets forward: generation `g` seals the numbers `g << 24 ..`.
///
/// The old generation stays until the next change, for cells that arrive out of order.
pub(super) struct CellKey {
    aad: [u8; 5],
    next_secret: Secret,
    generation: u64,
    current: LessSafeKey,
    previous: Option<LessSafeKey>,
}

impl CellKey {
    pub(super) fn new(secret: &Secret, epoch: Epoch) -> Self {
        let mut aad = [VERSION; 5];
        aad[1..].copy_from_slice(&epoch.0.to_be_bytes());
        Self {
            aad,
            next_secret: secret.derive(labels::GENERATION_NEXT),
            generation: 0,
            current: aead_key(&secret.derive(labels::GENERATION_KEY)),
            previous: None,
        }
    }

    /// Seals `cell[start + 16..end]` in place and puts the AEAD tag into `cell[start..start + 16]`.
    ///
    /// The caller never gives a number twice: a sender counts up, and a relay reuses the number of a
    /// tag that it spends.
    pub(super) fn seal(
        &mut self,
        number: u64,
        cell: &mut Cell,
        start: usize,
        end: usize,
    ) -> Result<(), CellDrop> {
        let generation = number >> GENERATION_BITS;
        if generation == self.generation + 1 {
            self.advance();
        }
        let key = if generation == self.generation {
            &self.current
        } else if generation + 1 == self.generation {
            self.previous.as_ref().ok_or(CellDrop::Exhausted)?
        } else {
            return Err(CellDrop::Exhausted);
        };
        let (tag, text) = cell[start..end].split_at_mut(AEAD_TAG);
        let sealed = key
            .seal_in_place_separate_tag(nonce(number), Aad::from(self.aad), text)
            .map_err(|_| CellDrop::Exhausted)?;
        tag.copy_from_slice(sealed.as_ref());
        Ok(())
    }

    /// Opens `sealed` (tag, ciphertext) into `text`, which is 16 bytes shorter.
    pub(super) fn open(
        &mut self,
        number: u64,
        sealed: &[u8],
        text: &mut [u8],
    ) -> Result<(), CellDrop> {
        let generation = number >> GENERATION_BITS;
        let (tag, ciphertext) = sealed.split_at(AEAD_TAG);
        let aad = Aad::from(self.aad);
        let open = |key: &LessSafeKey, text: &mut [u8]| {
            key.open_separate_gather(nonce(number), aad, ciphertext, tag, text)
                .map_err(|_| CellDrop::BadTag)
        };
        if generation == self.generation {
            open(&self.current, text)
        } else if generation + 1 == self.generation {
            self.previous.as_ref().map_or(Err(CellDrop::BadTag), |key| open(key, text))
        } else if generation == self.generation + 1 {
            // Only a cell that opens may turn the ratchet: a forged number must not.
            open(&aead_key(&self.next_secret.derive(labels::GENERATION_KEY)), text)?;
            self.advance();
            Ok(())
        } else {
            Err(CellDrop::BadTag)
        }
    }

    fn advance(&mut self) {
        let key = aead_key(&self.next_secret.derive(labels::GENERATION_KEY));
        self.next_secret = self.next_secret.derive(labels::GENERATION_NEXT);
        self.previous = Some(std::mem::replace(&mut self.current, key));
        self.generation += 1;
    }
}

/// An AES-256-GCM key for one purpose.
pub(crate) fn aead_key(secret: &Secret) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, secret.expose()).expect("the key has 32 bytes");
    LessSafeKey::new(key)
}

/// A number as a nonce: 12 bytes, big-endian.
pub(crate) fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sizes::CELL;

    const LAST: u64 = (1 << GENERATION_BITS) - 1;
    const END: usize = AEAD_TAG + 4;

    fn key() -> CellKey {
        CellKey::new(&Secret::from_bytes([7; 32]), Epoch(1))
    }

    fn sealed(key: &mut CellKey, number: u64) -> Result<Vec<u8>, CellDrop> {
        let mut cell = Box::new([0; CELL]);
        cell[AEAD_TAG..END].copy_from_slice(b"text");
        key.seal(number, &mut cell, 0, END)?;
        Ok(cell[..END].to_vec())
    }

    fn opens(key: &mut CellKey, number: u64, sealed: &[u8]) -> Result<(), CellDrop> {
        let mut text = [0; 4];
        key.open(number, sealed, &mut text)?;
        assert_eq!(&text, b"text");
        Ok(())
    }

    #[test]
    fn both_sides_cross_a_generation_together() {
        let (mut sender, mut receiver) = (key(), key());
        for number in [0, LAST, LAST + 1, 2 * LAST + 1, 2 * (LAST + 1)] {
            let cell = sealed(&mut sender, number).unwrap();
            opens(&mut receiver, number, &cell).unwrap();
        }
        assert_eq!((sender.generation, receiver.generation), (2, 2));
    }

    #[test]
    fn numbers_of_the_generation_before_still_open_but_not_older_ones() {
        let (mut sender, mut receiver) = (key(), key());
        let old = sealed(&mut sender, 5).unwrap();
        let late = sealed(&mut sender, LAST).unwrap();
        let next = sealed(&mut sender, LAST + 1).unwrap();
        opens(&mut receiver, LAST + 1, &next).unwrap();
        opens(&mut receiver, LAST, &late).unwrap();
        opens(&mut receiver, 5, &old).unwrap();
        let after = sealed(&mut sender, 2 * (LAST + 1)).unwrap();
        opens(&mut receiver, 2 * (LAST + 1), &after).unwrap();
        assert_eq!(opens(&mut receiver, 5, &old), Err(CellDrop::BadTag));
    }

    #[test]
    fn a_forged_number_does_not_turn_the_ratchet() {
        let (mut sender, mut receiver) = (key(), key());
        let cell = sealed(&mut sender, 0).unwrap();
        for number in [LAST + 1, LAST + 2, 2 * (LAST + 1), u64::MAX] {
            assert_eq!(opens(&mut receiver, number, &cell), Err(CellDrop::BadTag));
        }
        assert_eq!(receiver.generation, 0);
        opens(&mut receiver, 0, &cell).unwrap();
    }

    #[test]
    fn a_sealer_skips_no_generation() {
        let mut sender = key();
        assert_eq!(sealed(&mut sender, 2 * (LAST + 1)), Err(CellDrop::Exhausted));
        assert_eq!(sealed(&mut sender, u64::MAX), Err(CellDrop::Exhausted));
        assert!(sealed(&mut sender, LAST + 1).is_ok());
    }

    #[test]
    fn generations_share_no_key() {
        let (mut sender, mut receiver) = (key(), key());
        let first = sealed(&mut sender, 0).unwrap();
        let second = sealed(&mut sender, LAST + 1).unwrap();
        opens(&mut receiver, LAST + 1, &second).unwrap();
        // The same bytes under the other generation's number.
        assert_eq!(opens(&mut receiver, LAST + 1, &first), Err(CellDrop::BadTag));
        assert_eq!(opens(&mut receiver, 0, &second), Err(CellDrop::BadTag));
    }
}
