//! Admission tokens: each letter spends one at every relay that opens it, or anyone could fill a
//! relay's lane budget.
//!
//! A token is an RSA blind signature (RFC 9474, RSABSSA-SHA384-PSS-Deterministic; the message holds
//! 32 random bytes) over a nonce and the relay's id. The issuer signs without seeing either, so it
//! cannot tell later which owner's letter spent the token; the relay checks it with the issuer's
//! public key, and refuses a nonce that it has seen.

use crate::codec::{Malformed, Reader};
use crate::{NodeId, labels};
use blind_rsa_signatures::reexports::rsa::traits::PublicKeyParts;
use blind_rsa_signatures::{
    BlindSignature, BlindingResult, DefaultRng, Hash, KeyPair, Options, PSSMode, PrepareMode,
    PublicKey, SecretKey, Signature,
};
use std::collections::HashSet;
use zeroize::Zeroizing;

/// RSABSSA-SHA384-PSS-Deterministic.
fn variant() -> Options {
    Options::new(Hash::Sha384, PSSMode::PSS, PrepareMode::Deterministic)
}

const NONCE: usize = 32;
const MODULUS: usize = 256;

/// One admission to one relay.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    nonce: [u8; NONCE],
    signature: [u8; MODULUS],
}

impl Token {
    /// Encoded length: nonce(32) signature(256).
    pub const LEN: usize = NONCE + MODULUS;

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.nonce);
        out.extend(self.signature);
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { nonce: r.array()?, signature: r.array()? })
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Why a token was not issued or not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// The key is no RSA key of 2048 bits.
    #[error("not a valid admission key")]
    Key,
    /// The blinded message or signature is malformed.
    #[error("not a valid blinded message or blind signature")]
    Blinded,
    /// The signature does not verify for this relay.
    #[error("admission token is not valid for this relay")]
    Invalid,
    /// The token was spent before.
    #[error("admission token was spent before")]
    Spent,
    /// So many tokens have been spent that none can be remembered; restart the relay's epoch.
    #[error("the memory of spent tokens is full")]
    Full,
}

/// Signs blinded messages: the platform's side.
pub struct Issuer(KeyPair);

impl Issuer {
    /// A fresh 2048-bit key. Takes a few hundred milliseconds.
    ///
    /// # Errors
    /// The library could not make a key.
    pub fn generate() -> Result<Self, AdmissionError> {
        KeyPair::generate(&mut DefaultRng, MODULUS * 8).map(Self).map_err(|_| AdmissionError::Key)
    }

    /// The issuer with a key that [`Issuer::private_der`] gave.
    ///
    /// # Errors
    /// It is no RSA key.
    pub fn from_private_der(der: &[u8]) -> Result<Self, AdmissionError> {
        let sk = SecretKey::from_der(der).map_err(|_| AdmissionError::Key)?;
        let pk = sk.public_key().map_err(|_| AdmissionError::Key)?;
        Ok(Self(KeyPair { pk, sk }))
    }

    /// The private key as DER (PKCS #8), for replicas that sign with the same one.
    ///
    /// # Errors
    /// The key cannot be encoded.
    pub fn private_der(&self) -> Result<Zeroizing<Vec<u8>>, AdmissionError> {
        self.0.sk.to_der().map(Zeroizing::new).map_err(|_| AdmissionError::Key)
    }

    /// The public key, as DER (SubjectPublicKeyInfo).
    ///
    /// # Errors
    /// The key cannot be encoded.
    pub fn public_der(&self) -> Result<Vec<u8>, AdmissionError> {
        self.0.pk.to_der().map_err(|_| AdmissionError::Key)
    }

    /// Signs one blinded message of 256 bytes.
    ///
    /// # Errors
    /// It is not a number below the modulus.
    pub fn sign(&self, blinded: &[u8]) -> Result<Vec<u8>, AdmissionError> {
        let signature = self.0.sk.blind_sign(blinded).map_err(|_| AdmissionError::Blinded)?;
        Ok(signature.0)
    }
}

/// A token that is being asked for: the designer's side.
pub struct TokenRequest {
    relay: NodeId,
    nonce: [u8; NONCE],
    blinding: BlindingResult,
}

impl TokenRequest {
    /// Blinds a fresh token for `relay`.
    ///
    /// # Errors
    /// The issuer's key is not valid.
    pub fn new(
        issuer: &AdmissionKey,
        relay: NodeId,
        rng: &mut impl hpke::rand_core::CryptoRng,
    ) -> Result<Self, AdmissionError> {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let blinding = issuer
            .0
            .blind(&mut DefaultRng, message(&nonce, relay), &variant())
            .map_err(|_| AdmissionError::Key)?;
        Ok(Self { relay, nonce, blinding })
    }

    /// What the issuer is to sign.
    pub fn blinded(&self) -> &[u8] {
        &self.blinding.blind_message.0
    }

    /// Unblinds the issuer's answer, and checks it.
    ///
    /// # Errors
    /// The answer is no signature of the blinded message.
    pub fn finish(self, issuer: &AdmissionKey, answer: &[u8]) -> Result<Token, AdmissionError> {
        let signature = issuer
            .0
            .finalize(
                &BlindSignature(answer.to_vec()),
                &self.blinding,
                message(&self.nonce, self.relay),
                &variant(),
            )
            .map_err(|_| AdmissionError::Blinded)?;
        let signature = signature.0.try_into().map_err(|_| AdmissionError::Blinded)?;
        Ok(Token { nonce: self.nonce, signature })
    }
}

/// The issuer's public key.
#[derive(Clone)]
pub struct AdmissionKey(PublicKey);

impl AdmissionKey {
    /// Parses DER (SubjectPublicKeyInfo) of a 2048-bit RSA key.
    ///
    /// # Errors
    /// It is none.
    pub fn from_der(der: &[u8]) -> Result<Self, AdmissionError> {
        let key = PublicKey::from_der(der).map_err(|_| AdmissionError::Key)?;
        match key.0.size() {
            MODULUS => Ok(Self(key)),
            _ => Err(AdmissionError::Key),
        }
    }
}

/// A relay's memory of spent tokens.
pub struct Turnstile {
    relay: NodeId,
    issuer: AdmissionKey,
    spent: HashSet<[u8; NONCE]>,
}

impl Turnstile {
    /// Tokens remembered before the relay refuses more: 48 MB at the most.
    pub const CAPACITY: usize = 1 << 20;

    /// The turnstile of one relay.
    pub fn new(relay: NodeId, issuer: AdmissionKey) -> Self {
        Self { relay, issuer, spent: HashSet::new() }
    }

    /// Spends a token.
    ///
    /// # Errors
    /// It is not valid here, or was spent before.
    pub fn spend(&mut self, token: &Token) -> Result<(), AdmissionError> {
        if self.spent.contains(&token.nonce) {
            return Err(AdmissionError::Spent);
        }
        if self.spent.len() >= Self::CAPACITY {
            return Err(AdmissionError::Full);
        }
        self.issuer
            .0
            .verify(
                &Signature(token.signature.to_vec()),
                None,
                message(&token.nonce, self.relay),
                &variant(),
            )
            .map_err(|_| AdmissionError::Invalid)?;
        self.spent.insert(token.nonce);
        Ok(())
    }
}

fn message(nonce: &[u8; NONCE], relay: NodeId) -> Vec<u8> {
    [labels::ADMISSION, nonce, relay.as_bytes()].concat()
}
