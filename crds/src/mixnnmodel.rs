//! `MixNNModel`: one model to be trained over mix relays.

use crate::amount::{Amount, Span};
use crate::serving::ServingSpec;
use crate::status::MixNNModelStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use mixnn_model::{
    LayerSpec, ObjectStoreSource, STANDARD_CLASS, SecretRef, TrainingSpec, VolumeSource,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// A deep learning model, trained with each layer in a pod of its own behind mix relays.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "mixnn.dev",
    version = "v1alpha1",
    kind = "MixNNModel",
    plural = "mixnnmodels",
    shortname = "mixnn",
    category = "ml",
    namespaced,
    derive = "PartialEq",
    status = "MixNNModelStatus",
    doc = "A deep learning model, trained with each layer in a pod of its own behind mix relays. The owner's.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.layers.ready", description = "Layer pods that are registered, of those wanted"),
    printcolumn(name = "Relays", type_ = "string", json_path = ".status.relays.ready", description = "Mix relays that are registered, of those wanted"),
    printcolumn(name = "Progress", type_ = "string", json_path = ".status.training.percent", description = "Share of the optimizer steps that is done"),
    printcolumn(name = "Loss", type_ = "string", json_path = ".status.training.loss", description = "Mean loss of the last step"),
    printcolumn(name = "Accuracy", type_ = "string", json_path = ".status.training.accuracy", description = "Share of the test set that is right"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.reason", description = "What the model waits for, if for anything", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 43").message("metadata.name must have at most 43 characters: names and labels of the model's own objects are made from it, and Kubernetes adds to them"),
    validation = Rule::new("!has(self.spec.serving) || !self.spec.serving.enabled || self.metadata.name.matches('^[a-z]')").message("the name of a model that is served must begin with a letter: a Service is named after it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message("metadata.name must be a DNS label: a-z, 0-9 and '-', no dots")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.layers) != has(self.layersFrom)").message("give either spec.layers, or spec.layersFrom with spec.layerCounts (sealed mode)"),
    validation = Rule::new("has(self.layersFrom) == has(self.layerCounts)").message("spec.layersFrom and spec.layerCounts go together: the operator must know how many pods of each class to make, and nothing else"),
    validation = Rule::new("!has(self.layers) || self.layers.all(l, (has(l.class) ? l.class : 'standard') in self.podClasses)").message("a layer names a class that spec.podClasses does not have"),
    validation = Rule::new("!has(self.layerCounts) || self.layerCounts.all(c, c in self.podClasses)").message("spec.layerCounts names a class that spec.podClasses does not have"),
    validation = Rule::new("has(self.layers) == has(oldSelf.layers) && (!has(self.layers) || self.layers == oldSelf.layers)").message("spec.layers cannot change: pods hold what was trained; make another MixNNModel"),
    validation = Rule::new("has(self.layersFrom) == has(oldSelf.layersFrom) && (!has(self.layersFrom) || self.layersFrom == oldSelf.layersFrom)").message("spec.layersFrom cannot change; make another MixNNModel"),
    validation = Rule::new("has(self.layerCounts) == has(oldSelf.layerCounts) && (!has(self.layerCounts) || self.layerCounts == oldSelf.layerCounts)").message("spec.layerCounts cannot change; make another MixNNModel"),
    validation = Rule::new("self.podClasses == oldSelf.podClasses || (oldSelf.suspend && self.suspend)").message("spec.podClasses can change only while spec.suspend is true: first set suspend alone, then change it, then resume"),
    validation = Rule::new("self.relays == oldSelf.relays || (oldSelf.suspend && self.suspend)").message("spec.relays can change only while spec.suspend is true: first set suspend alone, then change it, then resume"),
    validation = Rule::new("has(self.checkpoints) == has(oldSelf.checkpoints) && (!has(self.checkpoints) || self.checkpoints == oldSelf.checkpoints) || (oldSelf.suspend && self.suspend)").message("spec.checkpoints can change only while spec.suspend is true: first set suspend alone, then change it, then resume"),
    validation = Rule::new("!has(self.serving) || !self.serving.enabled || has(self.checkpoints)").message("spec.serving.enabled needs spec.checkpoints: what is served is the newest checkpoint"),
    validation = Rule::new("!has(self.serving) || !has(oldSelf.serving) || self.serving == oldSelf.serving || !self.serving.enabled || !oldSelf.serving.enabled || (oldSelf.suspend && self.suspend)").message("spec.serving can change only while spec.serving.enabled is false or spec.suspend is true: first turn it off, then change it, then turn it on"),
    validation = Rule::new("self.training == oldSelf.training || (oldSelf.suspend && self.suspend)").message("spec.training can change only while spec.suspend is true: first set suspend alone, then change it, then resume")
)]
pub struct MixNNModelSpec {
    /// Classes of layer pods by name. Pods of one class are all alike, so a class with one layer is
    /// linkable: keep them few.
    #[serde(default = "default_classes")]
    #[schemars(extend("maxProperties" = 8, "minProperties" = 1))]
    #[x_kube(validation = Rule::new("self.all(c, c.size() <= 30 && c.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'))").message("names of pod classes are DNS labels of at most 30 characters"))]
    pub pod_classes: BTreeMap<String, PodClass>,
    /// The layers, input first. Each becomes one layer pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1024))]
    pub layers: Vec<LayerSpec>,
    /// Sealed mode: the layers are in a Secret that only the designer reads. The operator learns how
    /// many pods of each class to make, and nothing of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_from: Option<LayersFrom>,
    /// Sealed mode: how many layers are of each pod class.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8, "minProperties" = 1))]
    #[x_kube(validation = Rule::new("self.all(c, self[c] >= 1 && self[c] <= 1024)").message("each of spec.layerCounts must be from 1 to 1024"))]
    pub layer_counts: BTreeMap<String, u32>,
    /// How the model is trained and tested.
    pub training: TrainingSpec,
    /// The mix relays between the layers.
    #[serde(default)]
    pub relays: RelaysSpec,
    /// Where the pods may run.
    #[serde(default)]
    pub placement: PlacementSpec,
    /// Where and how often the state of the training is kept, sealed. Without it a designer that is lost
    /// takes the training back to its beginning, and the trained weights are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<CheckpointsSpec>,
    /// Answers to requests once the model is trained. Needs checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingSpec>,
    /// The designer's pod, which runs in the model's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub designer: Option<DesignerSpec>,
    /// Stop every pod of the model and keep its checkpoints; false goes on from them.
    #[serde(default)]
    pub suspend: bool,
}

/// Pods of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodClass {
    /// What a pod gets.
    pub resources: PodResources,
}

/// What a pod gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodResources {
    /// Amounts by resource: cpu, memory, and devices as nvidia.com/gpu. Requests are the same.
    #[schemars(extend("maxProperties" = 8))]
    #[x_kube(validation = Rule::new("'cpu' in self && 'memory' in self").message("resources.limits needs cpu and memory: a host must know what a pod can take"))]
    pub limits: BTreeMap<String, Amount>,
}

/// Where the layers are kept in sealed mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayersFrom {
    /// A key of a Secret in the model's namespace. It holds YAML: a list as spec.layers.
    pub secret_ref: SealedLayers,
}

/// A key of the Secret with the layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealedLayers {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key within it.
    #[serde(default = "layers_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn layers_key() -> String {
    "layers.yaml".into()
}

/// Where and how often the state of the training is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckpointsSpec {
    /// Steps from one checkpoint to the next.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub every_steps: u32,
    /// How many checkpoints are kept.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep: u32,
    /// Where they are kept, and at the end the trained weights beside them (`model.safetensors`).
    pub store: CheckpointStore,
}

/// Where checkpoints are kept. Nothing of it is removed with the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum CheckpointStore {
    /// A volume in the model's namespace, mounted into the designer; a folder with the model's name in it.
    PersistentVolumeClaim(VolumeSource),
    /// An object store.
    ObjectStore(ObjectStoreSource),
}

/// The designer's pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DesignerSpec {
    /// Annotations of its ServiceAccount (`NAME-designer`), by which a cloud gives it a role for the object
    /// store: `eks.amazonaws.com/role-arn`, `iam.gke.io/gcp-service-account` ..
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub service_account_annotations: BTreeMap<String, String>,
    /// Let layers tell where their time of each step goes, for the owner's page (`kubectl mixnn page`). Their hosts
    /// learn that somebody asks, and nothing else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timings: bool,
    /// Send curves to an MLflow tracking server: loss, accuracy, learning rate, times of steps, of the whole model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<MlflowSpec>,
}

/// An MLflow tracking server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MlflowSpec {
    /// Where it is. Keep it in the model's own namespace, or where only its owner looks: what it is told is the
    /// owner's.
    #[schemars(length(min = 8, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^ ]+$')").message("mlflow.url must begin with http:// or https://"))]
    pub url: String,
    /// The experiment, made if it is not there.
    #[serde(default = "experiment")]
    #[schemars(length(min = 1, max = 250))]
    pub experiment: String,
    /// A Secret of the model's namespace with MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and
    /// MLFLOW_TRACKING_PASSWORD, if the server asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

fn experiment() -> String {
    "mixnn".into()
}

/// Port of the owner's page on the loopback of the designer's pod.
pub const DESIGNER_PAGE_PORT: u16 = 8765;

/// Where the pods may run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlacementSpec {
    /// Which MixNNHosts may be used, by their labels; all that admit this namespace if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_selector: Option<LabelSelector>,
    /// The most layers of this model that one host may ever run, replacements included.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1024))]
    pub max_layers_per_host: u32,
    /// Blank layer pods of each class kept ready, so that a lost one is replaced at once.
    #[serde(default)]
    #[schemars(range(min = 0, max = 64))]
    pub spares: u32,
    /// How long all pods together may wait for nodes before they are taken back and tried again later.
    #[serde(default = "quarter_hour")]
    pub timeout: Span,
}

const fn hundred() -> u32 {
    100
}
const fn one() -> u32 {
    1
}
const fn quarter_hour() -> Span {
    Span(Duration::from_secs(900))
}

impl Default for PlacementSpec {
    fn default() -> Self {
        Self { host_selector: None, max_layers_per_host: 1, spares: 0, timeout: quarter_hour() }
    }
}

fn default_classes() -> BTreeMap<String, PodClass> {
    let amount = |(name, text): (&str, &str)| (name.to_owned(), Amount(text.to_owned()));
    let limits = [("cpu", "1"), ("memory", "1Gi")].map(amount).into();
    [(STANDARD_CLASS.to_owned(), PodClass { resources: PodResources { limits } })].into()
}

/// The mix relays between the layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.shared || self.hops <= self.replicas").message("relays.hops must not exceed relays.replicas: a lane passes no relay twice"),
    validation = Rule::new("!has(self.rate) || self.coverTraffic == 'ConstantRate'").message("relays.rate needs relays.coverTraffic: ConstantRate")
)]
pub struct RelaysSpec {
    /// How many relays the model's own pool has.
    #[serde(default = "six")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: u32,
    /// Relays on each lane, 1 to 5. With fewer than 3 the crossing relay knows an end of the lane.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 5))]
    pub hops: u32,
    /// Whether lanes carry cover traffic. Without it message sizes and times show on every link, and a
    /// few steps suffice to tell which links belong together.
    #[serde(default)]
    pub cover_traffic: CoverTraffic,
    /// Cells a second of each lane under `coverTraffic: ConstantRate`. Default: auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<CoverRate>,
    /// HPKE suite of all keys.
    #[serde(default)]
    pub suite: SuiteName,
    /// Use the platform's pool of relays, which several models share, instead of an own one: lanes of
    /// other owners hide this model's. Its size is the operator's setting.
    #[serde(default)]
    pub shared: bool,
}

const fn six() -> u32 {
    6
}
const fn three() -> u32 {
    3
}

impl Default for RelaysSpec {
    fn default() -> Self {
        Self {
            replicas: six(),
            hops: three(),
            cover_traffic: CoverTraffic::None,
            rate: None,
            suite: SuiteName::default(),
            shared: false,
        }
    }
}

/// When cells leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CoverTraffic {
    /// At once: fastest; sizes, counts and times of messages show.
    #[default]
    None,
    /// One cell a slot on every lane, real or dummy: sizes, counts and times show nothing.
    ConstantRate,
}

/// Cells a second of each lane under constant-rate cover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum CoverRate {
    /// The fastest class that half of the CPU carries.
    Auto {},
    /// By hand.
    #[serde(rename_all = "camelCase")]
    Fixed {
        /// Cells of 16 KiB on each lane of activations or gradients; control lanes take a quarter.
        #[schemars(range(min = 1, max = 10000))]
        cells_per_second: u32,
    },
}

/// HPKE suites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SuiteName {
    /// X-Wing: hybrid, holds while ML-KEM-768 or X25519 holds.
    #[default]
    XWing,
    /// X25519: classical, smaller.
    X25519,
}

impl RelaysSpec {
    /// What is wrong, in words.
    pub fn problem(&self) -> Option<String> {
        if !(1..=5).contains(&self.hops) {
            return Some(format!("spec.relays.hops is {}; it must be from 1 to 5", self.hops));
        }
        if let Some(CoverRate::Fixed { cells_per_second }) = self.rate
            && !(1..=10_000).contains(&cells_per_second)
        {
            return Some(format!(
                "spec.relays.rate.fixed.cellsPerSecond is {cells_per_second}; it must be from 1 to 10000"
            ));
        }
        if self.rate.is_some() && self.cover_traffic == CoverTraffic::None {
            return Some(
                "spec.relays.rate is given, but coverTraffic is None: set coverTraffic: ConstantRate, or remove the rate".into(),
            );
        }
        // A shared pool has its own size.
        (!self.shared && self.hops > self.replicas).then(|| {
            format!(
                "spec.relays.hops is {}, more than the {} relays of spec.relays.replicas: a lane passes no relay twice",
                self.hops, self.replicas
            )
        })
    }

    /// What weakens the protection, in words.
    pub fn warnings(&self) -> Vec<String> {
        match self.hops {
            1 => vec!["1 hop: the relay of a lane knows both of its ends".into()],
            2 => vec!["2 hops: the crossing relay of a lane knows its sender".into()],
            _ => Vec::new(),
        }
    }
}

impl MixNNModel {
    /// Name of the Secret with the owner's secret and checkpoint keys, which the designer makes once.
    pub fn owner_secret_name(&self) -> String {
        format!("{}-owner", self.metadata.name.as_deref().unwrap_or_default())
    }
}

impl MixNNModelSpec {
    /// How many layer pods of each class the model needs, spares not counted.
    pub fn layers_by_class(&self) -> BTreeMap<String, u32> {
        if self.layers_from.is_some() {
            return self.layer_counts.clone();
        }
        let mut counts = BTreeMap::new();
        for layer in &self.layers {
            *counts.entry(layer.class.clone()).or_insert(0) += 1;
        }
        counts
    }
}
