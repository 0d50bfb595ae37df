//! What a model's and a host's status say. Nothing is ever decided from them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Types of conditions, and who writes each. Each has exactly one writer.
pub mod condition {
    /// Of a model: it is valid. The operator.
    pub const ACCEPTED: &str = "Accepted";
    /// Of a model: hosts that admit it have room for every pod. The operator.
    pub const HOSTS_RESOLVED: &str = "HostsResolved";
    /// Of a model: every pod has a node. The operator.
    pub const SCHEDULED: &str = "Scheduled";
    /// Of a model: some pod was lost, altered or cannot be made. The operator.
    pub const DEGRADED: &str = "Degraded";
    /// Of a model: every layer has its pod and its parameters. The designer.
    pub const INITIALIZED: &str = "Initialized";
    /// Of a model: all epochs are done, or tests ended the training. The designer.
    pub const TRAINED: &str = "Trained";
    /// Of a model: the training recovers from a fault, cannot write checkpoints, or has failed. The designer.
    pub const TRAINING_DEGRADED: &str = "TrainingDegraded";
    /// Of a model: it answers requests. The designer.
    pub const SERVING: &str = "Serving";
    /// Those of a model that designers write.
    pub const DESIGNERS: [&str; 4] = [INITIALIZED, TRAINED, TRAINING_DEGRADED, SERVING];
    /// Of a host: pods can be made in its namespace. The operator.
    pub const READY: &str = "Ready";
}

/// How a model fares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MixNNModelStatus {
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Accepted, HostsResolved, Scheduled, Degraded (by the operator); Initialized, Trained, TrainingDegraded, Serving (by the designer).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// What the model waits for, in one word: the reason of the first condition that is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The layer pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Counted>,
    /// The mix relays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relays: Option<Counted>,
    /// How training goes. Written by the designer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingStatus>,
    /// Where the model answers, if it does. Written by the designer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingStatus>,
    /// What the paths hide behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacyStatus>,
}

/// How many of the wanted pods are there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counted {
    /// Registered pods of those wanted, as 5/5.
    pub ready: String,
    /// Pods that have a node.
    pub scheduled: u32,
    /// Pods that were lost and replaced since the model was made.
    pub replaced: u32,
}

/// How training goes. Written by the designer, at most every 5 s.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrainingStatus {
    /// Initialisation, Training, Testing or Finishing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The epoch, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// Optimizer steps that every layer has committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i64>,
    /// Optimizer steps in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<i64>,
    /// Share that is done, as 42%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<String>,
    /// Time that is left, as 3m20s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<String>,
    /// Mean loss of the last step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<String>,
    /// How the loss has gone since the training began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<LossCurve>,
    /// Share of the test set that is right, as 95.75%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<String>,
    /// Steps after which the newest checkpoint was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<i64>,
    /// Keyed digest of the trained weights: equal exactly when all bits are equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Where the trained weights are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
}

/// How the loss has gone since the training began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LossCurve {
    /// Steps that each point is the mean of. It doubles as the training grows.
    pub every: i64,
    /// Mean losses, oldest first; at most 48.
    pub loss: Vec<String>,
}

/// Where the model answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServingStatus {
    /// Its address within the cluster.
    pub url: String,
    /// The version that answers: the number of its checkpoint.
    pub version: String,
    /// Audience of the tokens that clients show, if they must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The CA of its certificate in PEM, unless the owner gave a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
}

/// What the paths hide behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrivacyStatus {
    /// Relays in the pool.
    pub relays: u32,
    /// Relays of each lane.
    pub hops: u32,
    /// Models whose lanes share the pool, this one included: 1 if it is alone, else right within a factor of three. Not
    /// every model is told of every other one that comes or goes.
    pub models_in_pool: u32,
    /// What weakens the protection, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl MixNNModelStatus {
    /// All that a designer said, but that its model is not served any more, to be applied as a whole. Nothing if
    /// it did not say that it is.
    pub fn unserved(&self, reason: &str, message: &str, now: Timestamp) -> Option<Self> {
        let served = |c: &Condition| c.type_ == condition::SERVING && c.status == "True";
        self.conditions.iter().any(served).then_some(())?;
        let its =
            self.conditions.iter().filter(|c| condition::DESIGNERS.contains(&c.type_.as_str()));
        let mut conditions: Vec<Condition> = its.cloned().collect();
        for serving in conditions.iter_mut().filter(|c| served(c)) {
            serving.status = "False".into();
            serving.reason = reason.into();
            serving.message = message.into();
            serving.last_transition_time = Time(now);
        }
        Some(Self { conditions, training: self.training.clone(), ..Self::default() })
    }
}

/// How a host fares. It names no owner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MixNNHostStatus {
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: pods can be made here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Pods of those allowed, as 3/10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<String>,
}
