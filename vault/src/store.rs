//! Writing and reading, over any object store.

use crate::key::Keys;
use crate::{Checkpoint, Manifest, ShardEntry, VaultError};
use aws_lc_rs::digest::{SHA256, digest};
use futures_util::TryStreamExt;
use mixnn_place::Place;
use mixnn_protocol::registration::Head;
use mixnn_protocol::shard::{self, Binding};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

const CHECKPOINTS: &str = "checkpoints";
const MANIFEST: &str = "manifest";
const SESSIONS: &str = "sessions";
/// For one object to be written or read. A store repeats what fails by itself; it has to end some time.
const PATIENCE: Duration = Duration::from_secs(60);

/// The owner's checkpoints in one store.
#[derive(Clone)]
pub struct Vault {
    store: Arc<dyn ObjectStore>,
    keys: Arc<Keys>,
}

/// A checkpoint as a listing shows it.
pub struct Listed {
    /// Its number.
    pub number: u64,
    /// What it is, or why it cannot be read.
    pub manifest: Result<Manifest, VaultError>,
}

/// Opens a place for checkpoints. A folder is made if it does not exist.
///
/// # Errors
/// There is no such place.
pub fn open_store(place: &Place) -> Result<Arc<dyn ObjectStore>, VaultError> {
    let bad = |problem: String| VaultError::Location(place.to_string(), problem);
    match place {
        Place::Folder(path) => {
            std::fs::create_dir_all(path).map_err(|e| bad(e.to_string()))?;
            let folder = LocalFileSystem::new_with_prefix(path).map_err(|e| bad(e.to_string()))?;
            Ok(Arc::new(folder.with_fsync(true).with_automatic_cleanup(true)))
        }
        Place::Store(url) => {
            let (store, prefix) = mixnn_place::open_store(url).map_err(bad)?;
            Ok(Arc::new(PrefixStore::new(store, prefix)))
        }
    }
}

/// Waits for the store, but not forever.
async fn within<T>(
    what: impl Into<String>,
    work: impl Future<Output = object_store::Result<T>>,
) -> Result<T, VaultError> {
    let what = what.into();
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(source)) => Err(VaultError::Store { what, source }),
        Err(_) => Err(VaultError::Silent { what, seconds: PATIENCE.as_secs() }),
    }
}

fn folder(number: u64) -> Path {
    Path::from(format!("{CHECKPOINTS}/{number:012}"))
}

fn manifest_name(number: u64) -> String {
    format!("{}/{MANIFEST}", folder(number))
}

fn session_name(term: u32) -> String {
    format!("{SESSIONS}/{term:010}")
}

impl Vault {
    /// A vault in a store, under the owner's keys.
    pub fn new(store: Arc<dyn ObjectStore>, keys: impl Into<Arc<Keys>>) -> Self {
        Self { store, keys: keys.into() }
    }

    /// The owner's keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Writes a checkpoint: the sealed states in the order of the manifest's layers, then the
    /// manifest. Until that is written, there is no checkpoint.
    ///
    /// A checkpoint is never written over: of two designers that take the same number, as one may that
    /// does not know yet that it has been replaced, the second is refused.
    ///
    /// # Errors
    /// The store refuses. What this call wrote is removed then, as far as the store lets it.
    pub async fn save(
        &self,
        mut checkpoint: Checkpoint,
        shards: Vec<Vec<u8>>,
    ) -> Result<Checkpoint, VaultError> {
        let number = checkpoint.manifest.number;
        let mut entries: Vec<ShardEntry> = Vec::with_capacity(shards.len());
        let written = async {
            for (layer, shard) in std::mem::take(&mut checkpoint.manifest.layers).iter().zip(shards)
            {
                let object = random_name();
                entries.push(ShardEntry {
                    layer: layer.layer.clone(),
                    bytes: shard.len() as u64,
                    sha256: hex::encode(digest(&SHA256, &shard)),
                    object: object.clone(),
                });
                let path = folder(number).join(object);
                let put = self.store.put(&path, shard.into());
                within(format!("writing checkpoint {number}"), put).await?;
            }
            checkpoint.manifest.layers.clone_from(&entries);
            let since = SystemTime::now().duration_since(UNIX_EPOCH);
            checkpoint.manifest.written = since.map_or(0, |d| d.as_secs());
            let name = manifest_name(number);
            self.put_sealed(&name, &checkpoint.manifest, PutMode::Create).await
        };
        if let Err(error) = written.await {
            for entry in &entries {
                let path = folder(number).join(entry.object.as_str());
                let _ = within("removing a shard", self.store.delete(&path)).await;
            }
            return Err(error);
        }
        Ok(checkpoint)
    }

    /// Writes what a designer that takes over must know. Each term has a record of its own: a designer
    /// that was replaced cannot write over its successor's.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn put_session(
        &self,
        term: u32,
        session: &impl serde::Serialize,
    ) -> Result<(), VaultError> {
        self.put_sealed(&session_name(term), session, PutMode::Overwrite).await
    }

    /// Reads the record of the newest term before `term`, if there is one.
    ///
    /// # Errors
    /// It does not open, or is not what it should be.
    pub async fn session<T: serde::de::DeserializeOwned>(
        &self,
        term: u32,
    ) -> Result<Option<T>, VaultError> {
        let terms = self.sessions().await?;
        let Some(newest) = terms.into_iter().filter(|t| *t < term).max() else { return Ok(None) };
        let name = session_name(newest);
        let Some(sealed) = self.get(&Path::from(name.as_str())).await? else { return Ok(None) };
        let (text, _) = self.keys.open(&name, &sealed)?;
        parse(&name, &text).map(Some)
    }

    /// Removes the records of all terms before `term`.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn forget_sessions(&self, term: u32) -> Result<(), VaultError> {
        for old in self.sessions().await?.into_iter().filter(|t| *t < term) {
            let path = Path::from(session_name(old));
            within("removing an old session", self.store.delete(&path)).await?;
        }
        Ok(())
    }

    async fn sessions(&self) -> Result<Vec<u32>, VaultError> {
        let prefix = Path::from(SESSIONS);
        let listed = within("listing sessions", self.store.list_with_delimiter(Some(&prefix)));
        let term = |name: &str| name.parse::<u32>().ok();
        Ok(listed.await?.objects.iter().filter_map(|o| term(o.location.filename()?)).collect())
    }

    async fn put_sealed(
        &self,
        name: &str,
        value: &impl serde::Serialize,
        mode: PutMode,
    ) -> Result<(), VaultError> {
        let content = |e: serde_json::Error| VaultError::Content {
            what: name.to_owned(),
            problem: e.to_string(),
        };
        let text = Zeroizing::new(serde_json::to_vec(value).map_err(content)?);
        let sealed = self.keys.first().seal(name, &text);
        let path = Path::from(name);
        let put = self.store.put_opts(&path, PutPayload::from(sealed), mode.into());
        within(format!("writing {name}"), put).await.map(drop)
    }

    async fn get(&self, path: &Path) -> Result<Option<bytes::Bytes>, VaultError> {
        let read = async { self.store.get(path).await?.bytes().await };
        match within(format!("reading {path}"), read).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(VaultError::Store { source: object_store::Error::NotFound { .. }, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Numbers of checkpoints, rising: whole ones and those that were never finished.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn numbers(&self) -> Result<Vec<u64>, VaultError> {
        let prefix = Path::from(CHECKPOINTS);
        let list = self.store.list_with_delimiter(Some(&prefix));
        let listed = within("listing checkpoints", list).await?;
        let number = |path: &Path| path.filename().and_then(|name| name.parse::<u64>().ok());
        let mut numbers: Vec<u64> = listed.common_prefixes.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A checkpoint, if its manifest is there.
    ///
    /// # Errors
    /// The manifest does not open, or is not what it should be.
    pub async fn read(&self, number: u64) -> Result<Option<Checkpoint>, VaultError> {
        let name = manifest_name(number);
        let Some(sealed) = self.get(&Path::from(name.as_str())).await? else { return Ok(None) };
        let (text, key) = self.keys.open(&name, &sealed)?;
        let manifest: Manifest = parse(&name, &text)?;
        Checkpoint::read(manifest, key, &name).map(Some)
    }

    /// The newest whole checkpoint.
    ///
    /// # Errors
    /// The newest manifest does not open: an older one is not taken in its place without a word.
    pub async fn newest(&self) -> Result<Option<Checkpoint>, VaultError> {
        self.newest_before(u64::MAX).await
    }

    /// The checkpoint of this number; without one, the newest.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn find(&self, number: Option<u64>) -> Result<Option<Checkpoint>, VaultError> {
        match number {
            Some(number) => self.read(number).await,
            None => self.newest().await,
        }
    }

    /// The newest whole checkpoint with a number below `number`.
    ///
    /// # Errors
    /// As for [`newest`](Self::newest).
    pub async fn newest_before(&self, number: u64) -> Result<Option<Checkpoint>, VaultError> {
        for number in self.numbers().await?.into_iter().rev().filter(|n| *n < number) {
            if let Some(found) = self.read(number).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// All checkpoints that have a manifest.
    ///
    /// # Errors
    /// The store refuses to list them.
    pub async fn list(&self) -> Result<Vec<Listed>, VaultError> {
        let mut all = Vec::new();
        for number in self.numbers().await? {
            match self.read(number).await {
                Ok(None) => {}
                Ok(Some(found)) => all.push(Listed { number, manifest: Ok(found.manifest) }),
                Err(error) => all.push(Listed { number, manifest: Err(error) }),
            }
        }
        Ok(all)
    }

    /// Opens a layer's state. `name`: the layer's shard name, which follows from its key.
    ///
    /// # Errors
    /// The shard is missing, was changed, or is of another layer.
    pub async fn state(
        &self,
        checkpoint: &Checkpoint,
        layer: &str,
        name: [u8; 16],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let manifest = &checkpoint.manifest;
        let sealed = self.shard(manifest, layer).await?;
        let binding = Binding { layer: name, step: manifest.step, term: manifest.term };
        shard::open(&checkpoint.keys(layer), &binding, &sealed).map_err(|problem| {
            VaultError::Shard { number: manifest.number, layer: layer.to_owned(), problem }
        })
    }

    /// A shard as it was written.
    async fn shard(&self, manifest: &Manifest, layer: &str) -> Result<bytes::Bytes, VaultError> {
        let number = manifest.number;
        let changed = || VaultError::Changed { number, layer: layer.to_owned() };
        let entry = manifest.layers.iter().find(|e| e.layer == layer).ok_or_else(changed)?;
        let sealed = self.get(&folder(number).join(entry.object.as_str())).await?;
        let sealed = sealed.ok_or_else(changed)?;
        let hash = hex::encode(digest(&SHA256, &sealed));
        if sealed.len() as u64 == entry.bytes && hash == entry.sha256 {
            Ok(sealed)
        } else {
            Err(changed())
        }
    }

    /// Checks that every shard of a checkpoint is the one that was written.
    ///
    /// # Errors
    /// Which one is not.
    pub async fn verify(&self, manifest: &Manifest) -> Result<(), VaultError> {
        for entry in &manifest.layers {
            self.shard(manifest, &entry.layer).await?;
        }
        Ok(())
    }

    /// Removes a checkpoint, its manifest first.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn remove(&self, number: u64) -> Result<(), VaultError> {
        let removal = async {
            let manifest = Path::from(manifest_name(number));
            match self.store.delete(&manifest).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
            let objects: Vec<_> = self.store.list(Some(&folder(number))).try_collect().await?;
            for object in objects {
                self.store.delete(&object.location).await?;
            }
            Ok(())
        };
        within(format!("removing checkpoint {number}"), removal).await
    }

    /// Removes all but the newest `keep` whole checkpoints, and every unfinished one before the
    /// newest. Gives the numbers of those removed.
    ///
    /// # Errors
    /// The store refuses.
    pub async fn prune(&self, keep: usize) -> Result<Vec<u64>, VaultError> {
        let mut whole = 0;
        let mut removed = Vec::new();
        for number in self.numbers().await?.into_iter().rev() {
            let path = Path::from(manifest_name(number));
            let is_whole = self.store.head(&path).await.is_ok();
            whole += usize::from(is_whole);
            if (is_whole && whole > keep.max(1)) || (!is_whole && whole > 0) {
                self.remove(number).await?;
                removed.push(number);
            }
        }
        Ok(removed)
    }

    /// Whether the newest checkpoint is as new as what is known outside of the store.
    ///
    /// # Errors
    /// The store has been put back to an earlier state, or lost checkpoints.
    pub fn check_head(newest: Option<&Manifest>, head: &Head) -> Result<(), VaultError> {
        let number = newest.map_or(0, |m| m.number);
        if number >= head.checkpoint {
            return Ok(());
        }
        Err(VaultError::Content {
            what: "checkpoint store".into(),
            problem: format!(
                "its newest checkpoint is {number}, but checkpoint {} (step {}) had been written: the store was put back to an earlier state, or lost it",
                head.checkpoint, head.step
            ),
        })
    }
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, text: &[u8]) -> Result<T, VaultError> {
    serde_json::from_slice(text)
        .map_err(|e| VaultError::Content { what: what.to_owned(), problem: e.to_string() })
}

fn random_name() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    hex::encode(bytes)
}
