//! `mixnn predict`: samples of a model's data, sent to where the model is served.

use crate::args::{Format, PredictArgs, WhichSplit};
use crate::{data, output, table};
use anyhow::{Context, bail};
use mixnn_data::{Batch, Batches, Data, Pass, Values};
use mixnn_model::Labels;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Numbers of an answer that are shown.
const NUMBERS: usize = 8;

/// Asks for answers, and shows them beside the labels.
pub fn predict(args: &PredictArgs) -> anyhow::Result<()> {
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
        let client = Client::open(args).await?;
        let mut rows = Vec::new();
        for (i, batch) in batches.iter().enumerate() {
            let answer = client.infer(set.shape(), batch).await?;
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

/// Speaks the Open Inference Protocol.
struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
    model: String,
}

impl Client {
    /// Finds the model that is served.
    async fn open(args: &PredictArgs) -> anyhow::Result<Self> {
        let token = match &args.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                Some(text.with_context(|| path.display().to_string())?.trim().to_owned())
            }
            None => None,
        };
        let mut http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        if let Some(path) = &args.ca {
            let pem = std::fs::read(path).with_context(|| path.display().to_string())?;
            http = http.tls_certs_only([reqwest::Certificate::from_pem(&pem)?]);
        }
        let http = http.build()?;
        let url = args.url.trim_end_matches('/').to_owned();
        let mut client = Self { http, url, token, model: String::new() };
        let index = client.post("/v2/repository/index", &json!({})).await?;
        let name = index.pointer("/0/name").and_then(Value::as_str);
        name.context("the server serves no model")?.clone_into(&mut client.model);
        Ok(client)
    }

    async fn infer(&self, sample: &[usize], batch: &Batch) -> anyhow::Result<Value> {
        let shape: Vec<usize> = [&[batch.len], sample].concat();
        let (datatype, values) = match &batch.samples {
            Values::F32(values) => ("FP32", json!(values)),
            Values::I64(values) => ("INT64", json!(values)),
        };
        let input = json!({"name": "input", "datatype": datatype, "shape": shape, "data": values});
        self.post(&format!("/v2/models/{}/infer", self.model), &json!({"inputs": [input]})).await
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.url);
        let mut request = self.http.post(&url).json(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.with_context(|| format!("asking {url}"))?;
        let status = response.status();
        let answer: Value = response.json().await.unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let said = answer["error"].as_str().unwrap_or("no reason was given");
        bail!("{url} answers {status}: {said}")
    }
}

fn row(data: &Data, number: u64, batch: &Batch, answer: &Value) -> Value {
    let outputs: Vec<f64> = answer
        .pointer("/outputs/0/data")
        .and_then(Value::as_array)
        .map(|values| values.iter().filter_map(Value::as_f64).collect())
        .unwrap_or_default();
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

/// The share of one output in the softmax of all.
fn softmax(outputs: &[f64], at: usize) -> f64 {
    let sum: f64 = outputs.iter().map(|o| (o - outputs[at]).exp()).sum();
    1.0 / sum
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
