//! Where versions come from: checkpoints of a training, or safetensors files. Looked after while the
//! server runs; the newest that can be used is used.
//!
//! A checkpoint is the version of its number. One file is version 1, and each file that takes its place
//! the next one. A folder holds `N.safetensors` for version N.

use super::catalogue::Catalogue;
use crate::DesignerError;
use crate::checkpoints::fingerprint;
use crate::prepare::Blueprint;
use mixnn_nn::merge_exports;
use mixnn_place::Place;
use mixnn_vault::{Checkpoint, Vault, load_or_make, open_store};
use mixnn_weights::{LayerState, Rename, largest_file, split};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;

/// How often a newer version is looked for.
const LOOK: Duration = Duration::from_secs(5);

/// Where versions come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// A file, or a folder of files, with rules for the names of their tensors.
    Files(PathBuf, Rename),
    /// The checkpoints in a store, and the file of the keys that open them.
    Checkpoints(Place, PathBuf),
}

/// A version whose weights have been read and checked.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Its number, and the step that layers know its states under.
    pub(crate) number: u64,
    /// One for each layer, in the model's order, without optimizer moments.
    pub(crate) states: Vec<LayerState>,
}

impl Loaded {
    pub(super) fn name(&self) -> std::sync::Arc<str> {
        self.number.to_string().into()
    }
}

/// Looks after the versions of a model.
pub(super) struct Shelf {
    blueprint: std::sync::Arc<Blueprint>,
    place: ShelfPlace,
    catalogue: Catalogue,
    /// The newest that was looked at.
    seen: Option<Seen>,
}

enum ShelfPlace {
    Files(PathBuf, Rename),
    Vault(Box<Vault>, Runtime),
}

/// What tells one state of a place from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    number: u64,
    /// Of a file: when it was written, and its length.
    stamp: Option<(SystemTime, u64)>,
}

impl Shelf {
    pub(super) fn open(
        blueprint: std::sync::Arc<Blueprint>,
        source: &Source,
        catalogue: Catalogue,
    ) -> Result<Self, DesignerError> {
        let place = match source {
            Source::Files(path, rename) => ShelfPlace::Files(path.clone(), rename.clone()),
            Source::Checkpoints(store, key) => {
                let vault = Vault::new(open_store(store)?, load_or_make(key)?);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|e| DesignerError::Stopped(e.to_string()))?;
                ShelfPlace::Vault(Box::new(vault), runtime)
            }
        };
        Ok(Self { blueprint, place, catalogue, seen: None })
    }

    /// The newest version: it must be there, and good.
    pub(super) fn first(&mut self) -> Result<Loaded, DesignerError> {
        let Some(newest) = self.newest()? else { return Err(self.empty()) };
        self.seen = Some(newest);
        self.read(newest.number)
    }

    /// Gives every newer version over, until nobody takes any.
    pub(super) fn watch(mut self, to: &mpsc::SyncSender<Loaded>) {
        loop {
            std::thread::sleep(LOOK);
            if let Some(loaded) = self.newer()
                && to.send(loaded).is_err()
            {
                return;
            }
        }
    }

    /// A version that is newer than all that were looked at, once it can be used. One that cannot is
    /// listed, and is not tried again before it changes.
    fn newer(&mut self) -> Option<Loaded> {
        let newest = match self.newest() {
            Ok(newest) => newest?,
            Err(error) => {
                tracing::warn!(%error, "newer versions cannot be looked for");
                return None;
            }
        };
        let is_newer = self.seen.is_none_or(|seen| newest.number >= seen.number && newest != seen);
        if !is_newer {
            return None;
        }
        self.seen = Some(newest);
        match self.read(newest.number) {
            Ok(loaded) => Some(loaded),
            Err(error) => {
                tracing::error!(version = newest.number, %error, "a version cannot be served");
                let reason = "it cannot be used; the server's log says why".to_owned();
                self.catalogue.note(newest.number, reason);
                None
            }
        }
    }

    fn empty(&self) -> DesignerError {
        let problem = match &self.place {
            ShelfPlace::Files(path, _) => {
                format!("{} holds no version: put one there as 1.safetensors", path.display())
            }
            ShelfPlace::Vault(..) => "the store holds no checkpoint: train the model first".into(),
        };
        DesignerError::Weights(problem)
    }

    fn newest(&self) -> Result<Option<Seen>, DesignerError> {
        match &self.place {
            ShelfPlace::Vault(vault, runtime) => {
                let whole = |listed: mixnn_vault::Listed| listed.manifest.is_ok();
                let numbers: Vec<u64> = runtime
                    .block_on(vault.list())?
                    .into_iter()
                    .filter_map(|listed| Some(listed.number).filter(|_| whole(listed)))
                    .collect();
                self.catalogue.keep(&numbers);
                Ok(numbers.last().map(|&number| Seen { number, stamp: None }))
            }
            ShelfPlace::Files(path, _) if path.is_dir() => {
                let numbers = numbered(path)?;
                self.catalogue.keep(&numbers);
                let newest = numbers.into_iter().max();
                Ok(newest.map(|number| Seen { number, stamp: stamp(&file_of(path, number)) }))
            }
            ShelfPlace::Files(path, _) => {
                let found = stamp(path);
                let number = match self.seen {
                    Some(seen) if seen.stamp == found || found.is_none() => seen.number,
                    Some(seen) => seen.number + 1,
                    None => 1,
                };
                let stamp = found.or(self.seen.and_then(|seen| seen.stamp));
                Ok(Some(Seen { number, stamp }))
            }
        }
    }

    fn read(&self, number: u64) -> Result<Loaded, DesignerError> {
        let Blueprint { model, owner, .. } = &*self.blueprint;
        let states = match &self.place {
            ShelfPlace::Files(path, rename) => {
                let path = if path.is_dir() { file_of(path, number) } else { path.clone() };
                read_states(model, &path, rename, number)?
            }
            ShelfPlace::Vault(vault, runtime) => {
                let opened = async {
                    let checkpoint = vault.read(number).await?.ok_or_else(|| {
                        DesignerError::Weights(format!("checkpoint {number} has been removed"))
                    })?;
                    if checkpoint.manifest().model != fingerprint(model, owner) {
                        return Err(of_another_model(number));
                    }
                    weights_of(vault, &checkpoint, owner).await
                };
                let bytes = runtime.block_on(opened)?;
                let refused = |e| DesignerError::Weights(format!("checkpoint {number}: {e}"));
                split(model, &bytes, &Rename::default(), number).map_err(refused)?
            }
        };
        Ok(Loaded { number, states })
    }
}

fn of_another_model(number: u64) -> DesignerError {
    let problem = "is of another model, training or owner's secret: give the file and the secret that it was made with, or another store".into();
    DesignerError::Checkpoint { number, problem }
}

/// The weights of a checkpoint as one safetensors file, without optimizer moments.
pub(crate) async fn weights_of(
    vault: &Vault,
    checkpoint: &Checkpoint,
    owner: &mixnn_nn::OwnerSecret,
) -> Result<Vec<u8>, DesignerError> {
    let layers = &checkpoint.manifest().layers;
    let mut states = Vec::with_capacity(layers.len());
    for entry in layers {
        let shard = owner.layer_key(&entry.layer).shard_name();
        states.push(vault.state(checkpoint, &entry.layer, shard).await?);
    }
    let named = layers.iter().zip(&states);
    Ok(merge_exports(named.map(|(entry, state)| (entry.layer.as_str(), state.as_slice())))?)
}

fn numbered(folder: &Path) -> Result<Vec<u64>, DesignerError> {
    let unreadable =
        |e: std::io::Error| DesignerError::Weights(format!("{}: {e}", folder.display()));
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)?.flatten() {
        let path = entry.path();
        let is_weights = path.extension().is_some_and(|e| e == "safetensors");
        let number = path.file_stem().and_then(|s| s.to_str()?.parse::<u64>().ok());
        // Step 0 is what a layer has of itself.
        if let Some(number) = number.filter(|n| is_weights && *n > 0) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn file_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number}.safetensors"))
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Reads a file of weights and cuts it into the layers' states, as after `step` steps.
///
/// # Errors
/// It cannot be read, or is not this model's; the text names every tensor.
pub(crate) fn read_states(
    model: &mixnn_model::Model,
    path: &Path,
    rename: &Rename,
    step: u64,
) -> Result<Vec<LayerState>, DesignerError> {
    let refused =
        |problem: String| DesignerError::Weights(format!("{}: {problem}", path.display()));
    let length = std::fs::metadata(path).map_err(|e| refused(e.to_string()))?.len();
    let most = largest_file(model);
    if length > most as u64 {
        return Err(refused(format!(
            "is {length} bytes long; weights of this model are at most {most}"
        )));
    }
    let bytes = std::fs::read(path).map_err(|e| refused(e.to_string()))?;
    split(model, &bytes, rename, step).map_err(|e| refused(e.to_string()))
}
