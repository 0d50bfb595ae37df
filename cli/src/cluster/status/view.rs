//! What a model's owner may know of it, from the MixNNModel alone. Pure.

use super::super::advice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use mixnn_crds::{
    Counted, CoverTraffic, MixNNModel, MixNNModelStatus, PrivacyStatus, ServingStatus,
    TrainingStatus, condition,
};
use serde::Serialize;

/// A model, looked at.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    pub namespace: String,
    pub name: String,
    /// In one word: Waiting, Suspended, Initialisation, Training, Testing, Finishing, Trained, Serving, Failed, Deleting.
    pub phase: String,
    pub layers: Vec<LayerView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_pods: Option<Counted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay_pods: Option<Counted>,
    pub epochs: u32,
    pub training: TrainingStatus,
    /// Where it answers, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingStatus>,
    pub hops: u32,
    pub cover: CoverTraffic,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacyStatus>,
    pub conditions: Vec<ConditionView>,
    /// What to do next.
    pub next: Vec<String>,
}

/// A layer as the model names it; in sealed mode, a class with its count.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LayerView {
    pub name: String,
    pub class: String,
    pub ops: Vec<String>,
}

/// A condition, judged.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionView {
    #[serde(rename = "type")]
    pub type_: String,
    pub state: State,
    pub reason: String,
    pub message: String,
}

/// How a condition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// As it should be in the end.
    Good,
    /// On its way there.
    Waits,
    /// Not without somebody's doing.
    Bad,
}

/// In the order in which they come true.
const ORDER: [&str; 8] = [
    condition::ACCEPTED,
    condition::HOSTS_RESOLVED,
    condition::SCHEDULED,
    condition::INITIALIZED,
    condition::TRAINED,
    condition::SERVING,
    condition::DEGRADED,
    condition::TRAINING_DEGRADED,
];

/// Reasons that pass by themselves.
const PASSING: [&str; 11] = [
    "NotServed",
    "Starting",
    "Admitting",
    "Queued",
    "Scheduling",
    "HostsNotReady",
    "Initialising",
    "InProgress",
    "Recovering",
    "PodLost",
    "Suspended",
];

impl View {
    /// Looks at a model.
    pub fn of(model: &MixNNModel) -> Self {
        let status = model.status.clone().unwrap_or_default();
        let conditions = conditions(model, &status);
        Self {
            namespace: model.namespace().unwrap_or_default(),
            name: model.name_any(),
            phase: phase(model, &status, &conditions),
            layers: layers(model),
            next: next(model, &conditions),
            layer_pods: status.layers,
            relay_pods: status.relays,
            epochs: model.spec.training.epochs,
            training: status.training.unwrap_or_default(),
            serving: status.serving,
            hops: model.spec.relays.hops,
            cover: model.spec.relays.cover_traffic,
            privacy: status.privacy,
            conditions,
        }
    }

    /// Whether nothing more is to come.
    pub fn is_over(&self) -> bool {
        let is_served = self.conditions.iter().any(|c| c.type_ == condition::SERVING);
        self.phase == "Serving" || self.phase == "Trained" && !is_served
    }
}

fn conditions(model: &MixNNModel, status: &MixNNModelStatus) -> Vec<ConditionView> {
    // The designer says it of every model; who did not ask for it misses nothing.
    let is_served = model.spec.serving.as_ref().is_some_and(|s| s.enabled);
    let asked = |c: &&Condition| is_served || c.type_ != condition::SERVING;
    let mut found: Vec<&Condition> = status.conditions.iter().filter(asked).collect();
    found.sort_by_key(|c| ORDER.iter().position(|o| *o == c.type_).unwrap_or(ORDER.len()));
    found.into_iter().map(condition_view).collect()
}

fn condition_view(condition: &Condition) -> ConditionView {
    let wanted = if is_trouble(&condition.type_) { "False" } else { "True" };
    let state = match &condition.reason {
        _ if condition.status == wanted => State::Good,
        reason if PASSING.contains(&reason.as_str()) => State::Waits,
        _ => State::Bad,
    };
    ConditionView {
        type_: condition.type_.clone(),
        state,
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    }
}

/// Whether a condition of this type says something bad when it is true.
pub fn is_trouble(type_: &str) -> bool {
    [condition::DEGRADED, condition::TRAINING_DEGRADED].contains(&type_)
}

fn phase(model: &MixNNModel, status: &MixNNModelStatus, conditions: &[ConditionView]) -> String {
    let find = |type_: &str| conditions.iter().find(|c| c.type_ == type_);
    let is = |type_: &str, state: State| find(type_).is_some_and(|c| c.state == state);
    let training = status.training.as_ref().and_then(|t| t.phase.clone());
    if model.metadata.deletion_timestamp.is_some() {
        return "Deleting".into();
    }
    if is(condition::SERVING, State::Good) {
        return "Serving".into();
    }
    if is(condition::TRAINED, State::Good) {
        return "Trained".into();
    }
    if model.spec.suspend {
        return "Suspended".into();
    }
    if [condition::ACCEPTED, condition::TRAINED].iter().any(|c| is(c, State::Bad)) {
        return "Failed".into();
    }
    match training {
        Some(phase) if is(condition::SCHEDULED, State::Good) => phase,
        _ => "Waiting".into(),
    }
}

fn layers(model: &MixNNModel) -> Vec<LayerView> {
    let sealed = model.spec.layer_counts.iter().map(|(class, count)| LayerView {
        name: format!("{count} sealed"),
        class: class.clone(),
        ops: Vec::new(),
    });
    let named = model.spec.layers.iter().map(|layer| LayerView {
        name: layer.name.clone(),
        class: layer.class.clone(),
        ops: layer.ops.iter().map(|op| op.name().to_owned()).collect(),
    });
    named.chain(sealed).collect()
}

/// What to do about each condition that is not good, once.
fn next(model: &MixNNModel, conditions: &[ConditionView]) -> Vec<String> {
    let name = model.name_any();
    if conditions.is_empty() {
        let mixnn = crate::plugin::name();
        return vec![format!(
            "no operator has looked at it: {mixnn} check says whether there is one"
        )];
    }
    let mut all = Vec::new();
    for condition in conditions.iter().filter(|c| c.state != State::Good) {
        let Some(advice) = advice::of(&condition.reason, &name) else { continue };
        let text = format!("{}: {advice}", condition.reason);
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}
