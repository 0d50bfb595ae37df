//! The HPKE suites (RFC 9180, base mode): X-Wing by default, X25519 by choice.
//!
//! Both use HKDF-SHA256 and AES-256-GCM. X-Wing (draft-connolly-cfrg-xwing-kem) is hybrid: it holds
//! while either ML-KEM-768 or X25519 holds, so letters recorded today stay closed to a later quantum
//! computer.

use crate::{Secret, labels};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
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

/// A node's key pair. Born with the process and gone with it; there is no way to write it down.
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

/// What both ends of one encapsulation share.
pub(crate) struct Shared {
    /// `HKDF export` for the letter's body.
    pub(crate) body: Secret,
    /// `HPKE export` for a hop of a lane.
    pub(crate) hop: Secret,
}

/// The sender's side of one encapsulation: seals one head.
pub(crate) struct Encapsulation {
    pub(crate) enc: Vec<u8>,
    pub(crate) shared: Shared,
    context: SenderContext,
}

type Sender<K> = hpke::aead::AeadCtxS<AesGcm256, HkdfSha256, K>;

enum SenderContext {
    XWing(Sender<XWing>),
    X25519(Sender<X25519HkdfSha256>),
}

impl Encapsulation {
    pub(crate) fn to(to: &PublicKey, rng: &mut impl CryptoRng) -> Result<Self, SuiteError> {
        let info = to.suite().info();
        match &to.0 {
            PublicKeyOf::XWing(key) => {
                let (enc, context) = encapsulate::<XWing>(key, &info, rng)?;
                let shared = exports(|l, o| context.export(l, o))?;
                Ok(Self { enc, shared, context: SenderContext::XWing(context) })
            }
            PublicKeyOf::X25519(key) => {
                let (enc, context) = encapsulate::<X25519HkdfSha256>(key, &info, rng)?;
                let shared = exports(|l, o| context.export(l, o))?;
                Ok(Self { enc, shared, context: SenderContext::X25519(context) })
            }
        }
    }

    pub(crate) fn seal(mut self, head: &[u8], aad: &[u8]) -> Result<Vec<u8>, SuiteError> {
        match &mut self.context {
            SenderContext::XWing(c) => c.seal(head, aad),
            SenderContext::X25519(c) => c.seal(head, aad),
        }
        .map_err(|_| SuiteError::Encapsulation)
    }
}

/// Opens one head and returns it with the shared secrets.
pub(crate) fn open(
    keys: &KeyPair,
    enc: &[u8],
    sealed_head: &[u8],
    aad: &[u8],
) -> Result<(zeroize::Zeroizing<Vec<u8>>, Shared), SuiteError> {
    let info = keys.public.suite().info();
    match &keys.private {
        PrivateKeyOf::XWing(sk) => decapsulate::<XWing>(sk, enc, &info, sealed_head, aad),
        PrivateKeyOf::X25519(sk) => {
            decapsulate::<X25519HkdfSha256>(sk, enc, &info, sealed_head, aad)
        }
    }
}

fn encapsulate<K: Kem>(
    to: &K::PublicKey,
    info: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<(Vec<u8>, Sender<K>), SuiteError> {
    let (enc, context) =
        hpke::setup_sender_with_rng::<AesGcm256, HkdfSha256, K>(&OpModeS::Base, to, info, rng)
            .map_err(|_| SuiteError::Encapsulation)?;
    Ok((enc.to_bytes().to_vec(), context))
}

fn decapsulate<K: Kem>(
    sk: &K::PrivateKey,
    enc: &[u8],
    info: &[u8],
    sealed_head: &[u8],
    aad: &[u8],
) -> Result<(zeroize::Zeroizing<Vec<u8>>, Shared), SuiteError> {
    let enc = K::EncappedKey::from_bytes(enc).map_err(|_| SuiteError::Encapsulation)?;
    let mut context =
        hpke::setup_receiver::<AesGcm256, HkdfSha256, K>(&OpModeR::Base, sk, &enc, info)
            .map_err(|_| SuiteError::Encapsulation)?;
    let head = context.open(sealed_head, aad).map_err(|_| SuiteError::Open)?;
    let shared = exports(|l, o| context.export(l, o))?;
    Ok((zeroize::Zeroizing::new(head), shared))
}

fn exports(
    export: impl Fn(&[u8], &mut [u8]) -> Result<(), hpke::HpkeError>,
) -> Result<Shared, SuiteError> {
    let secret = |label| {
        let mut out = [0; crate::sizes::SECRET];
        export(label, &mut out).map_err(|_| SuiteError::Encapsulation)?;
        Ok(Secret::from_bytes(out))
    };
    Ok(Shared { body: secret(labels::LETTER_BODY)?, hop: secret(labels::HOP_SECRET)? })
}
