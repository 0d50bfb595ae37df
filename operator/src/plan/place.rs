//! Which host gets which pod.

use super::{View, Wants};
use crate::record::{Record, Role, Slot};
use mixnn_crds::{Amount, HostedRole, PodClass};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A host that admits the workload.
#[derive(Clone, Debug, PartialEq)]
pub struct HostView {
    /// Its namespace.
    pub namespace: String,
    /// Whom it belongs to, as far as trust goes.
    pub domain: String,
    /// What may run there.
    pub roles: Vec<HostedRole>,
    /// The most pods.
    pub max_pods: u32,
    /// The most that a pod may ask for.
    pub max_pod_resources: BTreeMap<String, Amount>,
    /// The most that all pods may ask for.
    pub max_resources: BTreeMap<String, Amount>,
    /// Account and walls are there.
    pub ready: bool,
    /// Takes no new pods.
    pub drain: bool,
    /// Pods of other workloads there.
    pub other_pods: u32,
    /// What those ask for, in thousandths.
    pub other_resources: BTreeMap<String, i128>,
}

/// Why a pod has no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// No host admits the owner.
    #[error(
        "no MixNNHost admits namespace {0} with spec.placement.hostSelector: ask a team for one, or change the selector"
    )]
    NoHost(String),
    /// Account and walls of the hosts are being made.
    #[error(
        "the namespaces of the hosts are being made ready; their MixNNHosts say if something is missing"
    )]
    NotReady,
    /// None takes such pods.
    #[error(
        "none of the {hosts} hosts takes {what}: raise maxPodResources or roles of a MixNNHost, or ask for less"
    )]
    NotAdmitted {
        /// How many were looked at.
        hosts: usize,
        /// What it was for.
        what: String,
    },
    /// All that do are full.
    #[error(
        "the hosts that take {what} are full: raise maxPods or maxResources of a MixNNHost, or wait"
    )]
    Full {
        /// What it was for.
        what: String,
    },
    /// Every host has run a layer of this model.
    #[error(
        "{what} needs a host that never ran another layer of this model, and there is none left: at most {max} of {total} layer pods may ever share one (spec.placement.maxLayersPerHost); add hosts in other trust domains"
    )]
    NoFreshHost {
        /// What it was for.
        what: String,
        /// Layers of a host.
        max: u32,
        /// Layer pods in all.
        total: u32,
    },
}

impl NoPlace {
    /// In one word.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoHost(_) => "NoHost",
            Self::NotReady => "HostsNotReady",
            Self::NotAdmitted { .. } => "HostCeiling",
            Self::Full { .. } => "HostsFull",
            Self::NoFreshHost { .. } => "NoFreshHost",
        }
    }
}

/// Gives every slot without a pod a host and a fresh name, or changes nothing.
pub fn place_all(record: &mut Record, wants: &Wants, view: &View<'_>) -> Result<(), NoPlace> {
    let vacant: Vec<usize> = (0..record.slots.len())
        .filter(|i| record.slots[*i].pod.is_empty() && !record.slots[*i].finished)
        .collect();
    if vacant.is_empty() {
        return Ok(());
    }
    if view.hosts.is_empty() {
        return Err(NoPlace::NoHost(wants.workload.namespace.clone()));
    }
    let mut next = record.clone();
    for i in vacant {
        let host = choose(&next, &next.slots[i], wants, view)?;
        let namespace = host.namespace.clone();
        let claim = next.next_claim;
        let slot = &mut next.slots[i];
        slot.incarnation += 1;
        slot.pod = view.seen.pod_name(&wants.workload.uid, slot.id, slot.incarnation);
        slot.host = namespace;
        if slot.role == Role::Layer {
            slot.claim = claim;
            next.next_claim += 1;
        }
    }
    *record = next;
    Ok(())
}

fn class<'a>(record: &'a Record, slot: &Slot) -> Option<&'a PodClass> {
    match slot.role {
        Role::Layer => record.pin.classes.get(&slot.class),
        Role::Relay => Some(&record.pin.relay_class),
    }
}

fn choose<'a>(
    record: &Record,
    slot: &Slot,
    wants: &Wants,
    view: &'a View<'_>,
) -> Result<&'a HostView, NoPlace> {
    let what = match slot.role {
        Role::Layer => format!("a layer pod of class {}", slot.class),
        Role::Relay => "a relay".to_owned(),
    };
    let Some(class) = class(record, slot) else {
        return Err(NoPlace::NotAdmitted { hosts: 0, what });
    };
    let admits =
        |h: &&HostView| admits(h, slot.role, class) && !record.refused.contains_key(&h.namespace);
    let admitting: Vec<&HostView> = view.hosts.iter().filter(admits).collect();
    if admitting.is_empty() && !view.hosts.iter().any(|h| h.ready) {
        return Err(NoPlace::NotReady);
    }
    if admitting.is_empty() {
        return Err(NoPlace::NotAdmitted { hosts: view.hosts.len(), what });
    }
    let fresh = |h: &&&HostView| slot.role == Role::Relay || fresh(record, slot, h, wants, view);
    let fresh: Vec<&HostView> = admitting.iter().filter(fresh).copied().collect();
    if fresh.is_empty() {
        let total = record.slots.iter().filter(|s| s.role == Role::Layer).count() as u32;
        return Err(NoPlace::NoFreshHost { what, max: wants.max_layers_per_host, total });
    }
    let roomy = fresh.iter().filter(|h| has_room(record, h, class)).copied();
    roomy.min_by_key(|h| order(record, slot, h, view)).ok_or(NoPlace::Full { what })
}

fn admits(host: &HostView, role: Role, class: &PodClass) -> bool {
    let hosted = match role {
        Role::Layer => HostedRole::Layer,
        Role::Relay => HostedRole::Relay,
    };
    let small = class.resources.limits.iter().all(|(name, amount)| {
        host.max_pod_resources.get(name).is_none_or(|max| amount.millis() <= max.millis())
    });
    host.ready && !host.drain && host.roles.contains(&hosted) && small
}

/// Slots of layers that ran in a trust domain of this run, or are about to.
fn layers_in(record: &Record, domain: &str, view: &View<'_>) -> BTreeSet<u32> {
    let mut slots = record.used.get(domain).cloned().unwrap_or_default();
    let placed = record.slots.iter().filter(|s| s.role == Role::Layer && !s.pod.is_empty());
    slots.extend(placed.filter(|s| view.domain(&s.host) == Some(domain)).map(|s| s.id));
    slots
}

/// Whether this slot ran there before, or fewer others than may.
fn fresh(record: &Record, slot: &Slot, host: &HostView, wants: &Wants, view: &View<'_>) -> bool {
    let slots = layers_in(record, &host.domain, view);
    slots.contains(&slot.id) || (slots.len() as u32) < wants.max_layers_per_host
}

/// Remembers where layers run: no domain that had one ever gets another.
pub fn remember(record: &mut Record, view: &View<'_>) {
    for slot in record.slots.iter().filter(|s| s.role == Role::Layer && !s.pod.is_empty()) {
        if let Some(domain) = view.domain(&slot.host) {
            record.used.entry(domain.to_owned()).or_default().insert(slot.id);
        }
    }
}

fn has_room(record: &Record, host: &HostView, wanted: &PodClass) -> bool {
    let own: Vec<&PodClass> = record
        .slots
        .iter()
        .filter(|s| s.host == host.namespace && !s.pod.is_empty() && !s.finished)
        .filter_map(|s| class(record, s))
        .collect();
    let amount = |c: &PodClass, name: &str| {
        c.resources.limits.get(name).and_then(Amount::millis).unwrap_or(0)
    };
    let fits = |(name, max): (&String, &Amount)| {
        let others = host.other_resources.get(name).copied().unwrap_or(0);
        let ours: i128 = own.iter().map(|c| amount(c, name)).sum();
        max.millis().is_some_and(|max| others + ours + amount(wanted, name) <= max)
    };
    host.other_pods + (own.len() as u32) < host.max_pods && host.max_resources.iter().all(fits)
}

/// The smaller the better: the host it had; few of the own pods; few pods; else by chance.
fn order(record: &Record, slot: &Slot, host: &HostView, view: &View<'_>) -> (bool, u32, u32, u64) {
    let own = record.slots.iter().filter(|s| s.host == host.namespace && !s.pod.is_empty()).count();
    let ran = layers_in(record, &host.domain, view).len();
    let near = own + if slot.role == Role::Relay { ran } else { 0 };
    let mut chance = DefaultHasher::new();
    (&record.workload.uid, slot.id, &host.namespace).hash(&mut chance);
    (slot.host != host.namespace, near as u32, host.other_pods, chance.finish())
}
