//! What a host namespace needs before the first pod: an account without rights, and walls.

use super::walls::{pods, relays};
use crate::labels;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
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
    /// The pods' walls, in the order in which they are applied: relays keep their doors while the pods' close.
    pub policies: [NetworkPolicy; 2],
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
        policies: [
            relays(metadata.clone(), metrics_readers),
            pods(metadata, operator.0, registration_port),
        ],
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
