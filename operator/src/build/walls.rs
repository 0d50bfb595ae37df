//! NetworkPolicies around the pods in a host's namespace.
//!
//! Two, of which Kubernetes takes the union: one for layer pods and relays alike, and one that opens more to relays.

use crate::labels;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

/// Around all pods: relays reach them, and they reach relays and the operator.
pub fn pods(metadata: ObjectMeta, platform: &str, registration_port: u16) -> NetworkPolicy {
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(with("kubernetes.io/metadata.name", platform)),
        pod_selector: Some(with("app.kubernetes.io/name", labels::OPERATOR)),
        ip_block: None,
    };
    // Not a designer, should the owner's namespace host pods too: it has to reach more than these.
    let hosted = having("In", Some(["layer", "relay"].map(String::from).into()));
    let register = NetworkPolicyEgressRule {
        to: Some(vec![operator]),
        ports: Some(vec![port(registration_port)]),
    };
    wall(metadata, hosted, vec![cells_from(relay())], vec![cells_to(relay()), register])
}

/// Around relays: layer pods and designers reach them too, and the other way round. So do those who read metrics.
pub fn relays(
    metadata: ObjectMeta,
    metrics_readers: Option<&BTreeMap<String, String>>,
) -> NetworkPolicy {
    let metadata = ObjectMeta { name: Some(labels::RELAY_WALL.into()), ..metadata };
    let everybody = having("Exists", None);
    let mut ingress = vec![cells_from(everybody.clone())];
    ingress.extend(metrics_readers.map(reading));
    wall(metadata, relay(), ingress, vec![cells_to(everybody)])
}

fn wall(
    metadata: ObjectMeta,
    around: LabelSelector,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicy {
    let spec = NetworkPolicySpec {
        pod_selector: Some(around),
        policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
        ingress: Some(ingress),
        egress: Some(egress),
    };
    NetworkPolicy { metadata, spec: Some(spec) }
}

/// From pods of MixNN, to the port for cells and letters.
fn cells_from(pods: LabelSelector) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: Some(vec![peer(pods)]),
        ports: Some(vec![port(labels::POD_PORT)]),
    }
}

/// The other way round.
fn cells_to(pods: LabelSelector) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(vec![peer(pods)]),
        ports: Some(vec![port(labels::POD_PORT)]),
    }
}

/// Relays reach it; for the designer's wall.
pub(super) fn relays_as_peers() -> NetworkPolicyPeer {
    peer(relay())
}

/// Pods of MixNN, wherever they may be.
fn peer(pods: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(with(labels::MEMBER, "true")),
        pod_selector: Some(pods),
        ip_block: None,
    }
}

fn relay() -> LabelSelector {
    having("In", Some(vec!["relay".into()]))
}

/// By the label that says what a pod does.
fn having(operator: &str, values: Option<Vec<String>>) -> LabelSelector {
    let requirement =
        LabelSelectorRequirement { key: labels::POD.into(), operator: operator.into(), values };
    LabelSelector { match_expressions: Some(vec![requirement]), match_labels: None }
}

fn with(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        match_expressions: None,
    }
}

/// Who reads metrics: pods of namespaces with the labels.
fn reading(readers: &BTreeMap<String, String>) -> NetworkPolicyIngressRule {
    let namespaces = LabelSelector { match_labels: Some(readers.clone()), match_expressions: None };
    let peer = NetworkPolicyPeer { namespace_selector: Some(namespaces), ..Default::default() };
    NetworkPolicyIngressRule {
        from: Some(vec![peer]),
        ports: Some(vec![port(labels::METRICS_PORT)]),
    }
}

/// One TCP port.
pub(super) fn port(port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(port))),
        protocol: Some("TCP".into()),
        end_port: None,
    }
}
