//! The versions of a model: safetensors files, looked after while the server runs.
//!
//! One file is version 1, and each file that takes its place the next one. A folder holds `N.safetensors`
//! for version N. The newest that can be used is used.

use crate::DesignerError;
use mixnn_model::Model;
use mixnn_serving::Version;
use mixnn_weights::{LayerState, Rename, largest_file, split};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// A version whose weights have been read and checked.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Its number: also the step that layers know it under.
    pub(super) number: u64,
    /// One for each layer, in the model's order.
    pub(super) states: Vec<LayerState>,
}

impl Loaded {
    pub(super) fn name(&self) -> Arc<str> {
        self.number.to_string().into()
    }
}

/// Which versions there are, for all who are asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Catalogue(Arc<Mutex<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    /// Number to why it is not served.
    known: BTreeMap<u64, String>,
    served: Option<u64>,
    /// Why nothing is answered now, if so.
    pause: Option<String>,
}

impl Catalogue {
    fn with<T>(&self, f: impl FnOnce(&mut Listed) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn list(&self) -> Vec<Version> {
        self.with(|listed| {
            let version = |(number, reason): (&u64, &String)| {
                let served = listed.served == Some(*number);
                let reason = if served { listed.pause.clone() } else { Some(reason.clone()) };
                let name = number.to_string();
                Version { name, ready: reason.is_none(), reason: reason.unwrap_or_default() }
            };
            listed.known.iter().map(version).collect()
        })
    }

    /// This version answers from now on.
    pub(super) fn serve(&self, number: u64) {
        self.with(|listed| {
            listed.known.entry(number).or_insert_with(superseded);
            listed.served = Some(number);
            listed.pause = None;
        });
    }

    /// Nothing is answered for now.
    pub(super) fn pause(&self, why: &str) {
        self.with(|listed| listed.pause = Some(why.to_owned()));
    }

    fn note(&self, number: u64, reason: String) {
        self.with(|listed| listed.known.insert(number, reason));
    }

    fn keep_only(&self, numbers: &[u64]) {
        self.with(|listed| {
            let served = listed.served;
            listed.known.retain(|n, _| numbers.contains(n) || Some(*n) == served);
        });
    }
}

fn superseded() -> String {
    "another version is served".to_owned()
}

/// Looks after a file or a folder.
pub(super) struct Shelf<'a> {
    model: &'a Model,
    rename: Rename,
    path: PathBuf,
    pub(super) catalogue: Catalogue,
    /// The newest that has been looked at, and its file's time and length.
    seen: Option<(u64, SystemTime, u64)>,
}

impl<'a> Shelf<'a> {
    pub(super) fn new(model: &'a Model, path: &Path, rename: Rename) -> Self {
        let catalogue = Catalogue::default();
        Self { model, rename, path: path.to_owned(), catalogue, seen: None }
    }

    /// The first version to serve: it must be there, and good.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn first(&mut self) -> Result<Loaded, DesignerError> {
        let Some((number, path)) = self.newest()? else {
            let problem = "holds no version: put one there as 1.safetensors".to_owned();
            return Err(DesignerError::Weights { path: self.path.clone(), problem });
        };
        self.read(number, &path)
    }

    /// A version that is newer than all that have been looked at, once it can be used. One that cannot
    /// is listed with the reason, and is not tried again before its file changes.
    pub(super) fn newer(&mut self) -> Option<Loaded> {
        let (number, path) = self.newest().ok().flatten()?;
        let (changed, length) = stamp(&path)?;
        if self.seen.is_some_and(|seen| (seen.1, seen.2) == (changed, length) && (seen.0 == number || self.path.is_file())) {
            return None;
        }
        let number = if self.path.is_file() { self.seen.map_or(1, |seen| seen.0 + 1) } else { number };
        match self.read(number, &path) {
            Ok(loaded) => Some(loaded),
            Err(error) => {
                tracing::error!("version {number} cannot be served: {error}");
                self.catalogue.note(number, error.to_string());
                None
            }
        }
    }

    fn newest(&self) -> Result<Option<(u64, PathBuf)>, DesignerError> {
        let problem = |e: std::io::Error| DesignerError::Weights {
            path: self.path.clone(),
            problem: e.to_string(),
        };
        if !std::fs::metadata(&self.path).map_err(problem)?.is_dir() {
            return Ok(Some((1, self.path.clone())));
        }
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(problem)?.flatten() {
            let path = entry.path();
            let is_weights = path.extension().is_some_and(|e| e == "safetensors");
            let number = path.file_stem().and_then(|s| s.to_str()?.parse::<u64>().ok());
            if let (true, Some(number)) = (is_weights, number) {
                numbers.push(number);
                self.catalogue.with(|listed| listed.known.entry(number).or_insert_with(superseded).len());
            }
        }
        self.catalogue.keep_only(&numbers);
        let newest = numbers.into_iter().max();
        Ok(newest.map(|n| (n, self.path.join(format!("{n}.safetensors")))))
    }

    fn read(&mut self, number: u64, path: &Path) -> Result<Loaded, DesignerError> {
        self.seen = stamp(path).map(|(changed, length)| (number, changed, length));
        let states = read_states(self.model, path, &self.rename, number)?;
        Ok(Loaded { number, states })
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Reads a file of weights and cuts it into the layers' states.
///
/// # Errors
/// It cannot be read, or is not this model's; the text names every tensor.
pub(crate) fn read_states(
    model: &Model,
    path: &Path,
    rename: &Rename,
    step: u64,
) -> Result<Vec<LayerState>, DesignerError> {
    let refused = |problem: String| DesignerError::Weights { path: path.to_owned(), problem };
    let length = std::fs::metadata(path).map_err(|e| refused(e.to_string()))?.len();
    let most = largest_file(model);
    if length > most as u64 {
        return Err(refused(format!("is {length} bytes long; weights of this model are at most {most}")));
    }
    let bytes = std::fs::read(path).map_err(|e| refused(e.to_string()))?;
    split(model, &bytes, rename, step).map_err(|e| refused(e.to_string()))
}
