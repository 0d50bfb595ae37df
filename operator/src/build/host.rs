//! What a host namespace needs before the first pod: an account without rights, and walls.

use crate::labels;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;
use mixnn_crds::MixNNHost;
use std::collections::BTreeMap;

/// What the operator makes in a host namespace. All of it is owned by the MixNNHost.
#[derive(Clone, Debug, PartialEq)]
pub struct HostObjects {
    /// Lets the operator make pods there.
    pub binding: RoleBinding,
    /// The pods' account, if the host names none of its own.
    pub account: Option<ServiceAccount>,
    /// Only pods of MixNN reach the pods, and they reach only those and the operator. Who reads metrics reaches those.
    pub policy: NetworkPolicy,
}

/// The objects of a host. `operator`: namespace and name of its ServiceAccount.
pub fn host_objects(
    host: &MixNNHost,
    operator: (&str, &str),
    registration_port: u16,
    metrics_readers: Option<&BTreeMap<String, String>>,
) -> HostObjects {
    let namespace = host.metadata.namespace.clone().unwrap_or_default();
    let metadata = ObjectMeta {
        name: Some(labels::HOST_OBJECTS.into()),
        namespace: Some(namespace),
        labels: Some([(labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned())].into()),
        owner_references: Some(vec![owner(host)]),
        ..Default::default()
    };
    let account = ServiceAccount {
        metadata: metadata.clone(),
        automount_service_account_token: Some(false),
        ..Default::default()
    };
    HostObjects {
        // Not owned by the host: the operator still has to end the last pods when it is gone.
        binding: binding(
            ObjectMeta { owner_references: None, ..metadata.clone() },
            labels::HOST_ROLE,
            operator,
        ),
        account: host.spec.service_account_name.is_none().then_some(account),
        policy: policy(metadata, operator.0, registration_port, metrics_readers),
    }
}

/// What is made for a host goes with it.
pub(super) fn owner(host: &MixNNHost) -> OwnerReference {
    OwnerReference {
        api_version: MixNNHost::api_version(&()).into_owned(),
        kind: MixNNHost::kind(&()).into_owned(),
        name: host.metadata.name.clone().unwrap_or_default(),
        uid: host.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// Binds one of the chart's ClusterRoles to the operator, within one namespace.
pub fn binding(metadata: ObjectMeta, role: &str, operator: (&str, &str)) -> RoleBinding {
    RoleBinding {
        metadata,
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "ClusterRole".into(),
            name: role.into(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            namespace: Some(operator.0.into()),
            name: operator.1.into(),
            api_group: None,
        }]),
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

/// Objects with this label.
fn with(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        match_expressions: None,
    }
}

/// Every pod of MixNN.
pub(super) fn peers() -> NetworkPolicyPeer {
    let ours = LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: labels::POD.into(),
            operator: "Exists".into(),
            values: None,
        }]),
        match_labels: None,
    };
    NetworkPolicyPeer {
        namespace_selector: Some(with(labels::MEMBER, "true")),
        pod_selector: Some(ours),
        ip_block: None,
    }
}

/// Who reads metrics: pods of namespaces with the labels. Only relays listen at that port.
fn reading(readers: &BTreeMap<String, String>) -> NetworkPolicyIngressRule {
    let namespaces = LabelSelector { match_labels: Some(readers.clone()), match_expressions: None };
    let peer = NetworkPolicyPeer { namespace_selector: Some(namespaces), ..Default::default() };
    NetworkPolicyIngressRule {
        from: Some(vec![peer]),
        ports: Some(vec![port(labels::METRICS_PORT)]),
    }
}

fn policy(
    metadata: ObjectMeta,
    platform: &str,
    registration_port: u16,
    metrics_readers: Option<&BTreeMap<String, String>>,
) -> NetworkPolicy {
    let operator = NetworkPolicyPeer {
        namespace_selector: Some(with("kubernetes.io/metadata.name", platform)),
        pod_selector: Some(with("app.kubernetes.io/name", labels::OPERATOR)),
        ip_block: None,
    };
    let cells = || Some(vec![port(labels::POD_PORT)]);
    // Not a designer, should the owner's namespace host pods too: it has to reach more than these.
    let hosted = LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: labels::POD.into(),
            operator: "In".into(),
            values: Some(vec!["layer".into(), "relay".into()]),
        }]),
        match_labels: None,
    };
    let mut ingress = vec![NetworkPolicyIngressRule { from: Some(vec![peers()]), ports: cells() }];
    ingress.extend(metrics_readers.map(reading));
    let spec = NetworkPolicySpec {
        pod_selector: Some(hosted),
        policy_types: Some(vec!["Ingress".into(), "Egress".into()]),
        ingress: Some(ingress),
        egress: Some(vec![
            NetworkPolicyEgressRule { to: Some(vec![peers()]), ports: cells() },
            NetworkPolicyEgressRule {
                to: Some(vec![operator]),
                ports: Some(vec![port(registration_port)]),
            },
        ]),
    };
    NetworkPolicy { metadata, spec: Some(spec) }
}
