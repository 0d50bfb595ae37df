//! A server in this process, in front of a model that doubles its input.

#![allow(clippy::unwrap_used, dead_code)]

use futures_util::future::BoxFuture;
use mixnn_serving::{
    Answer, Authenticator, Backend, BackendError, Batching, Datatype, Limits, ModelInfo, Server,
    ServerConfig, Tensor, TensorInfo, Tls, Version,
};
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Doubles: `y = 2 x`, for samples of three numbers.
pub struct Double {
    info: ModelInfo,
    /// Samples of each batch that came in.
    pub batches: Mutex<Vec<usize>>,
    /// A batch takes one of these.
    pub leave: Semaphore,
    pub broken: AtomicBool,
    pub version: Mutex<Arc<str>>,
}

impl Double {
    pub fn new() -> Arc<Self> {
        let tensor = |name: &str| TensorInfo {
            name: name.into(),
            datatype: Datatype::Fp32,
            sample: vec![3],
            below: None,
        };
        let info = ModelInfo {
            name: "double".into(),
            platform: "test".into(),
            inputs: vec![tensor("x")],
            outputs: vec![tensor("y")],
        };
        Arc::new(Self {
            info,
            batches: Mutex::default(),
            leave: Semaphore::new(1 << 20),
            broken: AtomicBool::new(false),
            version: Mutex::new("1".into()),
        })
    }

    /// Nothing leaves before it is let go.
    pub fn hold(&self) {
        self.leave.forget_permits(1 << 20);
    }

    pub fn let_go(&self) {
        self.leave.add_permits(1 << 20);
    }
}

/// The orphan rule wants a type of our own around the `Arc`.
pub struct Shared(pub Arc<Double>);

impl Backend for Shared {
    fn model(&self) -> &ModelInfo {
        &self.0.info
    }

    fn versions(&self) -> Vec<Version> {
        let ready = self.0.version.lock().unwrap().clone();
        let version = |name: &str| {
            let ready = *name == *ready;
            let reason = if ready { "" } else { "another version is served" };
            Version { name: name.into(), served: ready, ready, reason: reason.into() }
        };
        vec![version("1"), version("2")]
    }

    fn infer(&self, inputs: Vec<Tensor>) -> BoxFuture<'static, Result<Answer, BackendError>> {
        let model = self.0.clone();
        model.batches.lock().unwrap().push(inputs[0].samples());
        Box::pin(async move {
            model.leave.acquire().await.unwrap().forget();
            if model.broken.load(Ordering::Acquire) {
                let message = "layer \"a\" is being replaced".into();
                return Err(BackendError::Unavailable {
                    message,
                    retry_after: Duration::from_secs(3),
                });
            }
            let double = |b: &[u8; 4]| (2.0 * f32::from_le_bytes(*b)).to_le_bytes();
            let data: Vec<u8> = inputs[0].data.as_chunks::<4>().0.iter().flat_map(double).collect();
            let version = model.version.lock().unwrap().clone();
            Ok(Answer { version, outputs: vec![Tensor { data: data.into(), ..inputs[0].clone() }] })
        })
    }
}

/// What a test changes of the defaults.
#[derive(Default)]
pub struct Setting {
    pub batching: Batching,
    pub limits: Limits,
    pub authenticator: Option<Arc<dyn Authenticator>>,
    pub tls: Option<Tls>,
}

pub fn start(model: &Arc<Double>, setting: Setting) -> (Server, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let scheme = if setting.tls.is_some() { "https" } else { "http" };
    let server = Server::start(ServerConfig {
        listener,
        tls: setting.tls,
        authenticator: setting.authenticator,
        batching: setting.batching,
        limits: setting.limits,
        backend: Arc::new(Shared(model.clone())),
        drain: Duration::from_secs(30),
    })
    .unwrap();
    let url = format!("{scheme}://{}", server.address());
    (server, url)
}

pub fn request(samples: &[[f32; 3]]) -> Value {
    let data: Vec<f32> = samples.iter().flatten().copied().collect();
    let shape = [samples.len(), 3];
    json!({ "inputs": [{ "name": "x", "datatype": "FP32", "shape": shape, "data": data }] })
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// Status and JSON of the answer.
pub async fn post(url: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let url = format!("{url}/v2/models/double/infer");
    let response = client().post(url).body(body).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

pub async fn infer(url: &str, samples: &[[f32; 3]]) -> (u16, Value) {
    post(url, request(samples).to_string()).await
}
