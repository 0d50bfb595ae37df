//! Weights into a vault, and out of it.

use crate::checkpoints::blank_manifest;
use crate::prepare::{Blueprint, BlueprintArgs};
use crate::serve::{read_states, weights_of};
use crate::{DesignerError, secret, weights};
use clap::Args;
use mixnn_nn::{OwnerSecret, merge_exports};
use mixnn_place::Place;
use mixnn_protocol::shard::{Binding, Sealer};
use mixnn_protocol::{PublicKey, Suite, SystemRng};
use mixnn_vault::{Checkpoint, Manifest, Vault, load_or_make, open_store};
use mixnn_weights::Rename;
use std::convert::Infallible;
use std::path::PathBuf;

/// What `mixnn-designer import` takes.
#[derive(Args)]
pub struct ImportArgs {
    #[command(flatten)]
    model: BlueprintArgs,
    /// The weights (safetensors) under PyTorch's names: every tensor of the model, and no other.
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Rewrite the names of tensors: conv1=conv1.0.
    #[arg(long, value_name = "OLD=NEW")]
    rename: Vec<String>,
    /// Where the checkpoint is to be, which a training then goes on from. There must be none yet.
    #[arg(long, value_name = "STORE")]
    checkpoints: Place,
    /// File of the owner's checkpoint keys, made if it does not exist.
    #[arg(long, value_name = "FILE")]
    checkpoint_key: PathBuf,
    /// Where to write the same weights under the model's own names.
    #[arg(long, value_name = "FILE")]
    copy: Option<PathBuf>,
    /// End as soon as the process that started this one ends.
    #[arg(long, env = "MIXNN_DIE_WITH_PARENT")]
    pub die_with_parent: bool,
}

/// Checkpoints that are there, and what opens them.
#[derive(Args)]
pub(crate) struct KeptArgs {
    /// File of the owner's secret.
    #[arg(long, value_name = "FILE")]
    owner_secret: PathBuf,
    /// Where the checkpoints are.
    #[arg(long, value_name = "STORE")]
    pub(crate) checkpoints: Place,
    /// File of the owner's checkpoint keys.
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint_key: PathBuf,
}

impl KeptArgs {
    /// The owner's secret, where the checkpoint keys are there too: neither is made anew.
    pub(crate) fn owner(&self) -> Result<OwnerSecret, DesignerError> {
        let needed =
            [("owner's secret", &self.owner_secret), ("checkpoint key", &self.checkpoint_key)];
        for (what, path) in needed {
            if !path.exists() {
                let problem =
                    format!("the {what} {} is missing: nothing opens without it", path.display());
                return Err(DesignerError::Weights(problem));
            }
        }
        secret::load_or_make(&self.owner_secret)
    }
}

/// What `mixnn-designer export` takes.
#[derive(Args)]
pub struct ExportArgs {
    #[command(flatten)]
    kept: KeptArgs,
    /// Which checkpoint [default: the newest]
    #[arg(long, value_name = "NUMBER")]
    number: Option<u64>,
    /// Where to write the weights: a file, or s3://, gs:// or az:// with bucket and name.
    #[arg(long, value_name = "FILE")]
    out: Place,
    /// End as soon as the process that started this one ends.
    #[arg(long, env = "MIXNN_DIE_WITH_PARENT")]
    pub die_with_parent: bool,
}

/// Makes a checkpoint before the first step from a file of weights: cut here, one state for each layer,
/// each sealed.
///
/// # Errors
/// The file is not this model's (by tensor), or there is a checkpoint already.
pub fn import(args: &ImportArgs) -> Result<(), DesignerError> {
    let rename = Rename::parse(&args.rename).map_err(DesignerError::Weights)?;
    let Blueprint { model, owner, .. } = args.model.blueprint()?;
    let states = read_states(&model, &args.weights, &rename, 0)?;
    let runtime = runtime()?;
    let vault = Vault::new(open_store(&args.checkpoints)?, load_or_make(&args.checkpoint_key)?);
    let there = runtime.block_on(vault.numbers())?;
    if !there.is_empty() {
        let store = &args.checkpoints;
        return Err(DesignerError::Weights(format!(
            "{store} holds checkpoints already: weights are brought in before the first step; give another store"
        )));
    }
    let profile = mixnn_nn::profile::pin()?;
    let manifest = Manifest {
        number: 1,
        imported: true,
        suite: Suite::XWing,
        ..blank_manifest(&model, &owner, profile)
    };
    let checkpoint = Checkpoint::begin(vault.keys(), manifest);
    let sealed = |state: &mixnn_weights::LayerState| {
        let key = checkpoint.public_key(&state.layer);
        let layer = owner.layer_key(&state.layer).shard_name();
        seal(&key, &Binding { layer, step: 0, term: 0 }, &state.bytes)
    };
    let shards = states.iter().map(sealed).collect::<Result<_, _>>()?;
    if let Some(path) = &args.copy {
        let named = states.iter().map(|s| (s.layer.as_str(), s.bytes.as_slice()));
        weights::write(&Place::Folder(path.clone()), merge_exports(named)?)?;
    }
    runtime.block_on(vault.save(checkpoint, shards))?;
    Ok(())
}

fn seal(key: &PublicKey, binding: &Binding, state: &[u8]) -> Result<Vec<u8>, DesignerError> {
    let refused = |e: &dyn std::fmt::Display| DesignerError::Weights(format!("sealing: {e}"));
    let sealer = Sealer::new(key, binding, state.len(), &mut SystemRng).map_err(|e| refused(&e))?;
    let mut sealed = Vec::with_capacity(sealer.length());
    for index in 0.. {
        let read = |at: usize, out: &mut [u8]| {
            out.copy_from_slice(&state[at..][..out.len()]);
            Ok::<_, Infallible>(())
        };
        let Ok(part) = sealer.part(index, read);
        match part {
            Some(part) => sealed.extend(part),
            None => break,
        }
    }
    Ok(sealed)
}

/// Writes the weights of a checkpoint under PyTorch's names.
///
/// # Errors
/// There is no such checkpoint, or it does not open.
pub fn export(args: &ExportArgs) -> Result<(), DesignerError> {
    let owner = args.kept.owner()?;
    let store = &args.kept.checkpoints;
    let vault = Vault::new(open_store(store)?, load_or_make(&args.kept.checkpoint_key)?);
    let bytes = runtime()?.block_on(async {
        let found = vault.find(args.number).await?;
        let none = || {
            let which = args
                .number
                .map_or_else(|| "no checkpoint".into(), |n| format!("no checkpoint {n}"));
            DesignerError::Weights(format!("{store} holds {which}"))
        };
        weights_of(&vault, &found.ok_or_else(none)?, &owner).await
    })?;
    weights::write(&args.out, bytes)
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, DesignerError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| DesignerError::Stopped(e.to_string()))
}
