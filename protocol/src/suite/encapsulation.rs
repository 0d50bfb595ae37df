//! One encapsulation: a head sealed by HPKE, and the secrets exported beside it.

use super::{KeyPair, PrivateKeyOf, PublicKey, PublicKeyOf, SuiteError};
use crate::{Secret, labels};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};

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
    let (body, hop) =
        (exported(&export, labels::LETTER_BODY)?, exported(&export, labels::HOP_SECRET)?);
    Ok(Shared { body, hop })
}

fn exported(
    export: impl Fn(&[u8], &mut [u8]) -> Result<(), hpke::HpkeError>,
    label: &[u8],
) -> Result<Secret, SuiteError> {
    let mut out = [0; crate::sizes::SECRET];
    export(label, &mut out).map_err(|_| SuiteError::Encapsulation)?;
    Ok(Secret::from_bytes(out))
}

/// Encapsulates a secret for one purpose to a key (RFC 9180, section 5.3). Gives `enc` and the secret.
pub(crate) fn share_once(
    to: &PublicKey,
    info: &[u8],
    label: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<(Vec<u8>, Secret), SuiteError> {
    match &to.0 {
        PublicKeyOf::XWing(key) => {
            let (enc, context) = encapsulate::<XWing>(key, info, rng)?;
            Ok((enc, exported(|l, o| context.export(l, o), label)?))
        }
        PublicKeyOf::X25519(key) => {
            let (enc, context) = encapsulate::<X25519HkdfSha256>(key, info, rng)?;
            Ok((enc, exported(|l, o| context.export(l, o), label)?))
        }
    }
}

/// The secret that [`share_once`] encapsulated.
pub(crate) fn shared_once(
    keys: &KeyPair,
    info: &[u8],
    enc: &[u8],
    label: &[u8],
) -> Result<Secret, SuiteError> {
    match &keys.private {
        PrivateKeyOf::XWing(key) => shared_with::<XWing>(key, info, enc, label),
        PrivateKeyOf::X25519(key) => shared_with::<X25519HkdfSha256>(key, info, enc, label),
    }
}

fn shared_with<K: Kem>(
    key: &K::PrivateKey,
    info: &[u8],
    enc: &[u8],
    label: &[u8],
) -> Result<Secret, SuiteError> {
    let enc = K::EncappedKey::from_bytes(enc).map_err(|_| SuiteError::Encapsulation)?;
    let context = hpke::setup_receiver::<AesGcm256, HkdfSha256, K>(&OpModeR::Base, key, &enc, info)
        .map_err(|_| SuiteError::Encapsulation)?;
    exported(|l, o| context.export(l, o), label)
}
