//! Where randomness comes from: the caller, or the operating system through aws-lc.

use hpke::rand_core::{TryCryptoRng, TryRng};
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
