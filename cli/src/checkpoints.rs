//! `mixnn checkpoints`: look at a run's checkpoints, check them, remove old ones.

use crate::args::{CheckpointsCommand, Format, VaultArgs};
use crate::{cluster, output};
use anyhow::bail;
use comfy_table::{Table, presets};
use mixnn_page::Checkpoint;
use mixnn_place::Place;
use mixnn_vault::{Listed, Vault, VaultError, load_or_make, open_store};
use serde_json::{Value, json};
use std::process::ExitCode;

/// Runs one of the commands.
pub async fn checkpoints(command: CheckpointsCommand) -> anyhow::Result<ExitCode> {
    match command {
        CheckpointsCommand::Ls { vault, place } => match place.model(&vault.run) {
            Some(model) => {
                let listed = cluster::checkpoints(&place, model).await?;
                print(vault.output, &listed.iter().map(shown).collect::<Vec<_>>());
                Ok(ExitCode::SUCCESS)
            }
            None => list(&vault).await,
        },
        CheckpointsCommand::Verify(args) => verify(&args).await,
        CheckpointsCommand::Prune { vault, keep } => prune(&vault, keep).await,
    }
}

fn open(args: &VaultArgs) -> anyhow::Result<Vault> {
    let key = args.checkpoint_key.clone().unwrap_or_else(|| args.run.join("checkpoint-key"));
    if !key.exists() {
        bail!("{} is missing: give the folder of a run, or --checkpoint-key FILE", key.display());
    }
    let store = args.checkpoints.clone();
    let store = store.unwrap_or_else(|| Place::Folder(args.run.join("checkpoints")));
    Ok(Vault::new(open_store(&store)?, load_or_make(&key)?))
}

fn row(listed: &Listed) -> Value {
    match &listed.manifest {
        Ok(m) => json!({
            "number": m.number, "step": m.step, "term": m.term, "written": m.written,
            "layers": m.layers.len(), "bytes": m.layers.iter().map(|l| l.bytes).sum::<u64>(),
        }),
        Err(error) => json!({"number": listed.number, "error": error.to_string()}),
    }
}

/// One of a cluster, as those of a folder are shown.
fn shown(checkpoint: &Checkpoint) -> Value {
    match &checkpoint.error {
        None => json!(checkpoint),
        Some(error) => json!({"number": checkpoint.number, "error": error}),
    }
}

async fn list(args: &VaultArgs) -> anyhow::Result<ExitCode> {
    let rows: Vec<Value> = open(args)?.list().await?.iter().map(row).collect();
    print(args.output, &rows);
    Ok(ExitCode::SUCCESS)
}

async fn verify(args: &VaultArgs) -> anyhow::Result<ExitCode> {
    let vault = open(args)?;
    let mut rows = Vec::new();
    let mut good = true;
    for listed in vault.list().await? {
        let checked: Result<(), VaultError> = match &listed.manifest {
            Ok(manifest) => vault.verify(manifest).await,
            Err(_) => Ok(()),
        };
        let mut shown = row(&listed);
        if let Err(error) = &checked {
            shown["error"] = json!(error.to_string());
        }
        good &= shown.get("error").is_none();
        shown["whole"] = json!(shown.get("error").is_none());
        rows.push(shown);
    }
    print(args.output, &rows);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn prune(args: &VaultArgs, keep: usize) -> anyhow::Result<ExitCode> {
    let removed = open(args)?.prune(keep).await?;
    let rows: Vec<Value> = removed.iter().map(|number| json!({"number": number})).collect();
    match args.output {
        Format::Text => output::note(format!("removed {} checkpoints", removed.len())),
        Format::Json | Format::Yaml => print(args.output, &rows),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(format: Format, rows: &[Value]) {
    match format {
        Format::Text => {}
        Format::Json => {
            return output::line(serde_json::to_string_pretty(rows).unwrap_or_default());
        }
        Format::Yaml => {
            return output::line(mixnn_crds::yaml_of(&rows).unwrap_or_default().trim_end());
        }
    }
    if rows.is_empty() {
        return output::note("no checkpoints");
    }
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_header(["number", "step", "term", "layers", "bytes", "state"]);
    for row in rows {
        let cell = |name: &str| row.get(name).map_or_else(String::new, Value::to_string);
        let state = match (row.get("error").and_then(Value::as_str), row.get("whole")) {
            (Some(error), _) => error.to_owned(),
            (None, Some(_)) => "whole".to_owned(),
            (None, None) => String::new(),
        };
        table.add_row(
            ["number", "step", "term", "layers", "bytes"].map(cell).into_iter().chain([state]),
        );
    }
    output::line(table.to_string());
}
