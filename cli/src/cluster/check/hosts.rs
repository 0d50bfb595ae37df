//! Hosts that admit a namespace, and whether a model fits on them.

use super::finding::{Area, Finding, Level, Seen};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use mixnn_crds::{Amount, HostedRole, MixNNHost, MixNNModel, PodClass, condition};
use std::collections::{BTreeMap, BTreeSet};

/// Label by which several namespaces count as one host.
const DOMAIN: &str = "mixnn.dev/trust-domain";
/// Label of namespaces whose pods may talk with pods of MixNN.
pub const MEMBER: &str = "mixnn.dev/member";
const ASK: &str =
    "ask a team for a MixNNHost whose allowedOwners match the labels of this namespace";

/// Namespaces by name.
pub type Spaces = BTreeMap<String, Namespace>;

/// What is known of hosts.
pub struct Hosts<'a> {
    /// Of all namespaces.
    pub all: &'a Seen<Vec<MixNNHost>>,
    /// All namespaces.
    pub spaces: &'a Seen<Spaces>,
    /// The owner's namespace.
    pub owner: &'a str,
}

/// Judges the hosts that admit the owner, and the model on them.
pub fn judge(seen: &Hosts<'_>, model: Option<&MixNNModel>) -> Vec<Finding> {
    let mut area = Area::new("hosts");
    let hosts = match seen.all {
        Ok(hosts) => hosts,
        Err(why) => {
            let fix = "a cluster administrator may; condition HostsResolved of a model says what came of it";
            area.unseen("MixNNHosts of all namespaces", why, fix);
            return area.findings();
        }
    };
    let spaces = match seen.spaces {
        Ok(spaces) => spaces,
        Err(why) => {
            area.unseen("labels of namespaces", why, "a cluster administrator may");
            return area.findings();
        }
    };
    // A namespace that is not there is said elsewhere.
    let Some(owner) = spaces.get(seen.owner) else { return area.findings() };
    let admitting: Vec<&MixNNHost> = hosts.iter().filter(|h| admits(h, owner)).collect();
    if admitting.is_empty() {
        let count = hosts.len();
        area.fail(format!("none of {count} MixNNHosts admits namespace {}", seen.owner), ASK);
        return area.findings();
    }
    let usable: Vec<&MixNNHost> =
        admitting.iter().copied().filter(|host| is_usable(host, spaces, &mut area)).collect();
    let names: Vec<_> = usable.iter().filter_map(|h| h.namespace()).collect();
    match usable.as_slice() {
        [] => area.fail("no MixNNHost that admits this namespace can be used", "see above"),
        _ => area.ok(format!("{} admit this namespace: {}", usable.len(), names.join(", "))),
    }
    let mut findings = area.findings();
    if let Some(model) = model.filter(|_| !usable.is_empty()) {
        findings.extend(fit(model, &usable, spaces));
    }
    findings
}

fn admits(host: &MixNNHost, owner: &Namespace) -> bool {
    let selector = host.spec.allowed_owners.namespace_selector.clone();
    Selector::try_from(selector).is_ok_and(|s| s.matches(owner.labels()))
}

fn is_usable(host: &MixNNHost, spaces: &Spaces, area: &mut Area) -> bool {
    let namespace = host.namespace().unwrap_or_default();
    if host.spec.drain {
        area.warn(format!("{namespace} drains: it takes no new pods"), "wait for another host");
        return false;
    }
    let conditions = host.status.iter().flat_map(|s| &s.conditions);
    let ready = conditions.into_iter().find(|c| c.type_ == condition::READY);
    match ready {
        Some(ready) if ready.status == "True" => {}
        Some(ready) => {
            let found = format!("{namespace}: {}: {}", ready.reason, ready.message);
            area.warn(found, "the namespace's administrators can mend it");
            return false;
        }
        None => {
            let found = format!("no operator has looked at the MixNNHost in {namespace}");
            area.warn(found, "see operator");
            return false;
        }
    }
    let member = spaces.get(&namespace).map(|s| s.labels().contains_key(MEMBER));
    if member == Some(false) {
        let fix = format!("kubectl label namespace {namespace} {MEMBER}=true");
        area.warn(format!("{namespace} lacks label {MEMBER}: pods there reach no others"), &fix);
    }
    true
}

/// Whether the layers and relays of a model have places.
fn fit(model: &MixNNModel, usable: &[&MixNNHost], spaces: &Spaces) -> Vec<Finding> {
    let mut area = Area::new("capacity");
    let placement = &model.spec.placement;
    let selector = placement.host_selector.clone().and_then(|s| Selector::try_from(s).ok());
    let selected: Vec<&MixNNHost> = usable
        .iter()
        .copied()
        .filter(|host| selector.as_ref().is_none_or(|s| s.matches(host.labels())))
        .collect();
    if selected.is_empty() {
        let fix = "change it, or label hosts by it";
        area.fail("spec.placement.hostSelector selects none of these hosts", fix);
        return area.findings();
    }
    let mut layers = 0;
    for (name, count) in model.spec.layers_by_class() {
        layers += count;
        let Some(class) = model.spec.pod_classes.get(&name) else { continue };
        let domains: BTreeSet<String> = selected
            .iter()
            .filter(|host| takes(host, HostedRole::Layer, class))
            .map(|host| domain(host, spaces))
            .collect();
        let room = domains.len() as u64 * u64::from(placement.max_layers_per_host);
        if room < u64::from(count) {
            area.fail(
                format!(
                    "{count} layers of class {name}, at most {} on a host, and {} trust domains that take such pods",
                    placement.max_layers_per_host,
                    domains.len()
                ),
                "more hosts, higher ceilings (maxPodResources), or a larger spec.placement.maxLayersPerHost",
            );
        }
    }
    let relays = if model.spec.relays.shared { 0 } else { model.spec.relays.replicas };
    if relays > 0 && !selected.iter().any(|host| host.spec.roles.contains(&HostedRole::Relay)) {
        area.fail("none of these hosts takes relays", "Relay in roles of a MixNNHost");
    }
    // Of a model that runs, its own pods are among those that are there.
    let runs = model.status.as_ref().is_some_and(|s| s.layers.is_some());
    let wanted = layers + relays + placement.spares * model.spec.layers_by_class().len() as u32;
    let free: u32 = selected.iter().map(|host| free(host)).sum();
    if !runs && free < wanted {
        let found = format!("{wanted} pods are wanted, the hosts have room for {free}");
        area.fail(found, "higher maxPods, more hosts, or wait");
    }
    let mut findings = area.findings();
    if findings.iter().all(|f| f.level == Level::Ok) {
        let mut area = Area::new("capacity");
        area.ok(format!(
            "{layers} layers and {relays} relays find places on {} hosts",
            selected.len()
        ));
        findings = area.findings();
    }
    findings
}

fn takes(host: &MixNNHost, role: HostedRole, class: &PodClass) -> bool {
    let below = |(name, amount): (&String, &Amount)| {
        let ceilings = [&host.spec.max_pod_resources, &host.spec.max_resources];
        ceilings.iter().all(|c| c.get(name).is_none_or(|max| amount.millis() <= max.millis()))
    };
    host.spec.roles.contains(&role) && class.resources.limits.iter().all(below)
}

fn domain(host: &MixNNHost, spaces: &Spaces) -> String {
    let namespace = host.namespace().unwrap_or_default();
    let space = spaces.get(&namespace);
    space.and_then(|s| s.labels().get(DOMAIN).cloned()).unwrap_or(namespace)
}

/// Pods that a host has room for, by its own count.
fn free(host: &MixNNHost) -> u32 {
    let used = host.status.as_ref().and_then(|s| s.pods.as_deref());
    let used = used.and_then(|p| p.split('/').next()).and_then(|p| p.parse().ok()).unwrap_or(0);
    host.spec.max_pods.saturating_sub(used)
}
