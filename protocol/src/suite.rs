//! The HPKE suites (RFC 9180, base mode): X-Wing by default, X25519 by choice.
//!
//! Both use HKDF-SHA256 and AES-256-GCM. X-Wing (draft-connolly-cfrg-xwing-kem) is hybrid: it holds
//! while either ML-KEM-768 or X25519 holds, so letters recorded today stay closed to a later quantum
//! computer.

mod encapsulation;

pub(crate) use encapsulation::{Encapsulation, open, share_once, shared_once};

use crate::labels;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, Kem, Serializable};
use serde::{Deserialize, Serialize};

/// Which KEM a key belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Suite {
    /// X-Wing / HKDF-SHA256 / AES-256-GCM.
    #[default]
    XWing,
    /// DHKEM(X25519, HKDF-SHA256) / HKDF-SHA256 / AES-256-GCM.
    X25519,
}

impl Suite {
    /// The byte that names the suite on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::XWing => 1,
            Self::X25519 => 2,
        }
    }

    /// Length of an encapsulated key, in bytes.
    pub const fn enc_len(self) -> usize {
        match self {
            Self::XWing => 1120,
            Self::X25519 => 32,
        }
    }

    /// Length of a public key, in bytes.
    pub const fn public_key_len(self) -> usize {
        match self {
            Self::XWing => 1216,
            Self::X25519 => 32,
        }
    }

    fn info(self) -> Vec<u8> {
        [labels::LETTER_INFO, &[self.code()]].concat()
    }
}

/// Why a key or an HPKE message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuiteError {
    /// The bytes are no public key of this suite.
    #[error("not a valid {0:?} public key")]
    PublicKey(Suite),
    /// Encapsulation or decapsulation failed.
    #[error("key encapsulation failed")]
    Encapsulation,
    /// The sealed bytes were not made for this key, or were changed.
    #[error("sealed bytes do not open")]
    Open,
}

/// A node's public key, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(PublicKeyOf);

#[derive(Clone, PartialEq, Eq)]
enum PublicKeyOf {
    XWing(Box<<XWing as Kem>::PublicKey>),
    X25519(<X25519HkdfSha256 as Kem>::PublicKey),
}

impl PublicKey {
    /// Parses a public key.
    ///
    /// # Errors
    /// The bytes are not a key of `suite`.
    pub fn from_bytes(suite: Suite, bytes: &[u8]) -> Result<Self, SuiteError> {
        let refuse = |_| SuiteError::PublicKey(suite);
        Ok(Self(match suite {
            Suite::XWing => {
                let key = <XWing as Kem>::PublicKey::from_bytes(bytes).map_err(refuse)?;
                PublicKeyOf::XWing(Box::new(key))
            }
            Suite::X25519 => {
                let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(bytes);
                PublicKeyOf::X25519(key.map_err(refuse)?)
            }
        }))
    }

    /// The suite of this key.
    pub const fn suite(&self) -> Suite {
        match self.0 {
            PublicKeyOf::XWing(_) => Suite::XWing,
            PublicKeyOf::X25519(_) => Suite::X25519,
        }
    }

    /// The key's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        match &self.0 {
            PublicKeyOf::XWing(k) => k.to_bytes().to_vec(),
            PublicKeyOf::X25519(k) => k.to_bytes().to_vec(),
        }
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({:?})", self.suite())
    }
}

/// A node's key pair. Born with the process and gone with it; there is no way to write it down. Or one
/// that follows from a secret.
pub struct KeyPair {
    private: PrivateKeyOf,
    public: PublicKey,
}

enum PrivateKeyOf {
    XWing(Box<<XWing as Kem>::PrivateKey>),
    X25519(<X25519HkdfSha256 as Kem>::PrivateKey),
}

impl KeyPair {
    /// A fresh key pair.
    pub fn generate(suite: Suite, rng: &mut impl CryptoRng) -> Self {
        match suite {
            Suite::XWing => {
                let (private, public) = XWing::gen_keypair_with_rng(rng);
                Self {
                    private: PrivateKeyOf::XWing(Box::new(private)),
                    public: PublicKey(PublicKeyOf::XWing(Box::new(public))),
                }
            }
            Suite::X25519 => {
                let (private, public) = X25519HkdfSha256::gen_keypair_with_rng(rng);
                Self {
                    private: PrivateKeyOf::X25519(private),
                    public: PublicKey(PublicKeyOf::X25519(public)),
                }
            }
        }
    }

    /// The key pair of this uniform secret (RFC 9180, section 7.1.3: DeriveKeyPair): for keys whose
    /// secret half must be found again, which those of nodes never must.
    pub fn derive(suite: Suite, ikm: &[u8; 32]) -> Self {
        match suite {
            Suite::XWing => {
                let (private, public) = XWing::derive_keypair(ikm);
                Self {
                    private: PrivateKeyOf::XWing(Box::new(private)),
                    public: PublicKey(PublicKeyOf::XWing(Box::new(public))),
                }
            }
            Suite::X25519 => {
                let (private, public) = X25519HkdfSha256::derive_keypair(ikm);
                Self {
                    private: PrivateKeyOf::X25519(private),
                    public: PublicKey(PublicKeyOf::X25519(public)),
                }
            }
        }
    }

    /// The public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPair({:?}, ..)", self.public.suite())
    }
}
