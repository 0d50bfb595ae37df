//! `mixnn convert`: a model's file as far as a file of weights tells it.

use crate::args::ConvertArgs;
use crate::output;
use anyhow::{Context, bail};
use mixnn_weights::Skeleton;
use serde_json::json;
use std::fmt::Write;

/// Writes the skeleton, with what it could not tell as comments.
pub fn convert(args: &ConvertArgs) -> anyhow::Result<()> {
    let shown = args.file.display();
    let bytes = std::fs::read(&args.file).with_context(|| shown.to_string())?;
    let skeleton =
        mixnn_weights::skeleton(&bytes).map_err(|error| anyhow::anyhow!("{shown}: {error}"))?;
    if skeleton.layers.is_empty() {
        bail!("{shown}: no layer can be told from its tensors: {}", skeleton.unknown.join("; "));
    }
    let text = text(&name(args), &skeleton)?;
    let Some(out) = &args.out else {
        output::line(text.trim_end());
        return Ok(());
    };
    if out.exists() && !args.force {
        bail!("{} is there already: give another --out, or --force", out.display());
    }
    std::fs::write(out, text).with_context(|| format!("writing {}", out.display()))?;
    output::note(format!(
        "{} layers are in {}; its comments say what is to be filled in; then: mixnn validate -f {0}",
        skeleton.layers.len(),
        out.display()
    ));
    Ok(())
}

/// A DNS label from the file's name.
fn name(args: &ConvertArgs) -> String {
    let stem = args.file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let dashed: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(50).collect();
    let name = dashed.trim_matches('-');
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}

fn text(name: &str, skeleton: &Skeleton) -> anyhow::Result<String> {
    let mut out =
        String::from("# What the file of weights does not say, and is to be filled in:\n");
    for unknown in &skeleton.unknown {
        writeln!(out, "# - {unknown}")?;
    }
    out.push_str("# - training: what the model learns from, and how\n");
    if !skeleton.rename.is_empty() {
        out.push_str("# The file's names become this model's by:\n");
        for rule in &skeleton.rename {
            writeln!(out, "#   --rename {rule}")?;
        }
    }
    let model = json!({
        "apiVersion": "mixnn.dev/v1alpha1",
        "kind": "MixNNModel",
        "metadata": {"name": name},
        "spec": {
            "layers": skeleton.layers,
            "training": {
                "dataset": {"idx": {"classes": 10}},
                "batchSize": 64, "microBatches": 4, "epochs": 1,
                "optimizer": {"sgd": {"lr": 0.01, "momentum": 0.9}},
            },
        },
    });
    out.push_str(&mixnn_crds::yaml_of(&model)?);
    Ok(out)
}
