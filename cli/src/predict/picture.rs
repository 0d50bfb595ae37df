//! One picture: from a PNG or JPEG file, or out of an IDX file.

use super::client::{Client, outputs};
use crate::args::{Format, PredictArgs, TrustArgs};
use crate::{data, output, table};
use anyhow::{Context, bail};
use mixnn_data::{PictureSample, Values};
use mixnn_model::DatasetSpec;
use mixnn_page::Verdict;
use std::io::Read;
use std::path::Path;

/// The largest picture file.
const MAX_FILE: u64 = 64 << 20;
/// Classes that are shown, the likeliest first.
const SHOWN: usize = 10;
/// Characters of the longest bar.
const BAR: f64 = 30.0;

/// A model that is served somewhere, and what its pictures are like.
pub struct Served {
    /// Where.
    pub url: String,
    /// Whom to trust, what to show.
    pub trust: TrustArgs,
    /// How pixels become numbers.
    pub dataset: DatasetSpec,
    /// Names of classes, if they are known.
    pub names: Vec<String>,
}

impl Served {
    /// What it takes the picture for that `read` makes a sample of.
    pub async fn judge(
        &self,
        read: impl FnOnce(PictureSample) -> anyhow::Result<Vec<f32>> + Send + 'static,
    ) -> anyhow::Result<Verdict> {
        let client = Client::open(&self.url, &self.trust).await?;
        let shape = client.sample_shape().await?;
        let how = PictureSample::of(&self.dataset, &shape)?;
        let sample = tokio::task::spawn_blocking(move || read(how)).await??;
        let shape = [&[1], &shape[..]].concat();
        let answer = client.infer(&shape, &Values::F32(sample)).await?;
        let version = answer["model_version"].as_str().unwrap_or_default().to_owned();
        Ok(Verdict::ranked(&client.model, version, &outputs(&answer), &self.names))
    }
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
    let served = Served { url: args.url.clone(), trust: args.trust.clone(), dataset, names };
    let (image, idx, index) = (args.image.clone(), args.idx.clone(), args.index);
    let read = move |how| read(image.as_deref(), idx.as_deref(), index, &how);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(served.judge(read))?;
    match args.samples.data.output {
        Format::Text => show(&answer),
        other => output::value(other, &answer)?,
    }
    Ok(())
}

fn read(
    image: Option<&Path>,
    idx: Option<&Path>,
    index: usize,
    how: &PictureSample,
) -> anyhow::Result<Vec<f32>> {
    let problem = |path: &Path, problem: String| anyhow::anyhow!("{} {problem}", path.display());
    if let Some(path) = image {
        let mut bytes = Vec::new();
        let opened =
            std::fs::File::open(path).and_then(|f| f.take(MAX_FILE + 1).read_to_end(&mut bytes));
        opened.with_context(|| path.display().to_string())?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(problem(path, format!("is longer than {MAX_FILE} bytes")));
        }
        return how.decode(&bytes).map_err(|e| problem(path, e));
    }
    let path = idx.context("give --image or --idx")?;
    let images = mixnn_data::idx::read_images(path)?;
    let size = images.height as usize * images.width as usize;
    let count = images.pixels.len() / size;
    let Some(pixels) = images.pixels.chunks_exact(size).nth(index) else {
        bail!(
            "{} holds {count} pictures: --index is from 0 to {}",
            path.display(),
            count.saturating_sub(1)
        );
    };
    how.grey([images.height, images.width], pixels).map_err(|e| problem(path, e))
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
    fn bars_are_as_long_as_shares_are_large() {
        assert_eq!(
            (bar(1.0).chars().count(), bar(0.0).as_str(), bar(0.5 / 30.0).as_str()),
            (30, "", "▌")
        );
    }
}
