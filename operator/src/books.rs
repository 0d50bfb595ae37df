//! What follows from all records, kept as each of them changes: to decide about one workload, nobody reads the
//! records of all the others.

use crate::plan::Queue;
use crate::record::{Record, Role, Slot};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What pods take of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many there are.
    pub pods: u32,
    /// What they ask for, in thousandths.
    pub resources: BTreeMap<String, i128>,
}

/// Those who have pods on a host.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tenants {
    usage: Usage,
    /// Slots with a pod here, by workload.
    slots: HashMap<String, u32>,
}

/// Indexes of records. Nothing is in them that the records do not say.
#[derive(Debug, Default, PartialEq)]
pub struct Books {
    tenants: HashMap<String, Tenants>,
    /// Workloads by the names of their pods, which are unique.
    pods: HashMap<String, String>,
    /// Uids of pods that a record names.
    uids: HashSet<String>,
    /// Workloads by the namespace of their owner.
    owners: HashMap<String, HashSet<String>>,
    /// Models that use the shared pool of relays.
    pool: HashSet<String>,
    /// Those of them that are not suspended.
    awake: HashSet<String>,
    queue: Queue,
}

impl Books {
    /// A record is there.
    pub fn put(&mut self, record: &Record) {
        let uid = &record.workload.uid;
        for slot in record.slots.iter().filter(|s| !s.pod.is_empty()) {
            self.pods.insert(slot.pod.clone(), uid.clone());
            let here = self.tenants.entry(slot.host.clone()).or_default();
            *here.slots.entry(uid.clone()).or_default() += 1;
        }
        for (host, usage) in usage_of(record) {
            self.tenants.entry(host.to_owned()).or_default().usage.add(&usage);
        }
        self.uids.extend(record.slots.iter().filter_map(|s| s.uid.clone()));
        self.owners.entry(record.workload.namespace.clone()).or_default().insert(uid.clone());
        if uses_pool(record) {
            self.pool.insert(uid.clone());
            if !record.suspended {
                self.awake.insert(uid.clone());
            }
        }
        self.queue.put(record);
    }

    /// A record that was put is there no more, or is about to be another.
    pub fn take(&mut self, record: &Record) {
        let uid = &record.workload.uid;
        for slot in record.slots.iter().filter(|s| !s.pod.is_empty()) {
            self.pods.remove(&slot.pod);
            let Some(here) = self.tenants.get_mut(&slot.host) else { continue };
            let left = here.slots.get(uid).copied().unwrap_or(0).saturating_sub(1);
            if left == 0 {
                here.slots.remove(uid);
            } else {
                here.slots.insert(uid.clone(), left);
            }
        }
        for (host, usage) in usage_of(record) {
            if let Some(here) = self.tenants.get_mut(host) {
                here.usage.subtract(&usage);
            }
        }
        for slot in record.slots.iter().filter(|s| !s.pod.is_empty()) {
            if self.tenants.get(&slot.host).is_some_and(|here| here.slots.is_empty()) {
                self.tenants.remove(&slot.host);
            }
        }
        record.slots.iter().filter_map(|s| s.uid.as_ref()).for_each(|uid| {
            self.uids.remove(uid);
        });
        if let Some(owned) = self.owners.get_mut(&record.workload.namespace) {
            owned.remove(uid);
            if owned.is_empty() {
                self.owners.remove(&record.workload.namespace);
            }
        }
        self.pool.remove(uid);
        self.awake.remove(uid);
        self.queue.take(record);
    }

    /// Whose pod has this name.
    pub fn owner_of(&self, pod: &str) -> Option<&String> {
        self.pods.get(pod)
    }

    /// Whether a record names the pod of this uid.
    pub fn names(&self, uid: &str) -> bool {
        self.uids.contains(uid)
    }

    /// Namespaces with pods.
    pub fn hosts(&self) -> impl Iterator<Item = &String> {
        self.tenants.keys()
    }

    /// Whether a namespace has pods.
    pub fn is_host(&self, namespace: &str) -> bool {
        self.tenants.contains_key(namespace)
    }

    /// What all take of a host.
    pub fn usage(&self, namespace: &str) -> Usage {
        self.tenants.get(namespace).map(|here| here.usage.clone()).unwrap_or_default()
    }

    /// Workloads with pods on a host.
    pub fn tenants(&self, namespace: &str) -> impl Iterator<Item = &String> {
        self.tenants.get(namespace).into_iter().flat_map(|here| here.slots.keys())
    }

    /// Workloads of an owner's namespace.
    pub fn owned(&self, namespace: &str) -> impl Iterator<Item = &String> {
        self.owners.get(namespace).into_iter().flatten()
    }

    /// Models that use the shared pool.
    pub const fn pool(&self) -> &HashSet<String> {
        &self.pool
    }

    /// Those of them that are not suspended.
    pub const fn awake(&self) -> &HashSet<String> {
        &self.awake
    }

    /// Who goes first.
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }
}

/// A model without relays of its own uses the shared ones.
pub fn uses_pool(record: &Record) -> bool {
    !record.workload.is_shared() && record.slots.iter().all(|s| s.role == Role::Layer)
}

/// What a workload's pods take, by host.
pub fn usage_of(record: &Record) -> HashMap<&str, Usage> {
    let mut all: HashMap<&str, Usage> = HashMap::new();
    for slot in record.slots.iter().filter(|s| !s.pod.is_empty() && !s.finished) {
        all.entry(slot.host.as_str()).or_default().add(&need(record, slot));
    }
    all
}

fn need(record: &Record, slot: &Slot) -> Usage {
    let class = match slot.role {
        Role::Layer => record.pin.classes.get(&slot.class),
        Role::Relay => Some(&record.pin.relay_class),
    };
    let limits = class.iter().flat_map(|class| &class.resources.limits);
    let resources = limits.filter_map(|(name, amount)| Some((name.clone(), amount.millis()?)));
    Usage { pods: 1, resources: resources.filter(|(_, amount)| *amount != 0).collect() }
}

impl Usage {
    fn add(&mut self, other: &Self) {
        self.pods += other.pods;
        for (name, amount) in &other.resources {
            *self.resources.entry(name.clone()).or_default() += amount;
        }
    }

    /// Takes away what was added. What nobody takes any more is not named.
    pub fn subtract(&mut self, other: &Self) {
        self.pods = self.pods.saturating_sub(other.pods);
        for (name, amount) in &other.resources {
            *self.resources.entry(name.clone()).or_default() -= amount;
        }
        self.resources.retain(|_, amount| *amount != 0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::record::{Phase, Pin, WorkloadRef};
    use k8s_openapi::jiff::Timestamp;
    use mixnn_crds::{Amount, PodClass, PodResources, SuiteName};
    use std::hash::{DefaultHasher, Hash, Hasher};

    fn class(device: Option<&str>) -> PodClass {
        let mut limits: BTreeMap<_, _> = [("cpu".to_owned(), Amount("1".into()))].into();
        limits.extend(device.map(|d| (d.to_owned(), Amount("2".into()))));
        PodClass { resources: PodResources { limits } }
    }

    /// A record that chance draws.
    fn record(uid: usize, chance: &mut impl FnMut(usize) -> usize) -> Record {
        let device = [None, Some("x.com/gpu")][chance(2)];
        let slot = |id: usize, chance: &mut dyn FnMut(usize) -> usize| {
            let placed = chance(3) > 0;
            let text = |t: String| if placed { t } else { String::new() };
            Slot {
                id: id as u32,
                role: [Role::Layer, Role::Relay][chance(5) / 4],
                class: "c".into(),
                incarnation: 0,
                claim: 0,
                host: text(format!("h{}", chance(3))),
                pod: text(format!("p{uid}-{id}-{}", chance(2))),
                uid: (placed && chance(4) > 0).then(|| format!("u{uid}-{id}-{}", chance(2))),
                finished: chance(6) == 0,
            }
        };
        Record {
            workload: WorkloadRef {
                uid: format!("w{uid}"),
                namespace: format!("o{}", uid % 2),
                name: format!("n{uid}"),
            },
            run: 1,
            pin: Pin {
                layer_image: String::new(),
                relay_image: String::new(),
                designer_image: String::new(),
                suite: SuiteName::XWing,
                classes: [("c".to_owned(), class(device))].into(),
                relay_class: class(None),
                protocol_version: 1,
            },
            phase: [Phase::Admitting, Phase::Lifted { at: Timestamp::UNIX_EPOCH }, Phase::Running]
                [chance(3)],
            slots: (0..chance(4)).map(|id| slot(id, chance)).collect(),
            next_claim: 0,
            used: BTreeMap::new(),
            waiting_since: Timestamp::new(chance(5) as i64, 0).unwrap(),
            attempts: 0,
            not_before: None,
            did_not_fit: None,
            refused: BTreeMap::new(),
            replaced_layers: 0,
            replaced_relays: 0,
            suspended: chance(5) == 0,
            finished: chance(8) == 0,
        }
    }

    fn books_of<'a>(records: impl Iterator<Item = &'a Record>) -> Books {
        let mut books = Books::default();
        records.for_each(|r| books.put(r));
        books
    }

    #[test]
    fn books_say_after_any_changes_what_the_records_say() {
        let mut state = 0u64;
        let mut chance = |n: usize| {
            let mut hasher = DefaultHasher::new();
            (state, n).hash(&mut hasher);
            state = hasher.finish();
            (state % n as u64) as usize
        };
        let (mut books, mut records) = (Books::default(), BTreeMap::new());
        for _ in 0..2000 {
            let uid = chance(6);
            if let Some(old) = records.remove(&uid) {
                books.take(&old);
            }
            if chance(4) > 0 {
                let new = record(uid, &mut chance);
                books.put(&new);
                records.insert(uid, new);
            }
            assert_eq!(books, books_of(records.values()));
        }
        records.values().for_each(|r| books.take(r));
        assert_eq!(books, Books::default(), "nothing stays of what is gone");
    }

    #[test]
    fn of_a_host_all_use_is_counted_once() {
        let mut chance = |_: usize| 1;
        let mut a = record(1, &mut chance);
        a.slots =
            vec![a.slots[0].clone(), Slot { id: 7, pod: "other".into(), ..a.slots[0].clone() }];
        a.slots.iter_mut().for_each(|s| s.finished = false);
        let books = books_of([&a].into_iter());
        let host = &a.slots[0].host;
        let mut usage = books.usage(host);
        assert_eq!(usage.pods, 2);
        assert_eq!(usage.resources["cpu"], 2000);
        usage.subtract(&usage_of(&a)[host.as_str()]);
        assert_eq!(usage, Usage::default());
        assert_eq!(books.tenants(host).collect::<Vec<_>>(), [&a.workload.uid]);
    }
}
