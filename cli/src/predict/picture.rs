//! One picture: from a PNG or JPEG file, or out of an IDX file.

use super::client::{Client, outputs};
use super::softmax;
use crate::args::{Format, PredictArgs};
use crate::{data, output, table};
use anyhow::{Context, bail};
use mixnn_data::{PictureSample, Values, idx};
use serde::Serialize;
use std::io::Read;
use std::path::Path;

/// The largest picture file.
const MAX_FILE: u64 = 64 << 20;
/// Classes that are shown, the likeliest first.
const SHOWN: usize = 10;
/// Characters of the longest bar.
const BAR: f64 = 30.0;

/// What a model takes a picture for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    model: String,
    version: String,
    answer: String,
    /// The likeliest first.
    classes: Vec<Share>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Share {
    class: String,
    probability: f64,
    output: f64,
}

/// Asks what a picture shows.
pub(super) fn predict(args: &PredictArgs) -> anyhow::Result<()> {
    let Some(file) = &args.samples.data.file else {
        bail!("name the model's file with -f: it says how pixels become numbers");
    };
    let dataset = mixnn_crds::parse_file(file)?.spec.training.dataset;
    // Before the runtime: reading data has one of its own. Folders of pictures name their classes.
    let names = match &args.samples.data.data {
        Some(_) => data::open(&args.samples.data)?.2.class_names,
        None => Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        let client = Client::open(args).await?;
        let shape = client.sample_shape().await?;
        let sample = read(args, &PictureSample::of(&dataset, &shape)?)?;
        let shape = [&[1], &shape[..]].concat();
        let answer = client.infer(&shape, &Values::F32(sample)).await?;
        let version = answer["model_version"].as_str().unwrap_or_default().to_owned();
        anyhow::Ok(ranked(&client.model, version, &outputs(&answer), &names))
    })?;
    match args.samples.data.output {
        Format::Text => show(&answer),
        other => output::value(other, &answer)?,
    }
    Ok(())
}

fn read(args: &PredictArgs, how: &PictureSample) -> anyhow::Result<Vec<f32>> {
    let problem = |path: &Path, problem: String| anyhow::anyhow!("{} {problem}", path.display());
    if let Some(path) = &args.image {
        let mut bytes = Vec::new();
        let opened =
            std::fs::File::open(path).and_then(|f| f.take(MAX_FILE + 1).read_to_end(&mut bytes));
        opened.with_context(|| path.display().to_string())?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(problem(path, format!("is longer than {MAX_FILE} bytes")));
        }
        return how.decode(&bytes).map_err(|e| problem(path, e));
    }
    let path = args.idx.as_ref().context("give --image or --idx")?;
    let images = idx::read_images(path)?;
    let size = images.height as usize * images.width as usize;
    let count = images.pixels.len() / size;
    let Some(pixels) = images.pixels.chunks_exact(size).nth(args.index) else {
        bail!(
            "{} holds {count} pictures: --index is from 0 to {}",
            path.display(),
            count.saturating_sub(1)
        );
    };
    how.grey([images.height, images.width], pixels).map_err(|e| problem(path, e))
}

fn ranked(model: &str, version: String, outputs: &[f64], names: &[String]) -> Verdict {
    let name = |i: usize| names.get(i).cloned().unwrap_or_else(|| i.to_string());
    let class =
        |i: usize| Share { class: name(i), probability: softmax(outputs, i), output: outputs[i] };
    let mut classes: Vec<Share> = (0..outputs.len()).map(class).collect();
    classes.sort_by(|a, b| b.output.total_cmp(&a.output));
    let answer = classes.first().map(|c| c.class.clone()).unwrap_or_default();
    Verdict { model: model.to_owned(), version, answer, classes }
}

fn show(verdict: &Verdict) {
    let Verdict { model, version, answer, classes } = verdict;
    let mut shown = table::new_table(&["class", "probability", ""]);
    for class in classes.iter().take(SHOWN) {
        let percent = format!("{:.2} %", 100.0 * class.probability);
        shown.add_row([class.class.clone(), percent, bar(class.probability)]);
    }
    output::line(shown.to_string());
    let more = classes.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!("; {more} classes are less likely") } else { String::new() };
    output::line(format!("{model}, version {version}: {}{rest}", output::good(answer)));
}

/// A bar in eighths of a character.
fn bar(share: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * BAR * 8.0).round() as usize;
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_comes_first_and_shares_sum_to_one() {
        let answer = ranked("net", "6".into(), &[0.0, 2.0, 1.0], &["cat".into(), "dog".into()]);
        let order: Vec<&str> = answer.classes.iter().map(|c| c.class.as_str()).collect();
        assert_eq!((answer.answer.as_str(), order), ("dog", vec!["dog", "2", "cat"]));
        let sum: f64 = answer.classes.iter().map(|c| c.probability).sum();
        assert!((sum - 1.0).abs() < 1e-9);
        assert_eq!(
            (bar(1.0).chars().count(), bar(0.0).as_str(), bar(0.5 / 30.0).as_str()),
            (30, "", "▌")
        );
    }
}
