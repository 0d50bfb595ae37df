//! The designer: in the owner's namespace, one at a time, with rights on its own model only.

use super::mounts::{mounts, needs_keys};
use super::pod::{PodContext, bare_container, bare_spec, node_env, tolerations};
use crate::labels;
use crate::record::Pin;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, PodSpec, PodTemplateSpec, ResourceRequirements, ServiceAccount,
};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;
use mixnn_crds::MixNNModel;
use mixnn_protocol::registration::Directory;
use serde_json::json;
use std::collections::BTreeMap;

/// Nodes in one ConfigMap of the directory: a ConfigMap holds 1 MiB, a node with an X-Wing key takes 2 KiB.
const NODES: usize = 256;

/// What is known of a designer.
#[derive(Clone, Copy, Debug)]
pub struct Designer<'a> {
    /// The model.
    pub model: &'a MixNNModel,
    /// What the run is pinned to.
    pub pin: &'a Pin,
    /// Whether it shall run.
    pub running: bool,
}

/// All that a designer needs. Owned by the MixNNModel.
#[derive(Clone, Debug, PartialEq)]
pub struct DesignerObjects {
    /// Its account.
    pub account: ServiceAccount,
    /// Its rights.
    pub role: Role,
    /// Gives it its rights.
    pub binding: RoleBinding,
    /// The model as a file.
    pub file: ConfigMap,
    /// Itself.
    pub stateful_set: StatefulSet,
}

/// The objects of a model's designer.
pub fn designer_objects(designer: Designer<'_>, context: &PodContext) -> DesignerObjects {
    let model = designer.model;
    let metadata = metadata(model);
    let annotations = model.spec.designer.as_ref().map(|d| d.service_account_annotations.clone());
    let account = ServiceAccount {
        metadata: ObjectMeta { annotations, ..metadata.clone() },
        automount_service_account_token: Some(false),
        ..Default::default()
    };
    let binding = RoleBinding {
        metadata: metadata.clone(),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "Role".into(),
            name: designer_name(model),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: designer_name(model),
            namespace: metadata.namespace.clone(),
            api_group: None,
        }]),
    };
    DesignerObjects {
        account,
        role: role(metadata.clone(), model),
        binding,
        file: file(&metadata, model),
        stateful_set: stateful_set(metadata, designer, context),
    }
}

/// Name of what is made for a model's designer.
pub fn designer_name(model: &MixNNModel) -> String {
    format!("{}-designer", model.metadata.name.as_deref().unwrap_or_default())
}

pub(super) fn metadata(model: &MixNNModel) -> ObjectMeta {
    let name = model.metadata.name.clone().unwrap_or_default();
    ObjectMeta {
        name: Some(designer_name(model)),
        namespace: model.metadata.namespace.clone(),
        labels: Some(own_labels(&name)),
        owner_references: Some(vec![OwnerReference {
            api_version: MixNNModel::api_version(&()).into_owned(),
            kind: MixNNModel::kind(&()).into_owned(),
            name,
            uid: model.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        }]),
        ..Default::default()
    }
}

pub(super) fn own_labels(model: &str) -> BTreeMap<String, String> {
    [(labels::MANAGED_BY, labels::OPERATOR), (labels::MODEL, model)]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

fn role(metadata: ObjectMeta, model: &MixNNModel) -> Role {
    let name = model.metadata.name.clone().unwrap_or_default();
    let rule = |group: &str, resource: &str, names: Option<Vec<String>>, verb: &str| PolicyRule {
        api_groups: Some(vec![group.into()]),
        resources: Some(vec![resource.into()]),
        resource_names: names,
        verbs: vec![verb.into()],
        non_resource_urls: None,
    };
    let own = || Some(vec![name.clone()]);
    let mut rules = vec![
        // Its own model: since when conditions hold, and how it goes.
        rule("mixnn.dev", "mixnnmodels", own(), "get"),
        rule("mixnn.dev", "mixnnmodels/status", own(), "patch"),
    ];
    if needs_keys(model) {
        // The owner's keys, made once; they are read by a mount. A create cannot be bound to a name.
        rules.push(rule("", "secrets", None, "create"));
    }
    Role { metadata, rules: Some(rules) }
}

fn directory_name(model: &str, i: usize) -> String {
    format!("{model}-nodes-{i}")
}

/// The model as `mixnn run -f` would read it.
fn file(metadata: &ObjectMeta, model: &MixNNModel) -> ConfigMap {
    let text = json!({
        "apiVersion": MixNNModel::api_version(&()),
        "kind": MixNNModel::kind(&()),
        "metadata": {
            "name": model.metadata.name, "namespace": model.metadata.namespace,
            "uid": model.metadata.uid, "generation": model.metadata.generation,
        },
        "spec": model.spec,
    });
    // JSON is YAML.
    let text = serde_json::to_string_pretty(&text).unwrap_or_default();
    ConfigMap {
        metadata: metadata.clone(),
        data: Some([("model.yaml".to_owned(), text)].into()),
        ..Default::default()
    }
}

fn stateful_set(metadata: ObjectMeta, designer: Designer<'_>, context: &PodContext) -> StatefulSet {
    let model = designer.model;
    let mut pod_labels = own_labels(model.metadata.name.as_deref().unwrap_or_default());
    let selector =
        LabelSelector { match_labels: Some(pod_labels.clone()), match_expressions: None };
    pod_labels.insert(labels::POD.into(), "designer".into());
    let mut spec = bare_spec(context);
    spec.restart_policy = None;
    spec.tolerations = Some(tolerations(&[]));
    spec.service_account_name.clone_from(&metadata.name);
    let mounts = mounts(model);
    spec.volumes.get_or_insert_default().extend(mounts.volumes);
    let mut container = container(designer, mounts.args, context);
    container.volume_mounts.get_or_insert_default().extend(mounts.at);
    container.env_from = (!mounts.env_from.is_empty()).then_some(mounts.env_from);
    spec.containers = vec![container];
    StatefulSet {
        metadata: metadata.clone(),
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::from(designer.running)),
            service_name: metadata.name,
            selector,
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".into()),
                rolling_update: None,
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(pod_labels), ..Default::default() }),
                spec: Some(PodSpec { ..spec }),
            },
            ..Default::default()
        }),
        status: None,
    }
}

fn container(designer: Designer<'_>, args: Vec<String>, context: &PodContext) -> Container {
    let amounts = [("cpu", "1"), ("memory", "2Gi")];
    let amounts: BTreeMap<_, _> =
        amounts.map(|(k, v)| (k.to_owned(), Quantity(v.to_owned()))).into();
    Container {
        name: "designer".into(),
        image: Some(designer.pin.designer_image.clone()),
        args: Some(args),
        env: Some(node_env(designer.pin.suite, context)),
        resources: Some(ResourceRequirements { requests: Some(amounts), ..Default::default() }),
        ..bare_container()
    }
}

/// The directory as ConfigMaps in the owner's namespace, and nowhere else.
pub fn directory_maps(model: &MixNNModel, directory: &Directory) -> Vec<ConfigMap> {
    let name = model.metadata.name.clone().unwrap_or_default();
    let chunks: Vec<_> = match directory.nodes.as_slice() {
        [] => vec![[].as_slice()],
        nodes => nodes.chunks(NODES).collect(),
    };
    let total = chunks.len();
    let map = |(i, nodes)| {
        let text = json!({"epoch": directory.epoch, "of": total, "nodes": nodes}).to_string();
        ConfigMap {
            metadata: ObjectMeta { name: Some(directory_name(&name, i)), ..metadata(model) },
            data: Some([("nodes.json".to_owned(), text)].into()),
            ..Default::default()
        }
    };
    chunks.into_iter().enumerate().map(map).collect()
}
