//! Records: which pods serve a workload. The truth of the operator, one ConfigMap each in the
//! platform's namespace, written before what it speaks of is made.

use k8s_openapi::jiff::Timestamp;
use mixnn_crds::{PodClass, SuiteName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A model, or the shared pool of relays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// Uid of the MixNNModel; `shared-relays` for the pool.
    pub uid: String,
    /// The owner's namespace; the platform's for the pool.
    pub namespace: String,
    /// Name of the MixNNModel.
    pub name: String,
}

impl WorkloadRef {
    /// Uid of the shared pool.
    pub const SHARED: &str = "shared-relays";

    /// The shared pool of relays.
    pub fn shared(platform: &str) -> Self {
        Self { uid: Self::SHARED.into(), namespace: platform.into(), name: Self::SHARED.into() }
    }

    /// Whether this is the shared pool.
    pub fn is_shared(&self) -> bool {
        self.uid == Self::SHARED
    }

    /// Name of the record's ConfigMap.
    pub fn record_name(&self) -> String {
        format!("run-{}", self.uid)
    }
}

/// What a pod does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Runs a layer.
    Layer,
    /// Relays cells.
    Relay,
}

/// What is fixed for as long as a run lasts, whatever the operator's settings become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// Image of layer pods.
    pub layer_image: String,
    /// Image of relays.
    pub relay_image: String,
    /// Image of the designer.
    pub designer_image: String,
    /// Suite of all keys.
    pub suite: SuiteName,
    /// Pod classes of layers.
    pub classes: BTreeMap<String, PodClass>,
    /// The class of relays.
    pub relay_class: PodClass,
    /// Version of the wire protocol.
    pub protocol_version: u8,
}

/// A place for one pod, and the pod that has it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Slot {
    /// Number of the slot in its workload.
    pub id: u32,
    /// What its pod does.
    pub role: Role,
    /// Pod class, of layers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// The how manieth pod this is.
    pub incarnation: u32,
    /// Which claim of the designer's stock the pod gets: each goes to one pod only.
    pub claim: u32,
    /// Namespace of the pod.
    pub host: String,
    /// Name of the pod.
    pub pod: String,
    /// Uid of the pod, once the API server took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The pod ended because its owner was done with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finished: bool,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Pods are being made; each waits behind its scheduling gate.
    Admitting,
    /// The gates are open since then; pods wait for nodes.
    Lifted {
        /// When.
        at: Timestamp,
    },
    /// Every pod had a node.
    Running,
}

/// A host that refused a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Why, in one word.
    pub reason: String,
    /// What the API server said.
    pub text: String,
    /// Not to be tried before.
    pub until: Timestamp,
}

/// Which pods serve a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Whose pods.
    pub workload: WorkloadRef,
    /// Counts restarts: each suspend ends a run.
    pub run: u32,
    /// What is fixed for this run.
    pub pin: Pin,
    /// How far it is.
    pub phase: Phase,
    /// The pods.
    pub slots: Vec<Slot>,
    /// The next claim to be given.
    pub next_claim: u32,
    /// Trust domains by slots of layers that ever ran there: none ever gets another layer's.
    #[serde(default)]
    pub used: BTreeMap<String, BTreeSet<u32>>,
    /// Since when it waits for its pods: the longer, the sooner its gates open.
    pub waiting_since: Timestamp,
    /// How often all pods were taken back because they did not fit.
    #[serde(default)]
    pub attempts: u32,
    /// Not to be tried before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Why a pod had no node when all were taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub did_not_fit: Option<String>,
    /// Hosts that refused a pod, by namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, Refusal>,
    /// Layer pods that were lost and replaced.
    #[serde(default)]
    pub replaced_layers: u32,
    /// Relays that were lost and replaced.
    #[serde(default)]
    pub replaced_relays: u32,
    /// Suspended: no pod shall be there.
    #[serde(default)]
    pub suspended: bool,
    /// All layers ended in order: no pod is needed any more.
    #[serde(default)]
    pub finished: bool,
}

impl Record {
    /// The slot whose pod has this namespace and name.
    pub fn slot_of(&self, namespace: &str, pod: &str) -> Option<&Slot> {
        self.slots.iter().find(|s| s.host == namespace && s.pod == pod)
    }

    /// Names of the resources that the run needs at the same time, a key for gangs.
    pub fn resource_classes(&self) -> BTreeSet<String> {
        let of = |class: &PodClass| class.resources.limits.keys().cloned().collect::<Vec<_>>();
        let layers = self.slots.iter().filter(|s| s.role == Role::Layer);
        let mut names: BTreeSet<String> =
            layers.filter_map(|s| self.pin.classes.get(&s.class)).flat_map(of).collect();
        if self.slots.iter().any(|s| s.role == Role::Relay) {
            names.extend(of(&self.pin.relay_class));
        }
        // Every pod has cpu and memory: where devices are asked for, those are what is scarce.
        let devices: BTreeSet<String> = names.iter().filter(|n| n.contains('/')).cloned().collect();
        if devices.is_empty() { names } else { devices }
    }
}
