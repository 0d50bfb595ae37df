//! Claims: a pod obeys letters signed under one key, which the designer drew fresh for it.

use crate::{Secret, wire_base64};
use aws_lc_rs::signature::KeyPair as _;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use hpke::rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

/// A verification key (Ed25519, RFC 8032) that a pod got at registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Claim(#[serde(with = "wire_base64::array")] [u8; 32]);

impl Claim {
    /// Whether `signature` is one of `message` under this claim.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

/// The designer's half of a claim.
pub struct ClaimKey {
    seed: Secret,
    pair: Ed25519KeyPair,
    claim: Claim,
}

impl ClaimKey {
    /// A fresh key for one pod.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::from_seed(Secret::random(rng))
    }

    /// The key of this seed: for the designer that takes over.
    ///
    /// # Panics
    /// Never: a seed has 32 bytes.
    pub fn from_seed(seed: Secret) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).expect("a seed has 32 bytes");
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Self { seed, pair, claim: Claim(public) }
    }

    /// The seed, to be kept sealed.
    pub const fn seed(&self) -> &Secret {
        &self.seed
    }

    /// The half that the pod gets.
    pub const fn claim(&self) -> Claim {
        self.claim
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut out = [0; 64];
        out.copy_from_slice(self.pair.sign(message).as_ref());
        out
    }
}

impl std::fmt::Debug for ClaimKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClaimKey({:?}, ..)", self.claim)
    }
}
