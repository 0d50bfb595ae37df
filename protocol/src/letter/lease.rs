//! How long a covered lane lives at its crossing relay.

use crate::codec::{Malformed, Reader};
use crate::letter::{Draft, LetterError, SealedLetter};
use crate::sizes::SECRET;
use crate::{RelayRef, Secret, Token};
use hpke::rand_core::CryptoRng;
use zeroize::Zeroizing;

const LEASE: u8 = 3;

/// Moves the stop of a covered lane: later while its owner lives, to the next edge when it is done.
///
/// The relay cannot see whether a lane is of use: a dummy looks like data, and were it to end a lane
/// for want of cells, who cuts its input would see its output end. So its owner says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The lane's name at the relay, derived from its hop secret: see [`Secret::hop_lease`].
    pub name: Secret,
    /// When no more slot may be, in seconds of Unix time.
    pub stop: u32,
}

/// `kind(1)=3 reserved(3) stop(4) name(32)`
impl Lease {
    /// Encodes the lease.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(8 + SECRET));
        out.extend([LEASE, 0, 0, 0]);
        out.extend(self.stop.to_be_bytes());
        out.extend(self.name.expose());
        out
    }

    /// Whether a letter's content is a lease.
    pub fn is_lease(content: &[u8]) -> bool {
        content.first() == Some(&LEASE)
    }

    /// Decodes a lease.
    ///
    /// # Errors
    /// Not the layout above.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut r = Reader::new(bytes);
        if r.u32()? != u32::from_be_bytes([LEASE, 0, 0, 0]) {
            return Err(Malformed { what: "content kind", at: 0 });
        }
        let stop = r.u32()?;
        let name = r.secret()?;
        r.end()?;
        Ok(Self { name, stop })
    }

    /// Seals it for the lane's crossing relay.
    ///
    /// # Errors
    /// HPKE refuses the relay's key.
    pub fn seal(
        &self,
        relay: &RelayRef,
        token: &Token,
        rng: &mut impl CryptoRng,
    ) -> Result<SealedLetter, LetterError> {
        Draft::to(&relay.key, rng)?.deliver(Some(token), &self.to_bytes())
    }
}
