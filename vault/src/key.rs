//! The owner's checkpoint keys: 64 hexadecimal digits a line in a file that only the owner can read.
//!
//! The first line seals; every line opens. So a key is rotated by putting a new line in front, and
//! retired by removing the last once no checkpoint needs it.
//!
//! ```text
//! object key = HKDF-SHA256(key, info "mixnn v1 vault object" || object's name), 32 bytes
//! shard key  = HKDF-SHA256(key, info "mixnn v1 vault shard" || salt(32) || layer name), 32 bytes,
//!              from which the layer's HPKE key pair follows (RFC 9180, DeriveKeyPair)
//! sealed     = version(1)=1 nonce(12) AES-256-GCM under the object key, with the name as associated data
//! ```

use crate::VaultError;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use mixnn_protocol::{KeyPair, Suite};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::str::FromStr;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const VERSION: u8 = 1;
/// The most keys of one file.
const MOST: usize = 64;

/// The owner's keys: the first one seals, all of them open.
pub struct Keys(Vec<Key>);

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Key([u8; 32]);

/// Reads the keys, or makes one from the system's randomness if the file does not exist.
///
/// # Errors
/// The file holds something else, or cannot be read or made.
pub fn load_or_make(path: &Path) -> Result<Keys, VaultError> {
    let problem = |problem: String| VaultError::Key { path: path.to_owned(), problem };
    match File::open(path) {
        Ok(file) => read(file).map_err(problem),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make(path).map_err(|e| problem(e.to_string()))
        }
        Err(error) => Err(problem(error.to_string())),
    }
}

fn read(file: File) -> Result<Keys, String> {
    let mut text = Zeroizing::new(String::new());
    let most = (MOST * 80) as u64;
    file.take(most).read_to_string(&mut text).map_err(|e| e.to_string())?;
    parse(&text)
}

fn parse(text: &str) -> Result<Keys, String> {
    let one = |line: &str| {
        let mut bytes = [0; 32];
        let read = hex::decode_to_slice(line.trim(), &mut bytes);
        read.map(|()| Key(bytes)).map_err(|_| "every line must hold 64 hexadecimal digits")
    };
    let keys: Vec<Key> =
        text.lines().filter(|l| !l.trim().is_empty()).map(one).collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err("holds no key; remove it to have a new one made".into());
    }
    Ok(Keys(keys))
}

fn make(path: &Path) -> std::io::Result<Keys> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| std::io::Error::other(e.to_string()))?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let text = Zeroizing::new(hex::encode(bytes));
    writeln!(file, "{}", text.as_str())?;
    file.sync_all()?;
    Ok(Keys(vec![Key(bytes)]))
}

impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text)
    }
}

impl Keys {
    /// One key, for tests and for keys that come from elsewhere.
    pub fn of(bytes: [u8; 32]) -> Self {
        Self(vec![Key(bytes)])
    }

    /// The key that seals.
    pub(crate) fn first(&self) -> &Key {
        &self.0[0]
    }

    /// Opens a sealed object; gives the key that did it too.
    pub(crate) fn open(
        &self,
        name: &str,
        sealed: &[u8],
    ) -> Result<(Zeroizing<Vec<u8>>, &Key), VaultError> {
        let opened = self.0.iter().find_map(|key| Some((key.open(name, sealed)?, key)));
        opened.ok_or_else(|| VaultError::Sealed(name.to_owned()))
    }
}

impl Key {
    fn derive(&self, info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        Salt::new(HKDF_SHA256, &[])
            .extract(&self.0)
            .expand(info, Length)
            .and_then(|okm| okm.fill(&mut out[..]))
            .expect("32 bytes are within HKDF-SHA256's limit of 255 blocks");
        out
    }

    fn cipher(&self, name: &str) -> LessSafeKey {
        let key = self.derive(&[b"mixnn v1 vault object", name.as_bytes()]);
        let key = UnboundKey::new(&AES_256_GCM, &key[..]).expect("a key of 32 bytes");
        LessSafeKey::new(key)
    }

    /// Seals an object under its name. Nonces are random: an owner writes far below 2^32 objects.
    pub(crate) fn seal(&self, name: &str, text: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("the system has randomness");
        let mut sealed = text.to_vec();
        self.cipher(name)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name.as_bytes()),
                &mut sealed,
            )
            .expect("an object is shorter than AES-GCM's limit");
        [&[VERSION], &nonce[..], &sealed].concat()
    }

    fn open(&self, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (&version, rest) = sealed.split_first()?;
        let (nonce, text) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        if version != VERSION {
            return None;
        }
        let mut text = Zeroizing::new(text.to_vec());
        let aad = Aad::from(name.as_bytes());
        let length = self.cipher(name).open_in_place(nonce, aad, &mut text).ok()?.len();
        text.truncate(length);
        Some(text)
    }

    /// The key pair that one layer's state of one checkpoint is sealed to.
    pub(crate) fn shard_keys(&self, suite: Suite, salt: &[u8; 32], layer: &str) -> KeyPair {
        let info = [b"mixnn v1 vault shard".as_slice(), salt, layer.as_bytes()];
        KeyPair::derive(suite, &self.derive(&info))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_sealed_object_opens_under_its_name_and_key_alone() {
        let keys = Keys::of([1; 32]);
        let sealed = keys.first().seal("session", b"text");
        assert_eq!(keys.open("session", &sealed).unwrap().0.as_slice(), b"text");
        assert!(keys.open("other", &sealed).is_err());
        assert!(Keys::of([2; 32]).open("session", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(keys.open("session", &changed).is_err(), "byte {at}");
            assert!(keys.open("session", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_first_line_seals_and_all_open() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let old = load_or_make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let sealed = old.first().seal("session", b"text");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{}\n{text}", hex::encode([7; 32]))).unwrap();
        let rotated = load_or_make(&path).unwrap();
        assert_eq!(rotated.first().0, [7; 32]);
        assert!(rotated.open("session", &sealed).is_ok());
        std::fs::write(&path, "not a key").unwrap();
        assert!(load_or_make(&path).is_err());
    }
}
