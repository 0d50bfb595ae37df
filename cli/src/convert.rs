//! `mixnn convert`: a model's file from a program of `torch.export`, or as far as a file of weights tells it.

use crate::args::ConvertArgs;
use crate::output;
use anyhow::{Context, bail};
use mixnn_weights::{Program, ProgramFile, Skeleton, SkeletonLayer};
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

/// What a zip begins with.
const ZIP: [u8; 4] = *b"PK\x03\x04";

/// A model's file, and what is to be said of it.
struct Converted {
    layers: Vec<SkeletonLayer>,
    /// What a person has to fill in, or to look at.
    open: Vec<String>,
    rename: Vec<String>,
    dataset: Value,
}

/// Writes the model's file, with what could not be told as comments.
pub fn convert(args: &ConvertArgs) -> anyhow::Result<()> {
    let shown = args.file.display().to_string();
    let mut file = File::open(&args.file).with_context(|| shown.clone())?;
    let mut start = [0; 4];
    let is_zip = file.read_exact(&mut start).is_ok() && start == ZIP;
    file.rewind()?;
    let converted = if is_zip {
        program(args, file).with_context(|| shown.clone())?
    } else {
        if args.weights.is_some() {
            bail!(
                "{shown} is no program of torch.export.save; of a file of weights, mixnn import takes the weights"
            );
        }
        weights(&args.file).with_context(|| shown.clone())?
    };
    if converted.layers.is_empty() {
        bail!("{shown}: no layer can be told from it: {}", converted.open.join("; "));
    }
    let text = text(&name(args), &converted)?;
    let Some(out) = &args.out else {
        output::line(text.trim_end());
        return Ok(());
    };
    write(out, text.as_bytes(), args.force)?;
    output::note(format!(
        "{} layers are in {shown}; its comments say what is to be filled in; then: mixnn validate -f {shown}",
        converted.layers.len(),
        shown = out.display(),
    ));
    Ok(())
}

fn write(out: &Path, bytes: &[u8], force: bool) -> anyhow::Result<()> {
    if out.exists() && !force {
        bail!("{} is there already: give another name, or --force", out.display());
    }
    std::fs::write(out, bytes).with_context(|| format!("writing {}", out.display()))
}

fn program(args: &ConvertArgs, file: File) -> anyhow::Result<Converted> {
    let mut file = ProgramFile::read(BufReader::new(file))?;
    if let Some(out) = &args.weights {
        write(out, &file.weights()?, args.force)?;
        output::note(format!("its weights are in {}", out.display()));
    }
    let Program { layers, unknown, input, output, .. } = file.program().clone();
    let mut open: Vec<String> =
        unknown.into_iter().map(|unknown| format!("not converted: {unknown}")).collect();
    let (dataset, known) = dataset(&input, &output);
    if !known {
        open.push(format!(
            "training.dataset: samples of shape {input:?}, answers of shape {output:?}"
        ));
    }
    Ok(Converted { layers, open, rename: Vec::new(), dataset })
}

/// Data of such samples, and whether they are known to be so.
fn dataset(input: &[usize], output: &[usize]) -> (Value, bool) {
    match (input, output) {
        ([1, _, _], [classes @ 2..=256]) => (json!({"idx": {"classes": classes}}), true),
        ([3, height, width], [classes]) if *classes >= 2 => {
            let files = json!({"train": "train", "test": "test"});
            let images = json!({"files": files, "size": [height, width], "channels": "Rgb", "classes": classes});
            (json!({ "images": images }), true)
        }
        _ => (json!({"idx": {"classes": 10}}), false),
    }
}

fn weights(path: &Path) -> anyhow::Result<Converted> {
    let bytes = std::fs::read(path)?;
    let Skeleton { layers, unknown: open, rename } = mixnn_weights::skeleton(&bytes)?;
    Ok(Converted { layers, open, rename, dataset: json!({"idx": {"classes": 10}}) })
}

/// A DNS label from the file's name.
fn name(args: &ConvertArgs) -> String {
    let stem = args.file.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let dashed: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(50).collect();
    let name = dashed.trim_matches('-');
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}

fn text(name: &str, converted: &Converted) -> anyhow::Result<String> {
    let mut out =
        String::from("# What the file does not say, or says otherwise, and is to be filled in:\n");
    for open in &converted.open {
        writeln!(out, "# - {open}")?;
    }
    out.push_str("# - training: what the model learns from, and how\n");
    if !converted.rename.is_empty() {
        out.push_str("# The file's names become this model's by:\n");
        for rule in &converted.rename {
            writeln!(out, "#   --rename {rule}")?;
        }
    }
    let model = json!({
        "apiVersion": "mixnn.dev/v1alpha1",
        "kind": "MixNNModel",
        "metadata": {"name": name},
        "spec": {
            "layers": converted.layers,
            "training": {
                "dataset": converted.dataset,
                "batchSize": 64, "microBatches": 4, "epochs": 1,
                "optimizer": {"sgd": {"lr": 0.01, "momentum": 0.9}},
            },
        },
    });
    out.push_str(&mixnn_crds::yaml_of(&model)?);
    Ok(out)
}
