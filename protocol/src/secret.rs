//! 32-byte secrets: zeroized on drop, compared in constant time, never printed.

use crate::labels;
use crate::sizes::SECRET;
use aws_lc_rs::hkdf;
use hpke::rand_core::CryptoRng;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A 256-bit secret.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; SECRET]);

impl Secret {
    /// A secret drawn from `rng`.
    pub fn random(rng: &mut impl CryptoRng) -> Self {
        let mut bytes = [0; SECRET];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// Wraps bytes that are already secret and uniform.
    pub const fn from_bytes(bytes: [u8; SECRET]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a cipher or an encoder. Do not copy them elsewhere.
    pub const fn expose(&self) -> &[u8; SECRET] {
        &self.0
    }

    /// HKDF-Expand (RFC 5869) with SHA-256 under this secret as the pseudo-random key.
    #[must_use]
    pub fn derive(&self, label: &[u8]) -> Self {
        let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &self.0);
        let mut out = [0; SECRET];
        prk.expand(&[label], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut out))
            .expect("32 bytes are within HKDF-SHA256's limit of 255 blocks");
        Self(out)
    }

    /// The key of the link tag of the link into a hop that holds this hop secret.
    #[must_use]
    pub fn hop_tag(&self) -> Self {
        self.derive(labels::HOP_TAG)
    }
    /// The key with which the sending end wraps for a sender-half hop.
    #[must_use]
    pub fn hop_open(&self) -> Self {
        self.derive(labels::HOP_OPEN)
    }
    /// The key with which a receiver-half hop seals for the receiving end.
    #[must_use]
    pub fn hop_seal(&self) -> Self {
        self.derive(labels::HOP_SEAL)
    }
    /// The name under which the owner of a covered lane moves its stop at the crossing relay.
    #[must_use]
    pub fn hop_lease(&self) -> Self {
        self.derive(labels::HOP_LEASE)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}
impl Eq for Secret {}
