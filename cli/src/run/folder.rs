//! The folders of a run, for its user only.
//!
//! Logs, secret and weights stay where the user finds them. What the nodes are pointed to lies in a
//! temporary folder of another name: a path must not tell a layer's process the model's name.

use crate::args::ModelArgs;
use anyhow::Context;
use mixnn_crds::MixNNModel;
use mixnn_protocol::{NodeId, SystemRng};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folders of a run.
pub struct RunFolder {
    kept: PathBuf,
    /// Gone with this value.
    nodes: tempfile::TempDir,
}

impl RunFolder {
    /// Makes the folder that was asked for, or the next free `run/NAME-N`.
    pub fn make(args: &ModelArgs, model: &MixNNModel) -> anyhow::Result<Self> {
        let folder = match &args.run_dir {
            Some(path) => path.clone(),
            None => next_free(model.name())?,
        };
        private(&folder)?;
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
