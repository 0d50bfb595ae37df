//! Where randomness comes from: the caller, or the operating system through aws-lc.

use hpke::rand_core::{Rng as _, TryCryptoRng, TryRng};
use std::cell::RefCell;
use std::convert::Infallible;

/// Cryptographic randomness of aws-lc (a CTR-DRBG seeded by the operating system).
///
/// Filling 32 bytes costs no system call, which matters to a relay that refills every cell.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRng;

impl TryRng for SystemRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut b = [0; 4];
        self.try_fill_bytes(&mut b)?;
        Ok(u32::from_ne_bytes(b))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut b = [0; 8];
        self.try_fill_bytes(&mut b)?;
        Ok(u64::from_ne_bytes(b))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        // aws-lc aborts rather than return weak randomness; an error here has no recovery.
        aws_lc_rs::rand::fill(dst).expect("the operating system's random source works");
        Ok(())
    }
}

impl TryCryptoRng for SystemRng {}

/// Writes random bytes that nobody reads: what a cell has left over.
///
/// aws-lc takes a microsecond for each request, however short, and each hop of each cell needs some bytes. So
/// they come from a stock that is made a few thousand at a time; none is given twice.
pub(crate) fn fill(dst: &mut [u8]) {
    thread_local! {
        static STOCK: RefCell<Stock> = const { RefCell::new(Stock { bytes: [0; STOCKED], given: STOCKED }) };
    }
    STOCK.with_borrow_mut(|stock| stock.give(dst));
}

const STOCKED: usize = 4096;

struct Stock {
    bytes: [u8; STOCKED],
    given: usize,
}

impl Stock {
    fn give(&mut self, dst: &mut [u8]) {
        if dst.len() > STOCKED {
            return SystemRng.fill_bytes(dst);
        }
        if self.given + dst.len() > STOCKED {
            SystemRng.fill_bytes(&mut self.bytes);
            self.given = 0;
        }
        dst.copy_from_slice(&self.bytes[self.given..][..dst.len()]);
        self.given += dst.len();
    }
}

/// A uniform number below `bound` (> 0), by rejection: no modulo bias.
pub fn below(rng: &mut impl hpke::rand_core::CryptoRng, bound: usize) -> usize {
    let bound = bound as u64;
    let zone = u64::MAX - u64::MAX % bound;
    loop {
        let x = rng.next_u64();
        if x < zone {
            return (x % bound) as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn fill_gives_no_bytes_twice_at_any_length() {
        let mut seen = HashSet::new();
        for length in [16, 96, 1000, STOCKED, STOCKED + 1].into_iter().cycle().take(500) {
            let mut bytes = vec![0; length];
            fill(&mut bytes);
            for block in bytes.as_chunks::<16>().0 {
                assert!(seen.insert(*block));
            }
        }
    }
}
