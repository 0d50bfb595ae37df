//! `mixnn predict`: samples of a model's data, or a picture, sent to where the model is served.

mod client;
mod picture;

pub use picture::Served;

use crate::args::{Format, PredictArgs, WhichSplit};
use crate::{data, output, table};
use client::Client;
use mixnn_data::{Batch, Batches, Data, Pass, Values};
use mixnn_model::Labels;
use mixnn_page::softmax;
use serde_json::{Value, json};
use std::sync::Arc;

/// Numbers of an answer that are shown.
const NUMBERS: usize = 8;

/// Asks for answers, and shows them beside the labels.
pub fn predict(args: &PredictArgs) -> anyhow::Result<()> {
    if args.image.is_some() || args.idx.is_some() {
        return picture::predict(args);
    }
    // Before the runtime: reading data has one of its own.
    let (_, _, data) = data::open(&args.samples.data)?;
    let set = match args.samples.split {
        WhichSplit::Train => &data.train,
        WhichSplit::Test => &data.test,
    };
    let pass = Pass { epoch: None, batch: 1, least: 1, skip: args.samples.skip };
    let batches = Batches::new(Arc::clone(set), pass).take(args.samples.n as usize);
    let batches: Vec<Batch> = batches.collect::<Result<_, _>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows: Vec<Value> = runtime.block_on(async {
        let client = Client::open(&args.url, &args.trust).await?;
        let mut rows = Vec::new();
        for (i, batch) in batches.iter().enumerate() {
            let shape: Vec<usize> = [&[batch.len], set.shape()].concat();
            let answer = client.infer(&shape, &batch.samples).await?;
            rows.push(row(&data, args.samples.skip + i as u64, batch, &answer));
        }
        anyhow::Ok(rows)
    })?;
    match args.samples.data.output {
        Format::Text => text(&rows),
        other => output::value(other, &rows)?,
    }
    Ok(())
}

fn row(data: &Data, number: u64, batch: &Batch, answer: &Value) -> Value {
    let outputs = client::outputs(answer);
    let version = answer["model_version"].clone();
    let mut row = json!({"sample": number, "version": version, "outputs": outputs});
    if let Labels::Class { .. } = data.labels() {
        let name = |id: usize| data.class_names.get(id).cloned().unwrap_or_else(|| id.to_string());
        if let Values::I64(labels) = &batch.targets {
            row["label"] = json!(name(labels.first().map_or(0, |&l| l as usize)));
        }
        if let Some(best) = (0..outputs.len()).max_by(|&a, &b| outputs[a].total_cmp(&outputs[b])) {
            row["answer"] = json!(name(best));
            row["probability"] = json!(softmax(&outputs, best));
        }
    }
    row
}

fn text(rows: &[Value]) {
    let mut shown = table::new_table(&["sample", "label", "answer", "probability", "version"]);
    for row in rows {
        let word = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let answer = match row["answer"].as_str() {
            Some(answer) if row["answer"] == row["label"] => output::good(answer),
            Some(answer) => output::bad(answer),
            None => {
                let outputs = row["outputs"].as_array().map_or(&[][..], Vec::as_slice);
                let few: Vec<String> = outputs.iter().take(NUMBERS).map(Value::to_string).collect();
                few.join(" ")
            }
        };
        let probability = row["probability"]
            .as_f64()
            .map_or_else(|| "-".into(), |p| format!("{:.1} %", 100.0 * p));
        shown.add_row([
            row["sample"].to_string(),
            word("label"),
            answer,
            probability,
            word("version"),
        ]);
    }
    output::line(shown.to_string());
}
