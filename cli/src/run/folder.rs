//! The folders of a run, for its user only.
//!
//! Logs, secret and weights stay where the user finds them. What the nodes are pointed to lies in a
//! temporary folder of another name: a path must not tell a layer's process the model's name.

use crate::args::ModelArgs;
use anyhow::{Context, bail};
use mixnn_crds::MixNNModel;
use mixnn_protocol::registration::Head;
use mixnn_protocol::{NodeId, SystemRng};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the events of a training are kept: of `model` or `reference`.
pub fn record_of(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.events.jsonl"))
}

/// The folders of a run.
pub struct RunFolder {
    kept: PathBuf,
    /// Gone with this value.
    nodes: tempfile::TempDir,
}

impl RunFolder {
    /// Makes the folder that was asked for, or the next free `run/NAME-N`; or opens the one that is to
    /// be gone on with.
    pub fn make(
        args: &ModelArgs,
        resume: Option<&Path>,
        model: &MixNNModel,
    ) -> anyhow::Result<Self> {
        let folder = match (resume, &args.run_dir) {
            (Some(path), _) if path.join("owner-secret").exists() => path.to_owned(),
            (Some(path), _) if args.owner_secret.is_some() && path.is_dir() => path.to_owned(),
            (Some(path), _) => bail!("{} holds no run to go on with", path.display()),
            (None, Some(path)) if path.join("checkpoints").exists() => {
                bail!("{0} holds a run: go on with it by --resume {0}", path.display())
            }
            (None, Some(path)) => path.clone(),
            (None, None) => next_free(model.name())?,
        };
        Self::open(&folder)
    }

    /// Makes a folder to serve from: the one that was asked for, or the next free `run/NAME-serve-N`.
    pub fn for_serving(asked: Option<&Path>, model: &MixNNModel) -> anyhow::Result<Self> {
        match asked {
            Some(path) => Self::open(path),
            None => Self::open(&next_free(&format!("{}-serve", model.name()))?),
        }
    }

    fn open(folder: &Path) -> anyhow::Result<Self> {
        private(folder)?;
        // Children are told absolute paths: they may not share this process's working folder.
        let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
        private(&folder.join("logs"))?;
        let nodes = tempfile::Builder::new().prefix("mixnn-").tempdir()?;
        Ok(Self { kept: folder, nodes })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.kept
    }

    /// What tells this run from all others elsewhere; made if it is not there.
    pub fn key(&self) -> anyhow::Result<String> {
        let path = self.kept.join("run-id");
        if let Ok(text) = std::fs::read_to_string(&path) {
            return Ok(text.trim().to_owned());
        }
        let key = NodeId::random(&mut SystemRng).to_string();
        std::fs::write(&path, &key).with_context(|| path.display().to_string())?;
        Ok(key)
    }

    /// A training begins, which does not go on from one in this folder.
    pub fn begin_record(&self, name: &str) -> anyhow::Result<()> {
        let path = record_of(&self.kept, name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| path.display().to_string())
            }
            _ => Ok(()),
        }
    }

    /// Writes down which process runs in which slot, for whom looks on: `processes.json`.
    pub fn write_processes<'a>(
        &self,
        pids: impl Iterator<Item = (&'a str, i32)>,
    ) -> anyhow::Result<()> {
        let pids: std::collections::BTreeMap<&str, i32> = pids.collect();
        self.write_json("processes.json", &pids)
    }

    /// How far the run has come, from `head.json`: apart from the checkpoints, so that an old store is
    /// noticed.
    pub fn read_head(&self) -> anyhow::Result<Head> {
        let path = self.kept.join("head.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Head::default()),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Writes it down.
    pub fn write_head(&self, head: &Head) -> anyhow::Result<()> {
        self.write_json("head.json", head)
    }

    fn write_json(&self, name: &str, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let path = self.kept.join(name);
        let write = || -> anyhow::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.kept)?;
            serde_json::to_writer_pretty(&mut file, value)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        write().with_context(|| path.display().to_string())
    }

    /// Writes a file for a node under a random name; only its user can read it.
    pub fn write_for_node(&self, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.nodes.path().join(NodeId::random(&mut SystemRng).to_string());
        let write = || {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(text.as_bytes())
        };
        write().with_context(|| path.display().to_string())?;
        Ok(path)
    }
}

fn next_free(name: &str) -> anyhow::Result<PathBuf> {
    private(Path::new("run"))?;
    let candidate = |n: u32| Path::new("run").join(format!("{name}-{n}"));
    (1..1_000_000).map(candidate).find(|path| !path.exists()).context("no free name in run/")
}

fn private(path: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("making the folder {}", path.display()))
}

trait Named {
    fn name(&self) -> &str;
}

impl Named for MixNNModel {
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or("model")
    }
}
