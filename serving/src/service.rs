//! What both protocols do: which model, which version, is it ready, compute.

use crate::batcher::Batcher;
use crate::request::{Most, shortened};
use crate::{Answer, Backend, Batching, InferError, Metrics, ModelInfo, Tensor, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The server's name in its metadata.
pub(crate) const NAME: &str = "mixnn";
/// The extensions of the protocol that it knows.
pub(crate) const EXTENSIONS: [&str; 2] = ["binary_tensor_data", "model_repository(index)"];

/// One served model.
pub(crate) struct Service {
    backend: Arc<dyn Backend>,
    batcher: Batcher,
    most: Most,
    pub(crate) metrics: Arc<Metrics>,
    ending: AtomicBool,
}

impl Service {
    pub(crate) fn new(backend: Arc<dyn Backend>, how: Batching, metrics: Arc<Metrics>) -> Self {
        let batcher = Batcher::start(backend.clone(), how, metrics.clone());
        let most = Most { samples: how.max_size };
        Self { backend, batcher, most, metrics, ending: AtomicBool::new(false) }
    }

    /// No longer ready from now on.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// The bound on one request's samples.
    pub(crate) const fn most(&self) -> Most {
        self.most
    }

    /// The model of this name.
    pub(crate) fn model(&self, name: &str) -> Result<&ModelInfo, InferError> {
        let model = self.backend.model();
        if model.name == name {
            return Ok(model);
        }
        let name = shortened(name);
        Err(InferError::NotFound(format!("no model '{name}'; this server serves '{}'", model.name)))
    }

    /// The model's name.
    pub(crate) fn model_name(&self) -> &str {
        &self.backend.model().name
    }

    /// What the model takes and gives.
    pub(crate) fn info(&self) -> &ModelInfo {
        self.backend.model()
    }

    /// The model's versions, oldest first.
    pub(crate) fn versions(&self) -> Vec<Version> {
        self.backend.versions()
    }

    /// One version of the model; the newest that is ready if none is named. Empty names none.
    pub(crate) fn version(&self, named: Option<&str>) -> Result<Version, InferError> {
        let versions = self.backend.versions();
        let named = named.filter(|n| !n.is_empty());
        let Some(named) = named else {
            let newest = versions.iter().rev().find(|v| v.ready).or(versions.last()).cloned();
            return newest
                .ok_or_else(|| InferError::NotFound("the model has no version yet".into()));
        };
        let known: Vec<&str> = versions.iter().map(|v| v.name.as_str()).collect();
        let unknown = || {
            let (named, known) = (shortened(named), known.join(", "));
            InferError::NotFound(format!("no version '{named}' of this model; there is {known}"))
        };
        versions.iter().find(|v| v.name == named).cloned().ok_or_else(unknown)
    }

    /// Whether requests can be answered now.
    pub(crate) fn ready(&self) -> bool {
        !self.ending.load(Ordering::Acquire) && self.backend.versions().iter().any(|v| v.ready)
    }

    /// Computes; `inputs` are checked and in the model's order.
    pub(crate) async fn infer(
        &self,
        version: Option<&str>,
        inputs: Vec<Tensor>,
    ) -> Result<Answer, InferError> {
        let named = version.filter(|n| !n.is_empty());
        if named.is_some() {
            let version = self.version(named)?;
            if !version.served {
                let message =
                    format!("version '{}' is not served: {}", version.name, version.reason);
                return Err(InferError::NotFound(message));
            }
        }
        let answer = self.batcher.infer(inputs).await?;
        match named {
            // A newer one was taken into use meanwhile.
            Some(named) if *named != *answer.version => {
                Err(InferError::NotFound(format!("version '{named}' is no longer served")))
            }
            _ => Ok(answer),
        }
    }

    /// Counts a request's end.
    pub(crate) fn done<T>(
        &self,
        protocol: &'static str,
        since: Instant,
        result: &Result<T, InferError>,
    ) {
        let outcome = result.as_ref().map_or_else(InferError::reason, |_| "ok");
        self.metrics.request(protocol, outcome, since.elapsed());
    }
}
