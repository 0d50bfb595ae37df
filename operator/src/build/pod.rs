//! A pod of a host namespace. It tells nothing: every pod of a class has the same spec.

use super::host::owner;
use crate::labels;
use crate::record::{Pin, Role, Slot};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, HostAlias,
    LocalObjectReference, ObjectFieldSelector, Pod, PodSchedulingGate, PodSecurityContext, PodSpec,
    ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecurityContext,
    ServiceAccountTokenProjection, Toleration, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mixnn_crds::{Amount, MixNNHost, PodClass, SuiteName};
use std::collections::BTreeMap;

/// Seconds that a pod's registration token is good for. Kubernetes renews it.
const TOKEN_SECONDS: i64 = 3600;
/// Seconds after which a pod leaves a node that does not answer.
const UNREACHABLE: i64 = 10;
/// Seconds for a pod to end.
const GRACE: i64 = 10;
/// The user of every container.
const USER: i64 = 65_532;

/// What is the same for all pods.
#[derive(Clone, Debug)]
pub struct PodContext {
    /// URL of the registration service.
    pub registry: String,
    /// Its name, and its ClusterIP if pods are to find it without DNS.
    pub alias: Option<(String, std::net::IpAddr)>,
    /// Its CAs, in PEM.
    pub ca: String,
    /// Audience of pods' tokens.
    pub audience: String,
    /// Whether relays serve metrics.
    pub relay_metrics: bool,
}

/// The pod of a slot. `seal` goes into its annotation. Nothing if the pin has not the slot's class.
pub fn pod(
    slot: &Slot,
    pin: &Pin,
    host: &MixNNHost,
    context: &PodContext,
    seal: String,
) -> Option<Pod> {
    let class = match slot.role {
        Role::Layer => pin.classes.get(&slot.class)?,
        Role::Relay => &pin.relay_class,
    };
    let spec = &host.spec;
    let mut pod_labels = spec.extra_labels.clone();
    pod_labels.extend(mesh_off());
    pod_labels.insert(labels::POD.into(), role_name(slot.role).into());
    let mut env = node_env(pin.suite, context);
    let mut ports = vec![port("cells", labels::POD_PORT)];
    let image = match slot.role {
        Role::Layer => &pin.layer_image,
        Role::Relay => {
            env.push(plain("MIXNN_LANE_MEMORY", lane_memory(class).to_string()));
            if context.relay_metrics {
                ports.push(port("metrics", labels::METRICS_PORT));
                let listen = format!("0.0.0.0:{}", labels::METRICS_PORT);
                env.push(plain("MIXNN_METRICS_LISTEN", listen));
            }
            &pin.relay_image
        }
    };
    let metadata = ObjectMeta {
        name: Some(slot.pod.clone()),
        namespace: Some(slot.host.clone()),
        labels: Some(pod_labels),
        annotations: Some([(labels::SEAL.to_owned(), seal)].into()),
        owner_references: Some(vec![owner(host)]),
        ..Default::default()
    };
    let own_account = || labels::HOST_OBJECTS.to_owned();
    let pull = spec.image_pull_secrets.iter();
    let spec = PodSpec {
        service_account_name: Some(spec.service_account_name.clone().unwrap_or_else(own_account)),
        image_pull_secrets: non_empty(pull.map(|s| LocalObjectReference { name: s.name.clone() })),
        node_selector: (!spec.node_selector.is_empty()).then(|| spec.node_selector.clone()),
        runtime_class_name: spec.runtime_class_name.clone(),
        priority_class_name: spec.priority_class_name.clone(),
        tolerations: Some(tolerations(&spec.tolerations)),
        scheduling_gates: Some(vec![PodSchedulingGate { name: labels::GATE.into() }]),
        containers: vec![Container { ports: Some(ports), ..container(image, class, env) }],
        ..bare_spec(context)
    };
    Some(Pod { metadata, spec: Some(spec), status: None })
}

/// What a pod does, as its label says.
pub const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Layer => "layer",
        Role::Relay => "relay",
    }
}

/// Meshes would put containers of their own beside ours.
fn mesh_off() -> BTreeMap<String, String> {
    [("sidecar.istio.io/inject", "false"), ("linkerd.io/inject", "disabled")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into()
}

/// What layer pods, relays and designers have in common.
pub fn bare_spec(context: &PodContext) -> PodSpec {
    let alias = context
        .alias
        .iter()
        .map(|(name, ip)| HostAlias { ip: ip.to_string(), hostnames: Some(vec![name.clone()]) });
    PodSpec {
        restart_policy: Some("Never".into()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(GRACE),
        host_aliases: non_empty(alias),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            run_as_group: Some(USER),
            fs_group: Some(USER),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".into(),
                localhost_profile: None,
            }),
            ..Default::default()
        }),
        volumes: Some(vec![token_volume(&context.audience), scratch_volume()]),
        ..Default::default()
    }
}

fn token_volume(audience: &str) -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(audience.to_owned()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: "token".into(),
    };
    let source = VolumeProjection { service_account_token: Some(token), ..Default::default() };
    let projected =
        ProjectedVolumeSource { default_mode: Some(0o440), sources: Some(vec![source]) };
    Volume { name: "registration".into(), projected: Some(projected), ..Default::default() }
}

fn scratch_volume() -> Volume {
    let memory = EmptyDirVolumeSource { medium: Some("Memory".into()), size_limit: None };
    Volume { name: "scratch".into(), empty_dir: Some(memory), ..Default::default() }
}

/// A pod leaves a node that does not answer sooner than Kubernetes would have it.
pub fn tolerations(of_host: &[Toleration]) -> Vec<Toleration> {
    let leave = |key: &str| Toleration {
        key: Some(key.into()),
        operator: Some("Exists".into()),
        effect: Some("NoExecute".into()),
        toleration_seconds: Some(UNREACHABLE),
        value: None,
    };
    let mut all = of_host.to_vec();
    all.push(leave("node.kubernetes.io/not-ready"));
    all.push(leave("node.kubernetes.io/unreachable"));
    all
}

/// What of a relay's memory lanes may take, in MiB: two thirds, so that a full relay refuses lanes and is
/// not ended by its node.
fn lane_memory(class: &PodClass) -> i128 {
    let bytes = class.resources.limits.get("memory").and_then(Amount::millis).unwrap_or(0) / 1000;
    (bytes >> 20) * 2 / 3
}

fn port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        container_port: i32::from(port),
        name: Some(name.into()),
        protocol: Some("TCP".into()),
        ..Default::default()
    }
}

fn container(image: &str, class: &PodClass, env: Vec<EnvVar>) -> Container {
    let limits: BTreeMap<_, _> =
        class.resources.limits.iter().map(|(k, v)| (k.clone(), v.quantity())).collect();
    Container {
        name: "mixnn".into(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".into()),
        env: Some(env),
        resources: Some(ResourceRequirements {
            requests: Some(limits.clone()),
            limits: Some(limits),
            ..Default::default()
        }),
        ..bare_container()
    }
}

/// What every container has: no rights, a read-only root, the token.
pub fn bare_container() -> Container {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: read_only.then_some(true),
        ..Default::default()
    };
    Container {
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
            ..Default::default()
        }),
        volume_mounts: Some(vec![
            mount("registration", "/var/run/mixnn", true),
            mount("scratch", "/tmp", false),
        ]),
        termination_message_policy: Some("File".into()),
        ..Default::default()
    }
}

/// The flags of a node, as environment.
pub fn node_env(suite: SuiteName, context: &PodContext) -> Vec<EnvVar> {
    let suite = match suite {
        SuiteName::XWing => "x-wing",
        SuiteName::X25519 => "x25519",
    };
    let ip =
        ObjectFieldSelector { api_version: Some("v1".into()), field_path: "status.podIP".into() };
    vec![
        EnvVar {
            name: "POD_IP".into(),
            value: None,
            value_from: Some(EnvVarSource { field_ref: Some(ip), ..Default::default() }),
        },
        plain("MIXNN_ADVERTISE", format!("http://$(POD_IP):{}", labels::POD_PORT)),
        plain("MIXNN_LISTEN", format!("0.0.0.0:{}", labels::POD_PORT)),
        plain("MIXNN_LOG_FORMAT", "json".into()),
        plain("MIXNN_REGISTRY", context.registry.clone()),
        plain("MIXNN_REGISTRY_CA_PEM", context.ca.clone()),
        plain("MIXNN_SUITE", suite.into()),
        plain("MIXNN_TOKEN_FILE", "/var/run/mixnn/token".into()),
    ]
}

fn plain(name: &str, value: String) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value), value_from: None }
}

fn non_empty<T>(items: impl Iterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then_some(items)
}

/// What somebody put into a pod, or took out of it, between our request and the API server's store.
/// Defaults that the API server fills in do not count.
pub fn altered(sent: &Pod, found: &Pod) -> Option<String> {
    let (Some(sent), Some(found)) = (&sent.spec, &found.spec) else {
        return Some("the spec".into());
    };
    if found.init_containers.iter().flatten().next().is_some() {
        return Some("init containers".into());
    }
    if found.ephemeral_containers.iter().flatten().next().is_some() {
        return Some("ephemeral containers".into());
    }
    let names = |spec: &PodSpec| -> Vec<Volume> { spec.volumes.clone().unwrap_or_default() };
    if names(sent) != names(found) {
        return Some("volumes".into());
    }
    if sent.containers.len() != found.containers.len() {
        return Some("containers".into());
    }
    let mut containers = sent.containers.iter().zip(&found.containers);
    if let Some(what) = containers.find_map(|(s, f)| altered_container(s, f)) {
        return Some(what);
    }
    let same = [
        ("serviceAccountName", sent.service_account_name == found.service_account_name),
        (
            "automountServiceAccountToken",
            sent.automount_service_account_token == found.automount_service_account_token,
        ),
        ("securityContext", sent.security_context == found.security_context),
        ("hostAliases", sent.host_aliases == found.host_aliases),
        ("runtimeClassName", sent.runtime_class_name == found.runtime_class_name),
        ("hostNetwork", !found.host_network.unwrap_or(false)),
        ("hostPID", !found.host_pid.unwrap_or(false)),
        ("hostIPC", !found.host_ipc.unwrap_or(false)),
        ("shareProcessNamespace", !found.share_process_namespace.unwrap_or(false)),
    ];
    same.iter().find(|(_, same)| !same).map(|(what, _)| (*what).to_owned())
}

fn altered_container(sent: &Container, found: &Container) -> Option<String> {
    let amounts = |c: &Container| {
        let limits = c.resources.as_ref().and_then(|r| r.limits.clone()).unwrap_or_default();
        limits.into_iter().map(|(name, q)| (name, Amount(q.0).millis())).collect::<BTreeMap<_, _>>()
    };
    let kept = amounts(sent).iter().all(|(name, amount)| amounts(found).get(name) == Some(amount));
    let same = [
        ("containers", sent.name == found.name),
        ("the image", sent.image == found.image),
        ("the command", sent.command == found.command && sent.args == found.args),
        ("env", sent.env == found.env && found.env_from.iter().flatten().next().is_none()),
        ("volume mounts", mounts(sent) == mounts(found)),
        ("the security context", sent.security_context == found.security_context),
        (
            "probes or hooks",
            found.lifecycle.is_none()
                && found.liveness_probe.is_none()
                && found.startup_probe.is_none(),
        ),
        ("resources", kept),
    ];
    same.iter().find(|(_, same)| !same).map(|(what, _)| (*what).to_owned())
}

fn mounts(container: &Container) -> Vec<(&str, &str)> {
    let mounts = container.volume_mounts.iter().flatten();
    mounts.map(|m| (m.name.as_str(), m.mount_path.as_str())).collect()
}
