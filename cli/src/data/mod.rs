//! `mixnn data`.

mod preview;

pub use preview::preview;

use crate::args::{DataArgs, DigitsArgs, Format};
use crate::output;
use crate::progress::spin;
use crate::table::new_table;
use mixnn_data::{Batches, Data, Dataset, Pass, Place, Split, Values, digits, idx};
use mixnn_model::{DatasetSpec, Labels};
use serde::Serialize;
use std::sync::Arc;

/// Writes generated digits as IDX files.
pub fn digits(args: &DigitsArgs) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.out)?;
    let splits = [
        (Split::Train, args.train, idx::TRAIN_IMAGES, idx::TRAIN_LABELS),
        (Split::Test, args.test, idx::TEST_IMAGES, idx::TEST_LABELS),
    ];
    for (split, n, images, labels) in splits {
        let data = digits::generate(args.seed, split, n as usize);
        let side = digits::SIDE as u32;
        let at =
            |name: &str| args.out.join(if args.gzip { format!("{name}.gz") } else { name.into() });
        let pictures = idx::Images { height: side, width: side, pixels: data.pixels };
        idx::write_images(&at(images), &pictures, args.gzip)?;
        idx::write_labels(&at(labels), &data.labels, args.gzip)?;
        output::line(format!(
            "{} samples in {} and {}",
            n,
            at(images).display(),
            at(labels).display()
        ));
    }
    Ok(())
}

/// What is told of a data set.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    format: &'static str,
    place: Option<String>,
    /// Shape of a sample.
    sample: String,
    target: String,
    train: Part,
    test: Part,
    classes: Vec<Class>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    samples: u64,
    blocks: usize,
}

/// A class and how many samples it has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Class {
    name: String,
    train: u64,
    test: u64,
}

/// Shows what a model's data are.
pub fn ls(args: &DataArgs) -> anyhow::Result<()> {
    let (spec, place, data) = open(args)?;
    let listing = Listing {
        format: spec.name(),
        place: place.map(|p| p.to_string()),
        sample: data.sample_shape()?.to_string(),
        target: data.labels().to_string(),
        train: Part { samples: data.train.len(), blocks: data.train.blocks() },
        test: Part { samples: data.test.len(), blocks: data.test.blocks() },
        classes: if args.count { count(&data)? } else { Vec::new() },
    };
    match args.output {
        Format::Text => show(&listing),
        other => output::value(other, &listing)?,
    }
    Ok(())
}

fn show(listing: &Listing) {
    let mut rows = new_table(&["", "train", "test"]);
    let (a, b) = (&listing.train, &listing.test);
    rows.add_row(["samples".to_owned(), a.samples.to_string(), b.samples.to_string()]);
    rows.add_row(["blocks".to_owned(), a.blocks.to_string(), b.blocks.to_string()]);
    for class in &listing.classes {
        rows.add_row([class.name.clone(), class.train.to_string(), class.test.to_string()]);
    }
    let place = listing.place.as_deref().unwrap_or("generated");
    output::line(format!("{}, {place}", listing.format));
    output::line(format!("a sample: {}; to be told: {}", listing.sample, listing.target));
    output::line(rows.to_string());
}

/// Reads all samples and counts those of each class.
fn count(data: &Data) -> anyhow::Result<Vec<Class>> {
    let Labels::Class { classes } = data.labels() else { return Ok(Vec::new()) };
    let of = |set: &Arc<Dataset>| -> anyhow::Result<Vec<u64>> {
        let mut counts = vec![0; classes];
        let pass = Pass { epoch: None, batch: 256, least: 1, skip: 0 };
        for batch in Batches::new(Arc::clone(set), pass) {
            if let Values::I64(ids) = batch?.targets {
                ids.iter().for_each(|&id| counts[id as usize] += 1);
            }
        }
        Ok(counts)
    };
    let (train, test) = (of(&data.train)?, of(&data.test)?);
    let class = |(i, (train, test)): (usize, (u64, u64))| Class {
        name: data.class_names.get(i).map_or_else(|| i.to_string(), Clone::clone),
        train,
        test,
    };
    Ok(train.into_iter().zip(test).enumerate().map(class).collect())
}

/// The data of a model; without one, IDX files of a place, or generated digits.
pub fn open(args: &DataArgs) -> anyhow::Result<(DatasetSpec, Option<Place>, Data)> {
    let (spec, place) = match &args.file {
        Some(file) => {
            let training = mixnn_crds::parse_file(file)?.spec.training;
            let place = mixnn_data::place_of(&training, args.data.as_ref())?;
            (training.dataset, place)
        }
        None => (guess(args.data.as_ref())?, args.data.clone()),
    };
    let place = if spec.is_generated() { None } else { place };
    let spinner = spin("reading data");
    let data = Data::open(&spec, place.as_ref(), &mut |reading| {
        spinner
            .set_message(format!("{}: {} of {} bytes", reading.what, reading.done, reading.total));
        spinner.tick();
    });
    spinner.finish_and_clear();
    Ok((spec, place, data?))
}

fn guess(place: Option<&Place>) -> anyhow::Result<DatasetSpec> {
    let spec = match place {
        Some(_) => serde_json::json!({"idx": {"classes": 256}}),
        None => serde_json::json!({"digits": {"train": 1000, "test": 200}}),
    };
    Ok(serde_json::from_value(spec)?)
}
