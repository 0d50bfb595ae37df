//! What the operator has seen of the cluster, kept small: a thousand models fit into some MB.

use crate::keys::OperatorKey;
use crate::labels;
use crate::plan::{HostView, Loss, PodState, PodView, Seen};
use crate::record::{Record, Role, WorkloadRef};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::core::{Selector, SelectorExt};
use mixnn_crds::MixNNHost;
use mixnn_protocol::registration::{NodeClass, Registered, Registration};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

/// A namespace, as far as it matters.
#[derive(Clone, Debug, Default)]
pub struct Space {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// It is being deleted.
    pub terminating: bool,
}

/// A registration, as it is kept: one object, named by the pod's uid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The pod's uid.
    pub pod_uid: String,
    /// Whose pod.
    pub workload: String,
    /// What was registered.
    pub registration: Registration,
    /// What was answered.
    pub answer: Registered,
    /// Opaque name of who hosts it.
    pub host_domain: String,
    /// Opaque name of the machine.
    pub node_domain: String,
}

/// A record with the version of the object that it was read from.
#[derive(Clone, Debug)]
pub struct Versioned {
    /// The record.
    pub record: Arc<Record>,
    /// The object's resourceVersion.
    pub version: String,
}

/// Everything that was seen. Locks are held for moments only, never over an await.
#[derive(Default)]
pub struct World {
    inner: RwLock<Inner>,
    /// Told when a directory may have changed.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Inner {
    spaces: HashMap<String, Space>,
    hosts: HashMap<String, Arc<MixNNHost>>,
    /// Namespaces of hosts whose account and walls were made by this process.
    ready: HashSet<String>,
    pods: HashMap<String, HashMap<String, PodView>>,
    known: HashSet<String>,
    /// Pods that were made or changed by this operator while a list of their namespace was under way.
    touched: HashMap<String, HashSet<String>>,
    records: BTreeMap<String, Versioned>,
    /// Workloads by the names of their pods, which are unique.
    by_pod: HashMap<String, String>,
    registrations: HashMap<String, Arc<Kept>>,
}

impl World {
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells when a directory may have changed.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// A namespace was seen, or is gone. Gives whether something that matters changed.
    pub fn space(&self, name: &str, metadata: Option<&ObjectMeta>) -> bool {
        let mut inner = self.write();
        let Some(metadata) = metadata else {
            return inner.spaces.remove(name).is_some();
        };
        let space = Space {
            labels: metadata.labels.clone().unwrap_or_default(),
            terminating: metadata.deletion_timestamp.is_some(),
        };
        let old = inner.spaces.insert(name.to_owned(), space.clone());
        old.is_none_or(|o| o.labels != space.labels || o.terminating != space.terminating)
    }

    /// Whether a namespace is there and is not being deleted.
    pub fn is_lasting(&self, namespace: &str) -> bool {
        self.read().spaces.get(namespace).is_some_and(|space| !space.terminating)
    }

    /// A host was seen, or is gone. Gives whether its spec or its being changed.
    pub fn host(&self, namespace: &str, host: Option<MixNNHost>) -> bool {
        let mut inner = self.write();
        let Some(host) = host else {
            inner.ready.remove(namespace);
            return inner.hosts.remove(namespace).is_some();
        };
        let old = inner.hosts.insert(namespace.to_owned(), Arc::new(host.clone()));
        old.is_none_or(|o| o.spec != host.spec || o.metadata.labels != host.metadata.labels)
    }

    /// Account and walls of a host's namespace are there.
    pub fn host_ready(&self, namespace: &str) {
        self.write().ready.insert(namespace.to_owned());
    }

    /// The host of a namespace.
    pub fn host_of(&self, namespace: &str) -> Option<Arc<MixNNHost>> {
        self.read().hosts.get(namespace).cloned()
    }

    /// Namespaces whose pods are to be watched: those with a host that is ready, and those that a record
    /// names.
    pub fn host_namespaces(&self) -> HashSet<String> {
        let inner = self.read();
        let of_records = inner.records.values().flat_map(|v| v.record.slots.iter());
        let used = of_records.filter(|s| !s.pod.is_empty()).map(|s| s.host.clone());
        let ready = inner.hosts.keys().filter(|name| inner.ready.contains(*name)).cloned();
        ready.chain(used).collect()
    }

    /// A list of a namespace's pods begins.
    pub fn pods_begin(&self, namespace: &str) {
        self.write().touched.insert(namespace.to_owned(), HashSet::new());
    }

    /// A pod was seen, or is gone.
    pub fn pod(&self, namespace: &str, name: &str, pod: Option<PodView>) {
        let mut inner = self.write();
        if let Some(touched) = inner.touched.get_mut(namespace) {
            touched.insert(name.to_owned());
        }
        let pods = inner.pods.entry(namespace.to_owned()).or_default();
        match pod {
            Some(pod) => pods.insert(name.to_owned(), pod),
            None => pods.remove(name),
        };
    }

    /// All pods of a namespace, after a list.
    pub fn all_pods(&self, namespace: &str, mut now: HashMap<String, PodView>) {
        let mut inner = self.write();
        inner.known.insert(namespace.to_owned());
        // What was made since the list began may not be in it.
        let old = inner.pods.remove(namespace).unwrap_or_default();
        let touched = inner.touched.remove(namespace).unwrap_or_default();
        now.extend(old.into_iter().filter(|(name, _)| touched.contains(name)));
        inner.pods.insert(namespace.to_owned(), now);
    }

    /// The pods of a namespace are not watched any more.
    pub fn forget_pods(&self, namespace: &str) {
        let mut inner = self.write();
        inner.known.remove(namespace);
        inner.pods.remove(namespace);
    }

    /// Pods with our label that no record names: namespace, name, pod.
    pub fn orphans(&self) -> Vec<(String, String, PodView)> {
        let inner = self.read();
        let slots = inner.records.values().flat_map(|v| v.record.slots.iter());
        let named: HashSet<(&str, &str)> =
            slots.map(|s| (s.host.as_str(), s.pod.as_str())).collect();
        let all =
            inner.pods.iter().flat_map(|(ns, pods)| pods.iter().map(move |(n, p)| (ns, n, p)));
        all.filter(|(ns, name, _)| !named.contains(&(ns.as_str(), name.as_str())))
            .map(|(ns, name, pod)| (ns.clone(), name.clone(), pod.clone()))
            .collect()
    }

    /// A record was read, written, or is gone. What is older than what is known changes nothing.
    /// Gives whether it changed something.
    pub fn record(&self, uid: &str, record: Option<Versioned>) -> bool {
        let mut inner = self.write();
        let number = |v: &str| v.parse::<u64>().unwrap_or(0);
        let old = inner.records.get(uid).cloned();
        if let (Some(old), Some(new)) = (&old, &record)
            && number(&old.version) >= number(&new.version)
        {
            return false;
        }
        for slot in old.iter().flat_map(|v| &v.record.slots) {
            inner.by_pod.remove(&slot.pod);
        }
        let Some(new) = record else {
            inner.records.remove(uid);
            return old.is_some();
        };
        for slot in new.record.slots.iter().filter(|s| !s.pod.is_empty()) {
            inner.by_pod.insert(slot.pod.clone(), uid.to_owned());
        }
        let changed = old.is_none_or(|o| o.record != new.record);
        inner.records.insert(uid.to_owned(), new);
        drop(inner);
        self.changes.send_replace(());
        changed
    }

    /// The record of a workload.
    pub fn record_of(&self, uid: &str) -> Option<Versioned> {
        self.read().records.get(uid).cloned()
    }

    /// All records.
    pub fn records(&self) -> Vec<Arc<Record>> {
        self.read().records.values().map(|v| v.record.clone()).collect()
    }

    /// Whose pod this is.
    pub fn workload_of(&self, namespace: &str, pod: &str) -> Option<WorkloadRef> {
        let inner = self.read();
        let record = &inner.records.get(inner.by_pod.get(pod)?)?.record;
        record.slot_of(namespace, pod).map(|_| record.workload.clone())
    }

    /// A registration was read or made, or is gone.
    pub fn registration(&self, pod_uid: &str, registration: Option<Kept>) {
        let mut inner = self.write();
        match registration {
            Some(r) => {
                inner.registrations.insert(pod_uid.to_owned(), Arc::new(r));
            }
            None => {
                inner.registrations.remove(pod_uid);
            }
        }
        drop(inner);
        self.changes.send_replace(());
    }

    /// The registration of a pod.
    pub fn registration_of(&self, pod_uid: &str) -> Option<Arc<Kept>> {
        self.read().registrations.get(pod_uid).cloned()
    }

    /// Registrations of the pods that a workload has now.
    pub fn registrations(&self, workload: &str) -> Vec<(Role, Arc<Kept>)> {
        let inner = self.read();
        let Some(record) = inner.records.get(workload) else { return Vec::new() };
        let of = |slot: &crate::record::Slot| {
            let uid = slot.uid.as_ref().filter(|_| !slot.finished && !slot.pod.is_empty())?;
            inner.registrations.get(uid).map(|r| (slot.role, r.clone()))
        };
        record.record.slots.iter().filter_map(of).collect()
    }

    /// Registrations of a model's designers.
    pub fn designers(&self, workload: &str) -> Vec<Arc<Kept>> {
        let inner = self.read();
        let its =
            |r: &&Arc<Kept>| r.workload == workload && r.registration.class == NodeClass::Designer;
        inner.registrations.values().filter(its).cloned().collect()
    }

    /// Registrations whose pod no record names, and that are no designer's.
    pub fn stale_registrations(&self) -> Vec<String> {
        let inner = self.read();
        let slots = inner.records.values().flat_map(|v| v.record.slots.iter());
        let living: HashSet<&String> = slots.filter_map(|s| s.uid.as_ref()).collect();
        let pods =
            inner.registrations.values().filter(|r| r.registration.class != NodeClass::Designer);
        pods.filter(|r| !living.contains(&r.pod_uid)).map(|r| r.pod_uid.clone()).collect()
    }

    /// Hosts that admit a workload, with what other workloads take of them.
    pub fn hosts_for(
        &self,
        workload: &WorkloadRef,
        selector: Option<&LabelSelector>,
    ) -> Vec<HostView> {
        let inner = self.read();
        let selector: Option<Selector> = selector.and_then(|s| s.clone().try_into().ok());
        let Some(owner) = inner.spaces.get(&workload.namespace) else { return Vec::new() };
        let admits = |host: &MixNNHost| {
            let grant = host.spec.allowed_owners.namespace_selector.clone();
            let granted = Selector::try_from(grant).is_ok_and(|s| s.matches(&owner.labels));
            let labels = host.metadata.labels.clone().unwrap_or_default();
            let wanted = selector.as_ref().is_none_or(|s| s.matches(&labels));
            granted && wanted && host.metadata.deletion_timestamp.is_none()
        };
        let usage = inner.usage_of_others(&workload.uid);
        let hosts = inner.hosts.iter().filter(|(_, host)| admits(host));
        let mut views: Vec<_> =
            hosts.filter_map(|(ns, host)| inner.view(ns, host, &usage)).collect();
        views.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        views
    }

    /// How many pods a host has in all.
    pub fn pods_on(&self, namespace: &str) -> usize {
        let inner = self.read();
        let slots = inner.records.values().flat_map(|v| v.record.slots.iter());
        slots.filter(|s| s.host == namespace && !s.pod.is_empty() && !s.finished).count()
    }

    /// Workloads with pods on a host.
    pub fn workloads_on(&self, namespace: &str) -> Vec<WorkloadRef> {
        let inner = self.read();
        let on = |r: &Record| r.slots.iter().any(|s| s.host == namespace && !s.pod.is_empty());
        let records = inner.records.values().filter(|v| on(&v.record));
        records.map(|v| v.record.workload.clone()).collect()
    }

    /// Names of the ConfigMaps of all records and registrations that are known.
    pub fn map_names(&self) -> Vec<String> {
        let inner = self.read();
        let records = inner.records.keys().map(|uid| format!("run-{uid}"));
        records.chain(inner.registrations.keys().map(|uid| format!("node-{uid}"))).collect()
    }

    /// Whose domain a namespace is in.
    pub fn domain_of(&self, namespace: &str) -> String {
        self.read().domain(namespace)
    }
}

impl Inner {
    fn domain(&self, namespace: &str) -> String {
        let label = self.spaces.get(namespace).and_then(|s| s.labels.get(labels::DOMAIN));
        label.cloned().unwrap_or_else(|| namespace.to_owned())
    }

    /// What other workloads take, by namespace.
    fn usage_of_others(&self, workload: &str) -> HashMap<&str, Usage> {
        let mut usage: HashMap<&str, Usage> = HashMap::new();
        let others =
            self.records.values().map(|v| &v.record).filter(|r| r.workload.uid != workload);
        for record in others {
            for slot in record.slots.iter().filter(|s| !s.pod.is_empty() && !s.finished) {
                let class = match slot.role {
                    Role::Layer => record.pin.classes.get(&slot.class),
                    Role::Relay => Some(&record.pin.relay_class),
                };
                let here = usage.entry(slot.host.as_str()).or_default();
                here.pods += 1;
                for (name, amount) in class.iter().flat_map(|c| &c.resources.limits) {
                    *here.resources.entry(name.clone()).or_default() +=
                        amount.millis().unwrap_or(0);
                }
            }
        }
        usage
    }

    fn view(
        &self,
        namespace: &str,
        host: &MixNNHost,
        usage: &HashMap<&str, Usage>,
    ) -> Option<HostView> {
        let space = self.spaces.get(namespace)?;
        if space.terminating {
            return None;
        }
        let used = usage.get(namespace).cloned().unwrap_or_default();
        let (other_pods, other_resources) = (used.pods, used.resources);
        let spec = &host.spec;
        Some(HostView {
            namespace: namespace.to_owned(),
            domain: self.domain(namespace),
            roles: spec.roles.clone(),
            max_pods: spec.max_pods,
            max_pod_resources: spec.max_pod_resources.clone(),
            max_resources: spec.max_resources.clone(),
            ready: self.ready.contains(namespace),
            drain: spec.drain,
            other_pods,
            other_resources,
        })
    }
}

#[derive(Clone, Default)]
struct Usage {
    pods: u32,
    resources: BTreeMap<String, i128>,
}

/// The world through the operator's key: what a plan sees.
pub struct Eyes<'a> {
    /// What was seen.
    pub world: &'a World,
    /// Makes names.
    pub key: &'a OperatorKey,
}

impl Eyes<'_> {
    /// The pod of a slot.
    pub fn find(&self, slot: &crate::record::Slot) -> Option<PodView> {
        self.pod(&slot.host, &slot.pod)
    }
}

impl Seen for Eyes<'_> {
    fn pod(&self, namespace: &str, name: &str) -> Option<PodView> {
        self.world.read().pods.get(namespace)?.get(name).cloned()
    }

    fn knows(&self, namespace: &str) -> bool {
        self.world.read().known.contains(namespace)
    }

    fn pod_name(&self, workload: &str, slot: u32, incarnation: u32) -> String {
        self.key.pod_name(workload, slot, incarnation)
    }
}

/// A pod as the plan sees it.
pub fn pod_view(pod: &Pod) -> PodView {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let gates = spec.and_then(|s| s.scheduling_gates.as_ref());
    let conditions = status.and_then(|s| s.conditions.as_ref());
    let disrupted = conditions
        .into_iter()
        .flatten()
        .any(|c| c.type_ == "DisruptionTarget" && c.status == "True");
    let unplaced = conditions.into_iter().flatten().find(|c| c.type_ == "PodScheduled");
    let unplaced = unplaced.filter(|c| c.reason.as_deref() == Some("Unschedulable"));
    let phase = status.and_then(|s| s.phase.as_deref());
    let deleting = pod.metadata.deletion_timestamp.as_ref().map(|t| t.0);
    let state = match phase {
        Some("Succeeded") => PodState::Finished,
        Some("Failed") => PodState::Lost(Loss::Failed),
        _ if deleting.is_some() => PodState::Lost(Loss::Deleted),
        _ if disrupted => PodState::Lost(Loss::Disrupted),
        _ => PodState::Live,
    };
    let annotations = pod.metadata.annotations.as_ref();
    PodView {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        gated: gates.is_some_and(|g| g.iter().any(|g| g.name == labels::GATE)),
        node: spec.and_then(|s| s.node_name.clone()),
        unplaced: unplaced.and_then(|c| c.message.clone()),
        state,
        seal: annotations.and_then(|a| a.get(labels::SEAL)).cloned(),
        deleting,
    }
}

/// Now, to the second's part that Kubernetes keeps.
pub fn now() -> Timestamp {
    Timestamp::now()
}
