//! What a checkpoint is.

use crate::VaultError;
use crate::key::{Key, Keys};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mixnn_protocol::control::Profile;
use mixnn_protocol::{KeyPair, PublicKey, Suite};
use serde::{Deserialize, Serialize};

/// What a checkpoint is: known to the owner alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// From 1, over all terms.
    pub number: u64,
    /// The designer's term in which the states were sealed.
    pub term: u32,
    /// Steps that every layer had applied. Data and masks follow from it and the owner's secret.
    pub step: u64,
    /// Tells one model from another: keyed, from layers, training and the owner's secret.
    pub model: String,
    /// What the bits depend on.
    pub profile: Profile,
    /// HPKE suite of the shards.
    pub suite: Suite,
    /// 32 random bytes in base64, from which the shards' keys follow.
    pub salt: String,
    /// Seconds since 1970 when it was written.
    pub written: u64,
    /// Whether the training began with weights that were brought in, not with those that the owner's
    /// secret gives.
    #[serde(default)]
    pub imported: bool,
    /// The layers, input first.
    pub layers: Vec<ShardEntry>,
}

/// One layer's part of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShardEntry {
    /// The layer's name.
    pub layer: String,
    /// The object's name: random.
    pub object: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// SHA-256 of it, hexadecimal.
    pub sha256: String,
}

/// A checkpoint that is being taken, or one that was read.
pub struct Checkpoint {
    pub(crate) manifest: Manifest,
    key: Key,
    salt: [u8; 32],
}

impl Checkpoint {
    /// Begins a checkpoint, with fresh keys for every layer.
    ///
    /// # Panics
    /// The system has no randomness.
    pub fn begin(keys: &Keys, mut manifest: Manifest) -> Self {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).expect("the system has randomness");
        manifest.salt = STANDARD.encode(salt);
        Self { manifest, key: keys.first().clone(), salt }
    }

    pub(crate) fn read(manifest: Manifest, key: &Key, what: &str) -> Result<Self, VaultError> {
        let bytes = STANDARD.decode(&manifest.salt).unwrap_or_default();
        let salt = bytes.try_into().map_err(|_| VaultError::Content {
            what: what.to_owned(),
            problem: "no salt of 32 bytes".into(),
        })?;
        Ok(Self { manifest, key: key.clone(), salt })
    }

    /// What it is.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The key that a layer's state is sealed to.
    pub fn public_key(&self, layer: &str) -> PublicKey {
        self.keys(layer).public().clone()
    }

    pub(crate) fn keys(&self, layer: &str) -> KeyPair {
        self.key.shard_keys(self.manifest.suite, &self.salt, layer)
    }
}
