//! Where the owner's keys come from: files, or in a cluster a Secret that is mounted, or made now.

use crate::args::TrainArgs;
use mixnn_cluster::{Cluster, OwnerKeys};
use mixnn_crds::MixNNModel;
use mixnn_designer::{CheckpointSpec, DesignerError, load_or_make_secret, parse_secret};
use mixnn_nn::OwnerSecret;
use mixnn_vault::Keys;
use std::path::Path;
use std::sync::Arc;

/// The owner's secret, and where checkpoints are kept under which keys.
pub(crate) fn load(
    args: &TrainArgs,
    model: &MixNNModel,
) -> Result<(OwnerSecret, Option<CheckpointSpec>), DesignerError> {
    let secret = &args.model.owner_secret;
    let store = args.checkpoints.checkpoints.as_ref();
    let key = store.map(|_| args.checkpoints.checkpoint_key.as_path());
    let made = match &args.cluster {
        Some(credentials) => make_missing(credentials, model, secret, key)?,
        None => None,
    };
    let owner = match &made {
        Some(made) if !secret.exists() => {
            let problem = |problem| DesignerError::Secret { path: secret.clone(), problem };
            parse_secret(&made.owner_secret).map_err(problem)?
        }
        _ => load_or_make_secret(secret)?,
    };
    let (Some(store), Some(key)) = (store, key) else { return Ok((owner, None)) };
    let keys = match &made {
        Some(made) if !key.exists() => made
            .checkpoint_key
            .parse()
            .map_err(|problem| DesignerError::Secret { path: key.to_owned(), problem })?,
        _ => mixnn_vault::load_or_make(key)?,
    };
    Ok((owner, Some(spec(args, store, keys))))
}

/// In a cluster: makes the Secret if one of its files is missing.
fn make_missing(
    credentials: &Path,
    model: &MixNNModel,
    secret: &Path,
    key: Option<&Path>,
) -> Result<Option<OwnerKeys>, DesignerError> {
    let files: Vec<&Path> = [Some(secret), key].into_iter().flatten().collect();
    if files.iter().all(|file| file.exists()) {
        return Ok(None);
    }
    let cluster = Cluster::connect(credentials, model.clone())?;
    Ok(cluster.make_keys(&files)?)
}

fn spec(args: &TrainArgs, store: &mixnn_place::Place, keys: Keys) -> CheckpointSpec {
    let args = &args.checkpoints;
    CheckpointSpec {
        store: store.clone(),
        keys: Arc::new(keys),
        keep: args.checkpoint_keep,
        accept_older: args.accept_older,
        accept_profile: args.accept_profile,
    }
}
