//! `spec.serving`: answers to requests, once a model is trained.

use crate::MixNNModel;
use crate::amount::Span;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use mixnn_model::SecretRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Answers to requests over the layers, once the model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServingSpec {
    /// Serve the model from its newest checkpoint as soon as it is trained, until this is false again. Its
    /// pods stay for so long.
    #[serde(default)]
    pub enabled: bool,
    /// Port of the Service NAME-serving: Open Inference Protocol 2 over REST and gRPC, always with TLS.
    #[serde(default = "port")]
    #[schemars(range(min = 1024, max = 65_535))]
    #[x_kube(validation = Rule::new("self != 7000").message("serving.port must not be 7000: cells come in there"))]
    pub port: u16,
    /// How requests are put together.
    #[serde(default)]
    pub batching: BatchingSpec,
    /// What clients may cost.
    #[serde(default)]
    pub limits: ServingLimits,
    /// Who may ask.
    #[serde(default)]
    pub authentication: Authentication,
    /// A certificate of the owner's. Without it the designer makes one, from a CA that follows from the owner's
    /// secret and stands in status.serving.caBundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServingTls>,
    /// Whose connections are let through, where the cluster enforces NetworkPolicies: everybody's if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<ServingClients>,
}

/// How requests are put together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BatchingSpec {
    /// The most samples of one batch.
    #[serde(default = "batch")]
    #[schemars(range(min = 1, max = 4096))]
    pub max_size: u32,
    /// Milliseconds that a batch which is not full waits for more samples. At 0 batches still form while the
    /// model is busy.
    #[serde(default)]
    #[schemars(range(min = 0, max = 60_000))]
    pub max_delay_milliseconds: u32,
    /// Batches on their way through the layers at once.
    #[serde(default = "in_flight")]
    #[schemars(range(min = 1, max = 1024))]
    pub in_flight: u32,
    /// Put requests together. Without, an answer has the same bits whoever else asks.
    #[serde(default = "yes")]
    pub merge: bool,
}

/// What clients may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServingLimits {
    /// The largest body of a request in MiB; all that are held at once may be four times as large.
    #[serde(default = "body")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_body_mebibytes: u32,
    /// The most open connections; the one that is idle for longest makes room.
    #[serde(default = "connections")]
    #[schemars(range(min = 1, max = 65_536))]
    pub max_connections: u32,
    /// The most requests a second of one client; without bound if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_second: Option<u32>,
    /// From a request's beginning to its answer; one that takes longer is told to come again.
    #[serde(default = "minute")]
    pub request_timeout: Span,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Authentication {
    /// Who shows a token of a ServiceAccount for audience mixnn.dev/serving/NAMESPACE/NAME, and may `create`
    /// `mixnnmodels/predict` of this model by RBAC.
    #[default]
    TokenReview,
    /// Everybody who gets a connection.
    None,
}

/// A certificate of the owner's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServingTls {
    /// A Secret of type kubernetes.io/tls in the model's namespace. Renewed certificates are taken up.
    pub secret_ref: SecretRef,
}

/// Whose connections are let through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServingClients {
    /// Namespaces whose pods may connect.
    pub namespace_selector: LabelSelector,
}

const fn port() -> u16 {
    8443
}
const fn batch() -> u32 {
    32
}
const fn in_flight() -> u32 {
    4
}
const fn yes() -> bool {
    true
}
const fn body() -> u32 {
    64
}
const fn connections() -> u32 {
    1024
}
const fn minute() -> Span {
    Span(Duration::from_secs(60))
}

impl Default for BatchingSpec {
    fn default() -> Self {
        Self { max_size: batch(), max_delay_milliseconds: 0, in_flight: in_flight(), merge: yes() }
    }
}

impl Default for ServingLimits {
    fn default() -> Self {
        Self {
            max_body_mebibytes: body(),
            max_connections: connections(),
            requests_per_second: None,
            request_timeout: minute(),
        }
    }
}

/// Audience of clients' tokens for a model: good for it and for nothing else.
pub fn serving_audience(namespace: &str, model: &str) -> String {
    format!("mixnn.dev/serving/{namespace}/{model}")
}

impl MixNNModel {
    /// What it is to be served by, if it is.
    pub fn serving(&self) -> Option<&ServingSpec> {
        self.spec.serving.as_ref().filter(|serving| serving.enabled)
    }

    /// Name of the Service under which it is served.
    pub fn serving_name(&self) -> String {
        format!("{}-serving", self.metadata.name.as_deref().unwrap_or_default())
    }

    /// The Service's names, the one that its URL has first.
    pub fn serving_hosts(&self) -> [String; 4] {
        let (name, namespace) = (self.serving_name(), self.metadata.namespace.clone());
        let space = namespace.unwrap_or_default();
        [
            format!("{name}.{space}.svc"),
            format!("{name}.{space}.svc.cluster.local"),
            format!("{name}.{space}"),
            name,
        ]
    }
}
