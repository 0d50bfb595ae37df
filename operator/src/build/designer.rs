//! The designer: in the owner's namespace, one at a time, with rights on its own model only.

use super::pod::{PodContext, bare_container, bare_spec, node_env};
use crate::labels;
use crate::record::Pin;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    ConfigMap, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, KeyToPath, PodSpec,
    PodTemplateSpec, ResourceRequirements, SecretVolumeSource, ServiceAccount, Volume, VolumeMount,
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
    /// How many ConfigMaps the directory has at most.
    pub directory_maps: usize,
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
    let account = ServiceAccount {
        metadata: metadata.clone(),
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
        role: role(metadata.clone(), model, designer.directory_maps),
        binding,
        file: file(&metadata, model),
        stateful_set: stateful_set(metadata, designer, context),
    }
}

/// Name of what is made for a model's designer.
pub fn designer_name(model: &MixNNModel) -> String {
    format!("{}-designer", model.metadata.name.as_deref().unwrap_or_default())
}

fn metadata(model: &MixNNModel) -> ObjectMeta {
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

fn own_labels(model: &str) -> BTreeMap<String, String> {
    [(labels::MANAGED_BY, labels::OPERATOR), (labels::MODEL, model)]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

fn role(metadata: ObjectMeta, model: &MixNNModel, directory_maps: usize) -> Role {
    let name = model.metadata.name.clone().unwrap_or_default();
    let rule = |group: &str, resource: &str, names: Vec<String>, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![group.into()]),
        resources: Some(vec![resource.into()]),
        resource_names: Some(names),
        verbs: verbs.iter().map(|v| (*v).to_owned()).collect(),
        non_resource_urls: None,
    };
    let maps = (0..directory_maps).map(|i| directory_name(&name, i)).collect();
    let rules = vec![
        // Its own model: what to do, and how it goes.
        rule("mixnn.dev", "mixnnmodels", vec![name.clone()], &["get", "watch"]),
        rule("mixnn.dev", "mixnnmodels/status", vec![name.clone()], &["patch"]),
        // The directory of keys.
        rule("", "configmaps", maps, &["get", "watch"]),
    ];
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
        "metadata": {"name": model.metadata.name, "namespace": model.metadata.namespace},
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
    spec.service_account_name.clone_from(&metadata.name);
    spec.volumes.get_or_insert_default().extend(volumes(model));
    spec.containers = vec![container(designer, context)];
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

fn volumes(model: &MixNNModel) -> Vec<Volume> {
    let file = ConfigMapVolumeSource { name: designer_name(model), ..Default::default() };
    let mut volumes = vec![
        Volume { name: "model".into(), config_map: Some(file), ..Default::default() },
        Volume {
            name: "state".into(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Default::default()
        },
    ];
    let secret = |volume: &str, name: &str, key: &str, path: &str| Volume {
        name: volume.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(name.into()),
            items: Some(vec![KeyToPath { key: key.into(), path: path.into(), mode: None }]),
            default_mode: Some(0o440),
            optional: None,
        }),
        ..Default::default()
    };
    if let Some(seed) = &model.spec.training.seed_from {
        let r = &seed.secret_key_ref;
        volumes.push(secret("owner-secret", &r.name, &r.key, "owner-secret"));
    }
    if let Some(layers) = &model.spec.layers_from {
        volumes.push(secret(
            "layers",
            &layers.secret_ref.name,
            &layers.secret_ref.key,
            "layers.yaml",
        ));
    }
    volumes
}

fn container(designer: Designer<'_>, context: &PodContext) -> Container {
    let spec = &designer.model.spec;
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..Default::default()
    };
    let mut container = bare_container();
    let mounts = container.volume_mounts.get_or_insert_default();
    mounts.extend([mount("model", "/etc/mixnn", true), mount("state", "/state", false)]);
    let mut secret = "/state/owner-secret";
    if spec.training.seed_from.is_some() {
        mounts.push(mount("owner-secret", "/etc/mixnn-secret", true));
        secret = "/etc/mixnn-secret/owner-secret";
    }
    if spec.layers_from.is_some() {
        mounts.push(mount("layers", "/etc/mixnn-layers", true));
    }
    let args = ["train", "--file", "/etc/mixnn/model.yaml", "--owner-secret", secret]
        .into_iter()
        .chain(["--weights", "/state/model.safetensors"]);
    let amounts = [("cpu", "1"), ("memory", "2Gi")];
    let amounts: BTreeMap<_, _> =
        amounts.map(|(k, v)| (k.to_owned(), Quantity(v.to_owned()))).into();
    Container {
        name: "designer".into(),
        image: Some(designer.pin.designer_image.clone()),
        args: Some(args.map(str::to_owned).collect()),
        env: Some(node_env(designer.pin.suite, context)),
        resources: Some(ResourceRequirements { requests: Some(amounts), ..Default::default() }),
        ..container
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

/// How many ConfigMaps a directory of this many nodes takes.
pub const fn maps_for(nodes: usize) -> usize {
    if nodes == 0 { 1 } else { nodes.div_ceil(NODES) }
}
