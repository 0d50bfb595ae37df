//! `MixNNHost`: a namespace's consent to host pods of other teams' models.

use crate::amount::Amount;
use crate::status::MixNNHostStatus;
use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Consent of a namespace to host layer pods and relays of other teams' models, with its ceilings.
///
/// The counterpart of Gateway API's ReferenceGrant: no pod is ever made in a namespace merely because
/// a model names it.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "mixnn.dev",
    version = "v1alpha1",
    kind = "MixNNHost",
    plural = "mixnnhosts",
    shortname = "mixhost",
    namespaced,
    derive = "PartialEq",
    status = "MixNNHostStatus",
    doc = "Consent of a namespace to host layer pods and mix relays of other teams' models. Deleting it ends every such pod; drain ends them gracefully.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status", description = "Whether pods can be made here"),
    printcolumn(name = "Pods", type_ = "string", json_path = ".status.pods", description = "Pods of those allowed"),
    printcolumn(name = "Drain", type_ = "boolean", json_path = ".spec.drain"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name == 'mixnn'").message("name the MixNNHost mixnn: there is one per namespace")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MixNNHostSpec {
    /// Whose models may run here.
    pub allowed_owners: AllowedOwners,
    /// The most pods at a time.
    #[serde(default = "sixteen")]
    #[schemars(range(min = 0, max = 10_000))]
    pub max_pods: u32,
    /// The most that one pod may ask for, by resource. A resource that is not named is not bounded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub max_pod_resources: BTreeMap<String, Amount>,
    /// The most that all pods together may ask for, by resource. A resource that is not named is not bounded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub max_resources: BTreeMap<String, Amount>,
    /// What may run here.
    #[serde(default = "both")]
    #[schemars(length(min = 1, max = 2))]
    pub roles: Vec<HostedRole>,
    /// ServiceAccount of the pods. If not set, the operator makes one without any rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// Secrets with which images are pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<PullSecret>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// RuntimeClass of the pods, as gvisor or kata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub runtime_class_name: Option<String>,
    /// PriorityClass of the pods. Should have preemptionPolicy Never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Labels that the pods get beside the operator's own, the same on all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = Rule::new("self.all(k, !k.contains('mixnn.dev/'))").message("labels under mixnn.dev/ are the operator's"))]
    pub extra_labels: BTreeMap<String, String>,
    /// Take no new pods, and have those that run replaced elsewhere, one model at a time.
    #[serde(default)]
    pub drain: bool,
}

const fn sixteen() -> u32 {
    16
}

fn both() -> Vec<HostedRole> {
    vec![HostedRole::Layer, HostedRole::Relay]
}

/// What may run in a host namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HostedRole {
    /// Layer pods.
    Layer,
    /// Mix relays.
    Relay,
}

/// Whose models may run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedOwners {
    /// Namespaces by their labels. An empty selector ({}) means every namespace.
    pub namespace_selector: LabelSelector,
}

/// A Secret with which images are pulled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PullSecret {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
