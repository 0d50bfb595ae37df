//! `mixnn import` and `mixnn export`: the designer's work, which alone reads weights.

use super::children::once;
use super::folder::RunFolder;
use super::{Ending, absolute, binary, owner_flags};
use crate::args::{ExportArgs, ImportArgs, ModelArgs};
use crate::{cluster, output};
use anyhow::{Context, bail};
use mixnn_place::Place;
use std::ffi::OsString;
use std::path::PathBuf;

/// In a run's folder: the weights that it began with, under the model's names.
pub const INITIAL: &str = "initial.safetensors";

/// Makes a run that begins with weights from a file.
pub async fn import(args: ImportArgs) -> anyhow::Result<Ending> {
    let model = mixnn_crds::parse_file(&args.model.file)?;
    let folder = RunFolder::make(&args.model, None, &model)?;
    let store = args.checkpoints.as_ref();
    bring_in(&args.model, (&args.weights, &args.rename), store, &folder).await?;
    let elsewhere = store.map_or_else(String::new, |store| format!(" --checkpoints {store}"));
    output::note(format!(
        "go on with it by: mixnn run --resume {} -f {}{elsewhere}",
        folder.path().display(),
        args.model.file.display()
    ));
    Ok(Ending::Good)
}

/// Puts weights into a run's checkpoints, before its first step.
pub async fn bring_in(
    model: &ModelArgs,
    (weights, rename): (&PathBuf, &[String]),
    store: Option<&Place>,
    folder: &RunFolder,
) -> anyhow::Result<()> {
    let mut flags: Vec<OsString> = vec!["import".into()];
    flags.extend(owner_flags(model, folder)?);
    flags.extend(["--weights".into(), absolute(weights)?.into()]);
    for rule in rename {
        flags.extend(["--rename".into(), rule.into()]);
    }
    let store = store.cloned().unwrap_or_else(|| Place::Folder(folder.path().join("checkpoints")));
    let store = store.absolute().with_context(|| format!("the path {store}"))?;
    flags.extend(["--checkpoints".into(), store.to_flag()]);
    flags.extend(["--checkpoint-key".into(), folder.path().join("checkpoint-key").into()]);
    flags.extend(["--copy".into(), folder.path().join(INITIAL).into()]);
    once(&binary("mixnn-designer")?, flags).await
}

/// Writes a checkpoint's weights.
pub async fn export(args: ExportArgs) -> anyhow::Result<Ending> {
    if let Some(model) = args.place.model(&args.run) {
        cluster::export(&args.place, model, args.number, &args.out).await?;
        return Ok(Ending::Good);
    }
    let run = absolute(&args.run)?;
    let within = |asked: &Option<PathBuf>, name: &str| match asked {
        Some(path) => absolute(path),
        None => Ok(run.join(name)),
    };
    let key = within(&args.checkpoint_key, "checkpoint-key")?;
    let secret = within(&args.owner_secret, "owner-secret")?;
    for path in [&key, &secret] {
        if !path.is_file() {
            bail!("{} is missing: give the folder of a run", path.display());
        }
    }
    let store = args.checkpoints.clone();
    let store = store.unwrap_or_else(|| Place::Folder(run.join("checkpoints")));
    let store = store.absolute().with_context(|| format!("the path {store}"))?;
    let out = args.out.absolute().with_context(|| format!("the path {}", args.out))?;
    let mut flags: Vec<OsString> = vec![
        "export".into(),
        "--owner-secret".into(),
        secret.into(),
        "--checkpoints".into(),
        store.to_flag(),
        "--checkpoint-key".into(),
        key.into(),
        "--out".into(),
        out.to_flag(),
    ];
    if let Some(number) = args.number {
        flags.extend(["--number".into(), number.to_string().into()]);
    }
    once(&binary("mixnn-designer")?, flags).await?;
    output::note(format!("the weights are in {}", args.out));
    Ok(Ending::Good)
}
