//! The operator's own key: names of pods, and the seal that ties a pod to its record.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Length of a seal's plaintext: always the same, so that its length tells nothing.
const SEALED: usize = 96;
/// Characters of a pod's name: 125 bits of the HMAC.
const NAME: usize = 25;

/// Keys by id; the newest makes new names and seals, all open old seals.
pub struct OperatorKey {
    newest: String,
    keys: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

/// What a seal says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Uid of the workload.
    #[serde(rename = "w")]
    pub workload: String,
    /// The slot.
    #[serde(rename = "s")]
    pub slot: u32,
    /// The how manieth pod of the slot.
    #[serde(rename = "i")]
    pub incarnation: u32,
}

impl OperatorKey {
    /// Name of the entry of the Secret that says which key is the newest.
    pub const NEWEST: &str = "newest";

    /// A fresh key, as the entries of a Secret.
    pub fn generate(id: &str) -> Result<BTreeMap<String, Vec<u8>>, KeyError> {
        let mut key = vec![0; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| KeyError::Randomness)?;
        Ok([(id.to_owned(), key), (Self::NEWEST.to_owned(), id.as_bytes().to_vec())].into())
    }

    /// The keys of a Secret's entries.
    ///
    /// # Errors
    /// The Secret does not hold what [`OperatorKey::generate`] makes.
    pub fn from_entries(entries: BTreeMap<String, Vec<u8>>) -> Result<Self, KeyError> {
        let mut keys: BTreeMap<_, _> =
            entries.into_iter().map(|(id, key)| (id, Zeroizing::new(key))).collect();
        let newest = keys.remove(Self::NEWEST).ok_or(KeyError::NoNewest)?;
        let newest = String::from_utf8(newest.to_vec()).map_err(|_| KeyError::NoNewest)?;
        if !keys.contains_key(&newest) {
            return Err(KeyError::NoNewest);
        }
        match keys.iter().find(|(_, key)| key.len() != 32) {
            Some((id, _)) => Err(KeyError::Length(id.clone())),
            None => Ok(Self { newest, keys }),
        }
    }

    fn newest(&self) -> &[u8] {
        self.keys.get(&self.newest).map_or(&[], |key| key.as_slice())
    }

    /// The name of a pod: it says nothing to who has not the key.
    pub fn pod_name(&self, workload: &str, slot: u32, incarnation: u32) -> String {
        let tag = self.tag(&format!("pod name\0{workload}\0{slot}\0{incarnation}"));
        base32(tag.as_ref(), NAME)
    }

    /// An opaque name of a trust domain or node, the same for everyone who may see it.
    pub fn domain(&self, kind: &str, name: &str) -> String {
        base32(self.tag(&format!("domain\0{kind}\0{name}")).as_ref(), 16)
    }

    fn tag(&self, text: &str) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.newest()), text.as_bytes())
    }

    /// The seal of a pod: of fixed length, good for this namespace and name only.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn seal(&self, namespace: &str, pod: &str, what: &Sealed) -> Result<String, KeyError> {
        let mut data = serde_json::to_vec(what).map_err(|_| KeyError::TooLong)?;
        if data.len() > SEALED {
            return Err(KeyError::TooLong);
        }
        data.resize(SEALED, b' ');
        let key = seal_key(self.newest())?;
        let nonce = key
            .seal_in_place_append_tag(Aad::from(aad(namespace, pod)), &mut data)
            .map_err(|_| KeyError::Randomness)?;
        let mut out = nonce.as_ref().to_vec();
        out.append(&mut data);
        Ok(format!("{}.{}", self.newest, STANDARD_NO_PAD.encode(out)))
    }

    /// What a pod's seal says, if it is one for this namespace and name.
    pub fn open(&self, namespace: &str, pod: &str, seal: &str) -> Option<Sealed> {
        let (id, text) = seal.split_once('.')?;
        let mut bytes = STANDARD_NO_PAD.decode(text).ok()?;
        let nonce: [u8; NONCE_LEN] = bytes.get(..NONCE_LEN)?.try_into().ok()?;
        let key = seal_key(self.keys.get(id)?).ok()?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(aad(namespace, pod));
        let plain = key.open_in_place(nonce, aad, &mut bytes[NONCE_LEN..]).ok()?;
        serde_json::from_slice(plain).ok()
    }
}

impl std::fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OperatorKey({}, {} in all)", self.newest, self.keys.len())
    }
}

fn aad(namespace: &str, pod: &str) -> Vec<u8> {
    format!("mixnn seal\0{namespace}\0{pod}").into_bytes()
}

/// A key of its own for seals: names and seals never share one.
fn seal_key(key: &[u8]) -> Result<RandomizedNonceKey, KeyError> {
    let secret = Salt::new(HKDF_SHA256, b"").extract(key);
    let info: [&[u8]; 1] = [b"mixnn operator seal"];
    let mut out = Zeroizing::new([0; 32]);
    secret
        .expand(&info, HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out[..]))
        .map_err(|_| KeyError::Randomness)?;
    RandomizedNonceKey::new(&AES_256_GCM, &out[..]).map_err(|_| KeyError::Randomness)
}

/// RFC 4648 base32 in small letters, the first `length` characters.
fn base32(bytes: &[u8], length: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bit = |i: usize| (bytes[i / 8] >> (7 - i % 8)) & 1;
    let symbol = |n: usize| (0..5).fold(0, |acc, b| acc << 1 | usize::from(bit(n * 5 + b)));
    (0..length.min(bytes.len() * 8 / 5)).map(|n| char::from(ALPHABET[symbol(n)])).collect()
}

/// Why the operator's key cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// No randomness.
    #[error("the system gives no randomness")]
    Randomness,
    /// The Secret is not whole.
    #[error(
        "the Secret of the operator's key names no newest key that it holds: restore it from a backup"
    )]
    NoNewest,
    /// A key is not as it was made.
    #[error("key {0} of the operator's Secret has not 32 bytes: restore it from a backup")]
    Length(String),
    /// A name is too long for a seal.
    #[error("what is to be sealed is too long")]
    TooLong,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key() -> OperatorKey {
        OperatorKey::from_entries(OperatorKey::generate("k1").unwrap()).unwrap()
    }

    fn sealed() -> Sealed {
        let workload = "0b54a3b8-7a05-4d0f-8f7c-0123456789ab".into();
        Sealed { workload, slot: 4_294_967_295, incarnation: 4_294_967_295 }
    }

    #[test]
    fn a_seal_is_good_for_its_pod_only() {
        let key = key();
        let seal = key.seal("team-a", "pod", &sealed()).unwrap();
        assert_eq!(key.open("team-a", "pod", &seal), Some(sealed()));
        assert_eq!(key.open("team-a", "other", &seal), None, "copied to another pod");
        assert_eq!(key.open("team-b", "pod", &seal), None, "copied to another namespace");
        let (head, last) = seal.split_at(seal.len() - 1);
        let altered = format!("{head}{}", if last == "A" { "B" } else { "A" });
        assert_eq!(key.open("team-a", "pod", &altered), None, "altered");
        let foreign = super::tests::key().open("team-a", "pod", &seal);
        assert_eq!(foreign, None, "another key");
        for rubbish in ["", ".", "k1.", "k1.AAAA", "k1.%%%", "k9.AAAA"] {
            assert_eq!(key.open("team-a", "pod", rubbish), None, "{rubbish}");
        }
    }

    #[test]
    fn seals_are_of_one_length() {
        let key = key();
        let short = Sealed { workload: "u".into(), slot: 0, incarnation: 0 };
        let lengths = [short, sealed()].map(|s| key.seal("n", "p", &s).unwrap().len());
        assert_eq!(lengths[0], lengths[1]);
    }

    #[test]
    fn an_old_key_still_opens_and_a_new_one_seals() {
        let mut entries = OperatorKey::generate("k1").unwrap();
        let old = OperatorKey::from_entries(entries.clone()).unwrap();
        let seal = old.seal("n", "p", &sealed()).unwrap();
        entries.extend(OperatorKey::generate("k2").unwrap());
        let new = OperatorKey::from_entries(entries).unwrap();
        assert_eq!(new.open("n", "p", &seal), Some(sealed()));
        assert!(new.seal("n", "p", &sealed()).unwrap().starts_with("k2."));
    }

    #[test]
    fn names_are_dns_labels_that_differ() {
        let key = key();
        let names: std::collections::HashSet<_> = (0..100)
            .flat_map(|s| (0..3).map(move |i| (s, i)))
            .map(|(s, i)| key.pod_name("uid", s, i))
            .collect();
        assert_eq!(names.len(), 300);
        assert!(
            names.iter().all(|n| n.len() == NAME && n.bytes().all(|b| b.is_ascii_alphanumeric()))
        );
        assert_eq!(base32(b"foobar", 9), "mzxw6ytbo", "RFC 4648, test vector without its padding");
    }
}
