//! What the operator has seen of the cluster, kept small: a thousand models fit into some MB.

use crate::books::{Books, Usage, usage_of};
use crate::keys::OperatorKey;
use crate::labels;
use crate::plan::{HostView, Loss, PodState, PodView, Seen};
use crate::record::{Record, Role, WorkloadRef};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::core::{Selector, SelectorExt};
use mixnn_crds::MixNNHost;
use mixnn_protocol::registration::{NodeClass, Registered, Registration};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
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
    /// Told when the directory of a workload may have changed, where somebody waits for that.
    changes: Mutex<HashMap<String, watch::Sender<()>>>,
}

/// What a record that changed means for others.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// It did change.
    pub changed: bool,
    /// Workloads that have to look again: whose turn it may be now, or who is in other company in the pool.
    pub wake: BTreeSet<WorkloadRef>,
    /// A namespace has its first pod now, or lost its last one.
    pub spaces: bool,
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
    /// What follows from the records.
    books: Books,
    /// Pods, by namespace and name, that no record names.
    unnamed: BTreeSet<(String, String)>,
    registrations: HashMap<String, Arc<Kept>>,
    /// Registered designers by workload.
    designers: HashMap<String, HashMap<String, Arc<Kept>>>,
    /// Registrations, but designers', whose pod no record names.
    stale: BTreeSet<String>,
    /// How many models the pool had when those in it were last told to look.
    company: usize,
}

impl World {
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells when the directory of a workload may have changed.
    pub fn changes(&self, workload: &str) -> watch::Receiver<()> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.entry(workload.to_owned()).or_default().subscribe()
    }

    /// The directories of these workloads may have changed. Where nobody waits any more, nothing is kept.
    fn tell<'a>(&self, workloads: impl Iterator<Item = &'a String>) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        for workload in workloads {
            let Some(waiting) = changes.get(workload) else { continue };
            if waiting.receiver_count() == 0 {
                changes.remove(workload);
            } else {
                waiting.send_replace(());
            }
        }
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

    /// Workloads that a namespace matters to: those with pods there, and its owner's. And whether it opens itself
    /// to pods.
    pub fn concerned(&self, namespace: &str) -> (BTreeSet<WorkloadRef>, bool) {
        let inner = self.read();
        let all = inner.books.tenants(namespace).chain(inner.books.owned(namespace));
        (inner.refs(all), inner.hosts.contains_key(namespace))
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
        let ready = inner.hosts.keys().filter(|name| inner.ready.contains(*name));
        ready.chain(inner.books.hosts()).cloned().collect()
    }

    /// A list of a namespace's pods begins.
    pub fn pods_begin(&self, namespace: &str) {
        self.write().touched.insert(namespace.to_owned(), HashSet::new());
    }

    /// A pod was seen, or is gone.
    pub fn pod(&self, namespace: &str, name: &str, pod: Option<PodView>) {
        self.write().set_pod(namespace, name, pod);
    }

    /// A pod is like this, by the answer to a request. The watch may have told more before the answer came: what is
    /// older than what is known changes nothing, and a pod that is gone does not come back.
    pub fn pod_answered(&self, namespace: &str, name: &str, pod: PodView) {
        let mut inner = self.write();
        let known = inner.pods.get(namespace).and_then(|pods| pods.get(name));
        if known.is_some_and(|known| known.uid == pod.uid && known.version < pod.version) {
            inner.set_pod(namespace, name, Some(pod));
        }
    }

    /// All pods of a namespace, after a list.
    pub fn all_pods(&self, namespace: &str, mut now: HashMap<String, PodView>) {
        let mut inner = self.write();
        inner.known.insert(namespace.to_owned());
        // What was made since the list began may not be in it.
        let old = inner.pods.remove(namespace).unwrap_or_default();
        now.iter_mut().for_each(|(name, pod)| pod.goes_on(old.get(name)));
        let touched = inner.touched.remove(namespace).unwrap_or_default();
        now.extend(old.into_iter().filter(|(name, _)| touched.contains(name)));
        let names: Vec<String> = now.keys().cloned().collect();
        inner.pods.insert(namespace.to_owned(), now);
        inner.unnamed.retain(|(of, _)| of != namespace);
        names.iter().for_each(|name| inner.judge_pod(namespace, name));
    }

    /// The pods of a namespace are not watched any more.
    pub fn forget_pods(&self, namespace: &str) {
        let mut inner = self.write();
        inner.known.remove(namespace);
        inner.pods.remove(namespace);
        inner.unnamed.retain(|(of, _)| of != namespace);
    }

    /// Pods with our label that no record names: namespace, name, pod.
    pub fn orphans(&self) -> Vec<(String, String, PodView)> {
        let inner = self.read();
        let pod = |(space, name): &(String, String)| {
            Some((space.clone(), name.clone(), inner.pods.get(space)?.get(name)?.clone()))
        };
        inner.unnamed.iter().filter_map(pod).collect()
    }

    /// A record was read, written, or is gone. What is older than what is known changes nothing.
    pub fn record(&self, uid: &str, record: Option<Versioned>) -> Effects {
        let mut inner = self.write();
        let number = |v: &str| v.parse::<u64>().unwrap_or(0);
        let old = inner.records.get(uid).cloned();
        if let (Some(old), Some(new)) = (&old, &record)
            && number(&old.version) >= number(&new.version)
        {
            return Effects::default();
        }
        let before = Shown::of(&inner, old.as_ref(), record.as_ref());
        if let Some(old) = &old {
            inner.books.take(&old.record);
            inner.records.remove(uid);
        }
        if let Some(new) = &record {
            inner.books.put(&new.record);
            inner.records.insert(uid.to_owned(), new.clone());
        }
        let after = Shown::of(&inner, old.as_ref(), record.as_ref());
        let both: Vec<&Record> = old.iter().chain(&record).map(|v| &*v.record).collect();
        for slot in both.iter().flat_map(|r| &r.slots) {
            inner.judge_pod(&slot.host, &slot.pod);
            slot.uid.iter().for_each(|uid| inner.judge_registration(uid));
        }
        let mut wake: BTreeSet<_> = both.iter().flat_map(|r| inner.books.queue().next(r)).collect();
        let awake = inner.books.awake().len();
        if is_other_company(inner.company, awake) {
            inner.company = awake;
            wake.extend(inner.refs(inner.books.awake().iter()));
        }
        wake.retain(|workload| workload.uid != uid);
        let tell = inner.readers(uid, before.in_pool || after.in_pool);
        drop(inner);
        self.tell(tell.iter());
        let changed = match (&old, &record) {
            (Some(old), Some(new)) => old.record != new.record,
            (old, new) => old.is_some() || new.is_some(),
        };
        Effects { changed, wake, spaces: before.hosts != after.hosts }
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
        let record = &inner.records.get(inner.books.owner_of(pod)?)?.record;
        record.slot_of(namespace, pod).map(|_| record.workload.clone())
    }

    /// A registration was read or made, or is gone.
    pub fn registration(&self, pod_uid: &str, registration: Option<Kept>) {
        let mut inner = self.write();
        let new = registration.map(Arc::new);
        let old = match &new {
            Some(r) => inner.registrations.insert(pod_uid.to_owned(), r.clone()),
            None => inner.registrations.remove(pod_uid),
        };
        if let Some(old) = &old
            && let Some(designers) = inner.designers.get_mut(&old.workload)
        {
            designers.remove(pod_uid);
            if designers.is_empty() {
                inner.designers.remove(&old.workload);
            }
        }
        if let Some(new) = new.as_ref().filter(|r| r.registration.class == NodeClass::Designer) {
            let designers = inner.designers.entry(new.workload.clone()).or_default();
            designers.insert(pod_uid.to_owned(), new.clone());
        }
        inner.judge_registration(pod_uid);
        let of =
            |r: &Arc<Kept>| inner.readers(&r.workload, inner.books.pool().contains(&r.workload));
        let tell: HashSet<String> = old.iter().chain(&new).flat_map(of).collect();
        drop(inner);
        self.tell(tell.iter());
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
        self.read().designers.get(workload).into_iter().flat_map(|d| d.values().cloned()).collect()
    }

    /// Registrations whose pod no record names, and that are no designer's.
    pub fn stale_registrations(&self) -> Vec<String> {
        self.read().stale.iter().cloned().collect()
    }

    /// Models that use the shared pool of relays.
    pub fn users_of_the_pool(&self) -> Vec<WorkloadRef> {
        let inner = self.read();
        inner.refs(inner.books.pool().iter()).into_iter().collect()
    }

    /// How many of them are not suspended.
    pub fn company(&self) -> usize {
        self.read().books.awake().len()
    }

    /// Whether no gang that needs the same as this one goes before it.
    pub fn may_lift(&self, own: &Record, now: Timestamp) -> bool {
        self.read().books.queue().may_lift(own, now)
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
        let record = inner.records.get(&workload.uid);
        let own = record.map(|v| usage_of(&v.record)).unwrap_or_default();
        let hosts = inner.hosts.iter().filter(|(_, host)| admits(host));
        let mut views: Vec<_> =
            hosts.filter_map(|(ns, host)| inner.view(ns, host, own.get(ns.as_str()))).collect();
        views.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        views
    }

    /// How many pods a host has in all.
    pub fn pods_on(&self, namespace: &str) -> u32 {
        self.read().books.usage(namespace).pods
    }

    /// Workloads with pods on a host.
    pub fn workloads_on(&self, namespace: &str) -> BTreeSet<WorkloadRef> {
        let inner = self.read();
        inner.refs(inner.books.tenants(namespace))
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

    /// These workloads, as far as their records are known.
    fn refs<'a>(&self, uids: impl Iterator<Item = &'a String>) -> BTreeSet<WorkloadRef> {
        uids.filter_map(|uid| self.records.get(uid)).map(|v| v.record.workload.clone()).collect()
    }

    /// Workloads whose directory shows something of this one: itself, and whoever shares the pool with it.
    fn readers(&self, workload: &str, in_pool: bool) -> Vec<String> {
        let mut all = vec![workload.to_owned()];
        if workload == WorkloadRef::SHARED {
            all.extend(self.books.pool().iter().cloned());
        } else if in_pool {
            all.push(WorkloadRef::SHARED.to_owned());
        }
        all
    }

    fn set_pod(&mut self, namespace: &str, name: &str, pod: Option<PodView>) {
        if let Some(touched) = self.touched.get_mut(namespace) {
            touched.insert(name.to_owned());
        }
        let pods = self.pods.entry(namespace.to_owned()).or_default();
        let newer = |pod: &PodView| {
            pods.get(name).is_some_and(|known| known.uid == pod.uid && known.version > pod.version)
        };
        match pod {
            Some(pod) if newer(&pod) => None,
            Some(mut pod) => {
                pod.goes_on(pods.get(name));
                pods.insert(name.to_owned(), pod)
            }
            None => pods.remove(name),
        };
        self.judge_pod(namespace, name);
    }

    /// Whether a record names this pod.
    fn judge_pod(&mut self, namespace: &str, name: &str) {
        let there = self.pods.get(namespace).is_some_and(|pods| pods.contains_key(name));
        let owner = self.books.owner_of(name).and_then(|uid| self.records.get(uid));
        let named = owner.is_some_and(|v| v.record.slot_of(namespace, name).is_some());
        let key = (namespace.to_owned(), name.to_owned());
        if there && !named {
            self.unnamed.insert(key);
        } else {
            self.unnamed.remove(&key);
        }
    }

    /// Whether a record names the pod of this registration.
    fn judge_registration(&mut self, uid: &str) {
        let pod = self.registrations.get(uid);
        let of_slot = pod.is_some_and(|r| r.registration.class != NodeClass::Designer);
        if of_slot && !self.books.names(uid) {
            self.stale.insert(uid.to_owned());
        } else {
            self.stale.remove(uid);
        }
    }

    fn view(&self, namespace: &str, host: &MixNNHost, own: Option<&Usage>) -> Option<HostView> {
        let space = self.spaces.get(namespace)?;
        if space.terminating {
            return None;
        }
        let mut used = self.books.usage(namespace);
        own.iter().for_each(|own| used.subtract(own));
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

/// Whether so many are others than those that were told of: by a factor of the root of two. Who looks then, and
/// writes what is twice or half of what it wrote last, is never wrong by a factor of three, and right about being
/// alone; and of a thousand models that come one by one, those that are there are told 20 times, and not a thousand.
const fn is_other_company(told: usize, now: usize) -> bool {
    now != told && (now * now >= 2 * told * told || 2 * now * now <= told * told)
}

/// What others see of a record, before and after it changes.
#[derive(PartialEq, Eq)]
struct Shown {
    in_pool: bool,
    /// Which of the record's hosts have pods, anybody's.
    hosts: BTreeSet<String>,
}

impl Shown {
    fn of(inner: &Inner, old: Option<&Versioned>, new: Option<&Versioned>) -> Self {
        let both = || old.into_iter().chain(new).map(|v| &v.record);
        let hosts = both().flat_map(|r| r.slots.iter().map(|s| &s.host));
        Self {
            in_pool: both().any(|r| inner.books.pool().contains(&r.workload.uid)),
            hosts: hosts.filter(|host| inner.books.is_host(host)).cloned().collect(),
        }
    }
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
    // By this operator's own clock, whatever the API server's says.
    let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
    let deleting = pod.metadata.deletion_timestamp.as_ref().map(|_| now() + grace);
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
        version: pod.metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0),
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

#[cfg(test)]
mod tests {
    use super::is_other_company;

    /// What a model's status says of its company, as it is woken and as `status::news` has it.
    #[test]
    fn what_is_said_of_company_is_never_wrong_by_a_factor_of_three() {
        let (mut told, mut said, mut woken) = (0, 1, 0);
        let up_and_down = (1..=1000).chain((1..1000).rev()).chain(1..=30).chain((1..30).rev());
        for now in up_and_down {
            if is_other_company(told, now) {
                (told, woken) = (now, woken + 1);
                if now.max(said) >= 2 * now.min(said) {
                    said = now;
                }
            }
            assert!(now.max(said) < 3 * now.min(said), "{said} is said of {now}");
            assert_eq!(now == 1, said == 1);
        }
        assert!(woken < 70, "{woken}");
    }
}
