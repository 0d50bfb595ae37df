//! How fast a served model answers: so many clients, each asking one request after the other over a
//! connection of its own, for so many seconds. Prints a line of JSON.
//!
//! ```text
//! load URL MODEL CLIENTS SECONDS SAMPLES
//! ```

#![allow(clippy::print_stdout)]

use serde_json::{Value, json};
use std::error::Error;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What every client sends: zeros in binary, of the model's own shape.
struct Request {
    url: String,
    header: usize,
    body: bytes::Bytes,
}

impl Request {
    async fn of(client: &reqwest::Client, url: &str, model: &str, samples: usize) -> Outcome<Self> {
        let url = format!("{url}/v2/models/{model}");
        let metadata: Value = client.get(&url).send().await?.error_for_status()?.json().await?;
        let input = &metadata["inputs"][0];
        let sizes = input["shape"].as_array().ok_or("no shape")?.iter().skip(1);
        let sizes: Vec<u64> = sizes.filter_map(Value::as_u64).collect();
        let element = if input["datatype"] == "INT64" { 8 } else { 4 };
        let bytes = samples * sizes.iter().product::<u64>() as usize * element;
        let shape: Vec<u64> = std::iter::once(samples as u64).chain(sizes).collect();
        let binary = json!({ "binary_data_size": bytes });
        let text = json!({
            "inputs": [{"name": input["name"], "datatype": input["datatype"], "shape": shape, "parameters": binary}],
            "parameters": {"binary_data_output": true},
        })
        .to_string();
        let body = [text.as_bytes(), &vec![0; bytes]].concat().into();
        Ok(Self { url: format!("{url}/infer"), header: text.len(), body })
    }

    async fn send(&self, client: &reqwest::Client) -> Outcome<Duration> {
        let start = Instant::now();
        let request = client.post(&self.url).header("Inference-Header-Content-Length", self.header);
        request.body(self.body.clone()).send().await?.error_for_status()?.bytes().await?;
        Ok(start.elapsed())
    }
}

/// One client: asks until the end, and gives how long each answer took.
async fn ask(request: std::sync::Arc<Request>, until: Instant) -> Outcome<Vec<Duration>> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    request.send(&client).await?;
    let mut took = Vec::new();
    while Instant::now() < until {
        took.push(request.send(&client).await?);
    }
    Ok(took)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, model, clients, seconds, samples] = args.as_slice() else {
        return Err("load URL MODEL CLIENTS SECONDS SAMPLES".into());
    };
    let (clients, seconds): (usize, u64) = (clients.parse()?, seconds.parse()?);
    let client = reqwest::Client::builder().no_proxy().build()?;
    let request = Request::of(&client, url, model, samples.parse()?).await?;
    let request = std::sync::Arc::new(request);
    let start = Instant::now();
    let until = start + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..clients).map(|_| tokio::spawn(ask(request.clone(), until))).collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    let elapsed = start.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: f64| {
        let place = ((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1));
        took.get(place).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3)
    };
    let line = json!({
        "clients": clients, "requests": took.len(), "perSecond": took.len() as f64 / elapsed,
        "p50Ms": at(0.5), "p99Ms": at(0.99),
    });
    println!("{line}");
    Ok(())
}
