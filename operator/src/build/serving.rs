//! How clients reach a model that is served: a Service, and walls that let them through.

use super::designer::{metadata, own_labels};
use super::walls::{port, relays_as_peers};
use crate::labels;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mixnn_crds::{MixNNModel, ServingSpec};
use std::collections::BTreeMap;

/// What a served model needs. Owned by the MixNNModel.
#[derive(Clone, Debug, PartialEq)]
pub struct ServingObjects {
    /// Its address.
    pub service: Service,
    /// Relays reach the designer's port for cells, clients that for requests; nobody reaches more.
    pub policy: NetworkPolicy,
}

/// The objects of a model that is to be served.
pub fn serving_objects(model: &MixNNModel) -> Option<ServingObjects> {
    let serving = model.serving()?;
    let metadata = ObjectMeta { name: Some(model.serving_name()), ..metadata(model) };
    let mut designer = own_labels(model.metadata.name.as_deref().unwrap_or_default());
    designer.remove(labels::MANAGED_BY);
    designer.insert(labels::POD.into(), "designer".into());
    Some(ServingObjects {
        service: service(metadata.clone(), serving, designer.clone()),
        policy: policy(metadata, serving, designer),
    })
}

fn service(
    metadata: ObjectMeta,
    serving: &ServingSpec,
    designer: BTreeMap<String, String>,
) -> Service {
    let port = i32::from(serving.port);
    let spec = ServiceSpec {
        type_: Some("ClusterIP".into()),
        selector: Some(designer),
        ports: Some(vec![ServicePort {
            // By its prefix meshes and gateways know what is spoken.
            name: Some("https".into()),
            port,
            target_port: Some(IntOrString::Int(port)),
            protocol: Some("TCP".into()),
            ..ServicePort::default()
        }]),
        ..ServiceSpec::default()
    };
    Service { metadata, spec: Some(spec), status: None }
}

fn policy(
    metadata: ObjectMeta,
    serving: &ServingSpec,
    designer: BTreeMap<String, String>,
) -> NetworkPolicy {
    let clients = serving.clients.as_ref().map(|clients| {
        vec![NetworkPolicyPeer {
            namespace_selector: Some(clients.namespace_selector.clone()),
            ..NetworkPolicyPeer::default()
        }]
    });
    let rule = |from, to| NetworkPolicyIngressRule { from, ports: Some(vec![port(to)]) };
    let spec = NetworkPolicySpec {
        pod_selector: Some(LabelSelector { match_labels: Some(designer), match_expressions: None }),
        policy_types: Some(vec!["Ingress".into()]),
        ingress: Some(vec![
            rule(Some(vec![relays_as_peers()]), labels::POD_PORT),
            rule(clients, serving.port),
        ]),
        egress: None,
    };
    NetworkPolicy { metadata, spec: Some(spec) }
}
