//! A client of the Open Inference Protocol.

use crate::args::TrustArgs;
use anyhow::{Context, bail};
use mixnn_data::Values;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use std::time::Duration;

/// For one answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Speaks the Open Inference Protocol.
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
    /// The model that is served.
    pub model: String,
}

impl Client {
    /// Finds the model that is served.
    pub async fn open(url: &str, trust: &TrustArgs) -> anyhow::Result<Self> {
        let token = match &trust.token_file {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                Some(text.with_context(|| path.display().to_string())?.trim().to_owned())
            }
            None => None,
        };
        let mut http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        if let Some(path) = &trust.ca {
            let pem = std::fs::read(path).with_context(|| path.display().to_string())?;
            http = http.tls_certs_only([reqwest::Certificate::from_pem(&pem)?]);
        }
        let http = http.build()?;
        let url = url.trim_end_matches('/').to_owned();
        let mut client = Self { http, url, token, model: String::new() };
        let index = client.post("/v2/repository/index", &json!({})).await?;
        let name = index.pointer("/0/name").and_then(Value::as_str);
        name.context("the server serves no model")?.clone_into(&mut client.model);
        Ok(client)
    }

    /// Shape of a sample, as the server says it.
    pub async fn sample_shape(&self) -> anyhow::Result<Vec<usize>> {
        let metadata =
            self.send(self.http.get(self.at(&format!("/v2/models/{}", self.model)))).await?;
        let shape = metadata.pointer("/inputs/0/shape").and_then(Value::as_array);
        let sizes = shape.and_then(|s| s.get(1..)).context("the server tells no shape")?;
        let size = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
        sizes.iter().map(size).collect::<Option<_>>().context("the server's shape is not fixed")
    }

    /// The answer to a batch; `shape` begins with how many samples it has.
    pub async fn infer(&self, shape: &[usize], samples: &Values) -> anyhow::Result<Value> {
        let (datatype, values) = match samples {
            Values::F32(values) => ("FP32", json!(values)),
            Values::I64(values) => ("INT64", json!(values)),
        };
        let input = json!({"name": "input", "datatype": datatype, "shape": shape, "data": values});
        self.post(&format!("/v2/models/{}/infer", self.model), &json!({"inputs": [input]})).await
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.http.post(self.at(path)).json(body)).await
    }

    async fn send(&self, mut request: RequestBuilder) -> anyhow::Result<Value> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.with_context(|| format!("asking {}", self.url))?;
        let (status, url) = (response.status(), response.url().clone());
        let answer: Value = response.json().await.unwrap_or_default();
        if status.is_success() {
            return Ok(answer);
        }
        let said = answer["error"].as_str().unwrap_or("no reason was given");
        bail!("{url} answers {status}: {said}")
    }
}

/// The numbers of an answer.
pub fn outputs(answer: &Value) -> Vec<f64> {
    let values = answer.pointer("/outputs/0/data").and_then(Value::as_array);
    values.into_iter().flatten().filter_map(Value::as_f64).collect()
}
