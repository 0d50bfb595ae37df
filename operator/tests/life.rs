//! A model's life on a real API server: pods, keys, losses, suspend, end.

#![allow(clippy::unwrap_used)]

mod common;

use clap::Parser;
use common::kubelet;
use common::team::{PLATFORM, Running, pod_token};
use common::{World, objects, until};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use mixnn_node::{NodeArgs, NodeError, RegistryClient};
use mixnn_protocol::registration::{Directory, Head, NodeClass};
use mixnn_protocol::{ClaimKey, KeyPair, Suite, SystemRng};
use serde_json::{Value, json};
use std::collections::HashSet;

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

/// A client of the registration service, with the CA that is in the pod's spec.
fn registry(
    running: &Running,
    pod: &Pod,
    token: &str,
    folder: &tempfile::TempDir,
) -> RegistryClient {
    let env = pod.spec.as_ref().unwrap().containers[0].env.clone().unwrap();
    let ca = env.iter().find(|e| e.name == "MIXNN_REGISTRY_CA_PEM").unwrap().value.clone().unwrap();
    let file = folder.path().join(pod.name_any());
    std::fs::write(&file, token).unwrap();
    let url = format!("https://localhost:{}", running.registration.port());
    let ca = format!("--registry-ca-pem={ca}");
    let args = ["x", "--registry", &url, &ca, "--token-file", file.to_str().unwrap()];
    RegistryClient::new(&Args::try_parse_from(args).unwrap().node).unwrap()
}

const AUDIENCE: &str = "mixnn.dev/registration";
const URL: &str = "http://10.1.0.1:7000";

fn keys() -> KeyPair {
    KeyPair::generate(Suite::XWing, &mut SystemRng)
}

fn reason(error: NodeError) -> String {
    match error {
        NodeError::Refused { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn from_apply_to_delete() {
    let Some(world) = World::start().await else { return };
    let operator = world.operator(&["--lost-after", "5"]).await;
    let hosts = world.teams("vision", 3).await;
    let model = world.create(&objects::model("vision", "net", 2, 3)).await;
    world.condition("vision", "net", "Scheduled", "True", "Scheduled").await;
    let pods = world.pods(&hosts).await;
    assert_eq!(pods.len(), 5);
    pods_tell_nothing(&world, &pods, &model.uid().unwrap()).await;
    let designer = designer_is_there(&world).await;
    the_operator_is_held_to_one_shape(&world, &pods[0], &designer).await;
    registration(&world, &operator, &pods, &designer).await;
    a_lost_pod_is_replaced(&world, &hosts, &pods).await;
    a_served_model_whose_designer_is_gone(&world, &hosts).await;
    a_pod_on_a_dead_node_is_replaced(&world, &hosts).await;
    suspend_and_resume(&world, &hosts).await;
    world.models("vision").delete("net", &DeleteParams::default()).await.unwrap();
    until("every pod is gone", || async { world.pods(&hosts).await.is_empty().then_some(()) })
        .await;
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), PLATFORM);
    until("records and registrations are gone", || async {
        let left = maps.list(&ListParams::default().labels("mixnn.dev/record")).await.ok()?;
        left.items.is_empty().then_some(())
    })
    .await;
    operator.stop().await;
}

/// What a host's admin can read says neither whose pods these are, nor which layer.
async fn pods_tell_nothing(world: &World, pods: &[Pod], uid: &str) {
    let mut shapes = HashSet::new();
    for pod in pods {
        let text = serde_json::to_string(&pod.metadata).unwrap()
            + &serde_json::to_string(&pod.spec).unwrap();
        let namespace = pod.namespace().unwrap();
        let text = text.replace(&namespace, "");
        for told in ["vision", "net\"", "first", "hidden-1", uid] {
            assert!(!text.contains(told), "'{told}' in {text}");
        }
        let owner = &pod.owner_references()[0];
        assert_eq!((owner.kind.as_str(), owner.controller), ("MixNNHost", Some(true)));
        let role = pod.labels()["mixnn.dev/pod"].clone();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        shapes.insert((role, serde_json::to_string(container).unwrap()));
    }
    assert_eq!(shapes.len(), 2, "all layers are alike, all relays are");
    let host = pods[0].namespace().unwrap();
    let policies: Api<NetworkPolicy> = Api::namespaced(world.client.clone(), &host);
    for wall in ["mixnn-pods", "mixnn-relays"] {
        let there = policies.get_opt(wall).await.unwrap().is_some();
        assert!(there, "walls stand before the first pod");
    }
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), &host);
    let account = accounts.get("mixnn-pods").await.unwrap();
    assert_eq!(account.automount_service_account_token, Some(false));
    let events = world.cluster.kubectl(&["get", "events", "-n", &host, "-o", "json"], "").1;
    assert!(!events.contains("vision/") && !events.contains(uid), "{events}");
}

async fn designer_is_there(world: &World) -> Pod {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "vision");
    let pod =
        until("the designer's pod", || async { pods.get_opt("net-designer-0").await.ok()? }).await;
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), "vision");
    assert!(
        secrets.list(&ListParams::default()).await.unwrap().items.is_empty(),
        "the operator makes no secret of the owner's"
    );
    pod
}

/// By the API server, whatever the operator asks for (`rbac/admission.yaml`).
async fn the_operator_is_held_to_one_shape(world: &World, pod: &Pod, designer: &Pod) {
    let client = world.cluster.client_with(&world.operator_token);
    let (host, pod_name) = (pod.namespace().unwrap(), pod.name_any());
    let mut spec = serde_json::to_value(&pod.spec).unwrap();
    spec.as_object_mut().unwrap().remove("nodeName");
    let made = json!({"metadata": {"name": "made", "labels": pod.labels(),
        "ownerReferences": pod.owner_references()}, "spec": spec});
    let create = |namespace: String, change: Value| {
        let mut made = made.clone();
        objects::merge(&mut made, change);
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        async move {
            let made = serde_json::from_value(made).unwrap();
            let params = PostParams { dry_run: true, ..PostParams::default() };
            api.create(&params, &made).await.map(drop).map_err(|e| e.to_string())
        }
    };
    assert_eq!(create(host.clone(), json!({})).await, Ok(()));
    let volume = |source: Value| {
        let mut volumes = made["spec"]["volumes"].clone();
        let mut volume = json!({"name": "more"});
        objects::merge(&mut volume, source);
        volumes.as_array_mut().unwrap().push(volume);
        json!({"spec": {"volumes": volumes}})
    };
    let container = |change: Value| {
        let mut containers = made["spec"]["containers"].clone();
        objects::merge(&mut containers[0], change);
        json!({"spec": {"containers": containers}})
    };
    let token = json!({"projected": {"sources": [{"serviceAccountToken": {"path": "api"}}]}});
    let from =
        json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "a"}}}]});
    for (change, words) in [
        (container(json!({"image": "example.org/layer:latest"})), "by digest"),
        (container(json!({"envFrom": [{"secretRef": {"name": "a"}}]})), "no Secret"),
        (container(from), "no Secret"),
        (container(json!({"securityContext": {"readOnlyRootFilesystem": false}})), "writable root"),
        (container(json!({"securityContext": {"runAsUser": 0}})), "without root"),
        (container(json!({"securityContext": {"runAsNonRoot": false}})), "without root"),
        (
            container(json!({"ports": [{"containerPort": 7000, "hostPort": 7000}]})),
            "port of their node",
        ),
        (volume(json!({"secret": {"secretName": "a"}})), "nothing else"),
        (volume(json!({"hostPath": {"path": "/"}})), "nothing else"),
        (volume(json!({"persistentVolumeClaim": {"claimName": "a"}})), "nothing else"),
        (volume(token), "nothing else"),
        (json!({"spec": {"serviceAccountName": "default"}}), "account"),
        (json!({"spec": {"hostNetwork": true}}), "share nothing"),
        (json!({"metadata": {"ownerReferences": null}}), "owned by the MixNNHost"),
        (json!({"metadata": {"labels": {"mixnn.dev/pod": "other"}}}), "layers and relays"),
    ] {
        let said = create(host.clone(), change.clone()).await.unwrap_err();
        assert!(said.contains(words), "{change}: {said}");
    }
    let bind = ["create", "rolebinding", "host", "-n", "vision", "--clusterrole=mixnn-host"];
    let bind = [&bind[..], &["--serviceaccount=mixnn:mixnn-operator"]].concat();
    assert!(world.cluster.kubectl(&bind, "").0);
    until("no consent, no pod, whatever rights there are", || async {
        let account = json!({"spec": {"serviceAccountName": "default"}});
        let said = create("vision".into(), account).await.unwrap_err();
        said.contains("no params found").then_some(())
    })
    .await;
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), "vision");
    let set = serde_json::to_value(sets_get(world).await).unwrap();
    let pod = &set["spec"]["template"]["spec"];
    let mut volumes = pod["volumes"].clone();
    volumes.as_array_mut().unwrap().push(json!({"name": "node", "hostPath": {"path": "/"}}));
    let mut containers = pod["containers"].clone();
    objects::merge(&mut containers[0], json!({"securityContext": {"runAsUser": 0}}));
    for (change, words) in [
        (json!({"volumes": volumes}), "nothing of its node"),
        (json!({"containers": containers}), "without root"),
    ] {
        let mut spec = set["spec"].clone();
        objects::merge(&mut spec["template"]["spec"], change);
        let owners = &set["metadata"]["ownerReferences"];
        let changed = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "spec": spec,
            "metadata": {"name": "net-designer", "ownerReferences": owners},
        });
        let params = PatchParams { dry_run: true, ..PatchParams::apply("mixnn-operator").force() };
        let said = sets.patch("net-designer", &params, &Patch::Apply(changed)).await.unwrap_err();
        assert!(said.to_string().contains(words), "{said}");
    }
    labels_are_the_operators_to_give(world, &host, &pod_name);
    ports_of_others_are_left_alone(world, &client).await;
    // Rights for somebody else.
    let binding = json!({
        "metadata": {"name": "more"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": host}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "mixnn-host"},
    });
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), &host);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let said = bindings.create(&dry, &serde_json::from_value(binding).unwrap()).await.unwrap_err();
    assert!(said.to_string().contains("gives rights to itself"), "{said}");
    // It holds nobody else: the designer's pod was made where no MixNNHost is.
    assert_eq!(designer.namespace().as_deref(), Some("vision"));
}

/// Walls, metrics and consent go by a label: who may make pods in a host's namespace makes no relay of them.
fn labels_are_the_operators_to_give(world: &World, host: &str, ours: &str) {
    let kubectl =
        |args: &[&str], input: &str| world.cluster.kubectl(&[args, &["-n", host]].concat(), input);
    let role = ["create", "role", "mallory", "--verb=create,get,patch", "--resource=pods"];
    assert!(kubectl(&role, "").0);
    assert!(
        kubectl(&["create", "rolebinding", "mallory", "--role=mallory", "--user=mallory"], "").0
    );
    let as_mallory = |args: &[&str], input: &str| {
        kubectl(&[args, &["--as=mallory", "--dry-run=server"]].concat(), input)
    };
    let make = |role: &str| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "forged", "labels": {"mixnn.dev/pod": role}},
            "spec": {"containers": [{"name": "c", "image": "example.org/x"}]}});
        as_mallory(&["create", "-f", "-"], &pod.to_string())
    };
    let (ok, said) = make("other");
    assert!(ok, "{said}");
    for role in ["layer", "relay"] {
        let (ok, said) = make(role);
        assert!(!ok && said.contains("only the operator makes pods"), "{said}");
    }
    let (ok, said) = as_mallory(&["label", "pod", ours, "team=a"], "");
    assert!(ok, "{said}");
    let other = ["mixnn.dev/pod=layer", "mixnn.dev/pod=relay"];
    let refused = other.map(|label| as_mallory(&["label", "--overwrite", "pod", ours, label], ""));
    assert_eq!(
        refused.iter().filter(|(ok, _)| !ok).count(),
        1,
        "it keeps what it has: {refused:?}"
    );
}

/// Services and NetworkPolicies: those of served models, and walls of hosts.
async fn ports_of_others_are_left_alone(world: &World, client: &Client) {
    let model = world.models("vision").get("net").await.unwrap();
    let owner = json!([{"apiVersion": "mixnn.dev/v1alpha1", "kind": "MixNNModel", "name": "net", "uid": model.uid()}]);
    let services: Api<Service> = Api::namespaced(client.clone(), "vision");
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let make = |change: Value| {
        let selector = json!({"mixnn.dev/model": "net", "mixnn.dev/pod": "designer"});
        let mut service = json!({"metadata": {"name": "net-serving", "ownerReferences": owner},
            "spec": {"selector": selector, "ports": [{"port": 8443}]}});
        objects::merge(&mut service, change);
        let (services, dry) = (services.clone(), dry.clone());
        async move {
            let made = services.create(&dry, &serde_json::from_value(service).unwrap()).await;
            made.map(drop).map_err(|e| e.to_string())
        }
    };
    assert_eq!(make(json!({})).await, Ok(()));
    for (change, words) in [
        (json!({"metadata": {"name": "other"}}), "touches no others"),
        (json!({"metadata": {"ownerReferences": null}}), "touches no others"),
        (json!({"spec": {"type": "LoadBalancer"}}), "a ClusterIP in front of its designer"),
        (json!({"spec": {"externalIPs": ["192.0.2.1"]}}), "a ClusterIP in front of its designer"),
        (
            json!({"spec": {"selector": {"mixnn.dev/pod": "other"}}}),
            "a ClusterIP in front of its designer",
        ),
    ] {
        let said = make(change.clone()).await.unwrap_err();
        assert!(said.contains(words), "{change}: {said}");
    }
    let wall = json!({"metadata": {"name": "owners"}, "spec": {"podSelector": {}}});
    let walls: Api<NetworkPolicy> = Api::namespaced(world.client.clone(), "vision");
    walls.create(&PostParams::default(), &serde_json::from_value(wall).unwrap()).await.unwrap();
    let theirs: Api<NetworkPolicy> = Api::namespaced(client.clone(), "vision");
    let said = theirs.delete("owners", &DeleteParams::default()).await.unwrap_err();
    assert!(said.to_string().contains("touches no others"), "{said}");

    let open = json!({"metadata": {"name": "net-serving", "ownerReferences": owner}, "spec": {"podSelector": {}}});
    let said = theirs.create(&dry, &serde_json::from_value(open).unwrap()).await.unwrap_err();
    assert!(said.to_string().contains("around its own pods"), "{said}");
    // A Service of that name which is the owner's own is not taken over by what a model says.
    let own = json!({"metadata": {"name": "net-serving"}, "spec": {"ports": [{"port": 8443}]}});
    let all: Api<Service> = Api::namespaced(world.client.clone(), "vision");
    all.create(&PostParams::default(), &serde_json::from_value(own).unwrap()).await.unwrap();
    let take = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "net-serving", "ownerReferences": owner},
        "spec": {"selector": {"mixnn.dev/pod": "designer"}, "ports": [{"port": 8443}]}});
    let params = PatchParams::apply("mixnn-operator").force();
    let said = services.patch("net-serving", &params, &Patch::Apply(take)).await.unwrap_err();
    assert!(said.to_string().contains("takes over no Service"), "{said}");
    all.delete("net-serving", &DeleteParams::default()).await.unwrap();
}

async fn sets_get(world: &World) -> StatefulSet {
    let sets: Api<StatefulSet> = Api::namespaced(world.client.clone(), "vision");
    sets.get("net-designer").await.unwrap()
}

async fn registration(world: &World, operator: &Running, pods: &[Pod], designer: &Pod) {
    let folder = tempfile::tempdir().unwrap();
    let layer =
        |i: usize| pods.iter().filter(|p| p.labels()["mixnn.dev/pod"] == "layer").nth(i).unwrap();
    let relay = pods.iter().find(|p| p.labels()["mixnn.dev/pod"] == "relay").unwrap();
    let token = |pod: Pod, audience: &'static str| async move {
        pod_token(&world.client, &pod, Some(audience)).await
    };

    // The designer publishes claims before layer pods can register.
    let good = token(layer(0).clone(), AUDIENCE).await;
    let client = registry(operator, layer(0), &good, &folder);
    let key = keys();
    let owner = token(designer.clone(), AUDIENCE).await;
    let owner = registry(operator, designer, &owner, &folder);
    let me = owner.register(NodeClass::Designer, URL, keys().public()).await.unwrap();
    let claims: Vec<_> = (0..8).map(|_| ClaimKey::generate(&mut SystemRng)).collect();
    let publish = || owner.publish_claims(claims.iter().map(ClaimKey::claim).collect());
    publish().await.unwrap();
    publish().await.unwrap();
    let first = client.register(NodeClass::Layer, URL, key.public()).await.unwrap();
    assert!(claims.iter().any(|c| Some(c.claim()) == first.claim), "one of the designer's claims");
    assert_eq!(first.admission_key, me.admission_key);
    let again = client.register(NodeClass::Layer, URL, key.public()).await.unwrap();
    assert_eq!(first, again, "a lost reply loses nothing");

    let second = client.register(NodeClass::Layer, URL, keys().public()).await;
    assert_eq!(reason(second.unwrap_err()), "conflict");
    let class = client.register(NodeClass::Relay, URL, key.public()).await;
    assert_eq!(reason(class.unwrap_err()), "forbidden");
    let wrong = token(layer(1).clone(), "somebody-else").await;
    let wrong = registry(operator, layer(1), &wrong, &folder)
        .register(NodeClass::Layer, URL, key.public())
        .await;
    assert_eq!(reason(wrong.unwrap_err()), "unauthorized");
    let foreign = foreign_pod(world, &layer(0).namespace().unwrap()).await;
    let foreign_token = pod_token(&world.client, &foreign, Some(AUDIENCE)).await;
    let mut disguised = foreign.clone();
    disguised.spec = layer(0).spec.clone();
    let foreign = registry(operator, &disguised, &foreign_token, &folder)
        .register(NodeClass::Layer, URL, key.public())
        .await;
    assert_eq!(reason(foreign.unwrap_err()), "unauthorized");

    let token1 = token(layer(1).clone(), AUDIENCE).await;
    let other = registry(operator, layer(1), &token1, &folder);
    let other = other.register(NodeClass::Layer, URL, keys().public()).await.unwrap();
    assert_ne!(other.claim, first.claim, "a claim is given once");
    let token_r = token(relay.clone(), AUDIENCE).await;
    let relays = registry(operator, relay, &token_r, &folder);
    let before = owner.directory().await.unwrap();
    relays.register(NodeClass::Relay, URL, keys().public()).await.unwrap();
    let newer = owner.directory_after(before.version).await.unwrap();
    assert_eq!((before.nodes.len(), newer.nodes.len()), (2, 3), "told of the relay");
    let reachable = relays.directory().await.unwrap().nodes.len();
    assert_eq!(reachable, 4, "a relay reaches the layers, the relay, and the designer");

    the_head_is_swapped(&owner).await;
    // The designer's process starts again in its pod.
    owner.register(NodeClass::Designer, URL, keys().public()).await.unwrap();

    // The directory: in the owner's namespace, whole; to a layer, relays alone.
    let seen = client.directory().await.unwrap();
    assert_eq!(seen.nodes.len(), 1);
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "vision");
    until("the directory in the owner's namespace", || async {
        let map = maps.get_opt("net-nodes-0").await.ok()??;
        let directory: Directory = serde_json::from_str(&map.data?["nodes.json"]).ok()?;
        (directory.nodes.len() == 3).then_some(())
    })
    .await;
    assert_eq!(owner.directory().await.unwrap().nodes.len(), 3);
    until("ready pods are counted", || async {
        let status = world.models("vision").get("net").await.ok()?.status?;
        (status.layers?.ready == "2/2" && status.relays?.ready == "1/3").then_some(())
    })
    .await;
    bodies_are_bounded(operator, &good).await;
}

/// The term by compare-and-swap, kept in the API server.
async fn the_head_is_swapped(owner: &RegistryClient) {
    let first = owner.head().await.unwrap();
    assert_eq!(first, Head::default());
    let next = Head { term: 1, ..first };
    assert_eq!(owner.advance(first, next).await.unwrap(), next);
    assert_eq!(owner.advance(first, next).await.unwrap(), next, "a lost reply loses nothing");
    let stale = owner.advance(first, Head { term: 2, ..first }).await;
    assert_eq!(reason(stale.unwrap_err()), "head-moved");
    assert_eq!(owner.head().await.unwrap(), next);
}

async fn bodies_are_bounded(operator: &Running, token: &str) {
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
    let url = format!("https://localhost:{}/v1/register", operator.registration.port());
    let request = http.post(url).bearer_auth(token).header("content-type", "application/json");
    let answer = request.body("x".repeat(1 << 20)).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 413);
    let url = format!("http://{}/metrics", operator.health);
    let text = http.get(url).send().await.unwrap().text().await.unwrap();
    for outcome in ["accepted", "conflict", "unauthorized", "too-large"] {
        let line = format!("mixnn_operator_registrations_total{{outcome=\"{outcome}\"}}");
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    assert!(text.contains("mixnn_operator_leader 1") && !text.contains("vision"), "{text}");
}

/// A pod that somebody of the host made, under the same account.
async fn foreign_pod(world: &World, namespace: &str) -> Pod {
    let api: Api<Pod> = Api::namespaced(world.client.clone(), namespace);
    let pod = serde_json::from_value(json!({"metadata": {"name": "foreign"}, "spec": {
        "serviceAccountName": "mixnn-pods", "automountServiceAccountToken": false,
        "containers": [{"name": "mixnn", "image": "example.org/layer"}],
    }}))
    .unwrap();
    api.create(&PostParams::default(), &pod).await.unwrap()
}

async fn a_lost_pod_is_replaced(world: &World, hosts: &[String], before: &[Pod]) {
    let lost = before.iter().find(|p| p.labels()["mixnn.dev/pod"] == "layer").unwrap();
    kubelet::end(&world.client, lost, "Failed").await;
    until("the lost pod is replaced, and gone", || async {
        let now = world.pods(hosts).await;
        let living = now.iter().filter(|p| p.spec.as_ref().unwrap().node_name.is_some()).count();
        (living == 5 && now.len() == 5 && !now.iter().any(|p| p.uid() == lost.uid())).then_some(())
    })
    .await;
    let replaced = until("the replacement is counted", || async {
        let status = world.models("vision").get("net").await.ok()?.status?;
        Some(status.layers?.replaced).filter(|n| *n > 0)
    })
    .await;
    assert_eq!(replaced, 1);
}

/// The kubelet is silent and confirms nothing: the pod is removed by force, and replaced before that.
async fn a_pod_on_a_dead_node_is_replaced(world: &World, hosts: &[String]) {
    let pods = world.pods(hosts).await;
    let lost = pods.iter().find(|p| p.labels()["mixnn.dev/pod"] == "relay").unwrap();
    kubelet::node(&world.client, "n3", "64", "64Gi").await;
    world.kubelet.kill(lost.spec.as_ref().unwrap().node_name.as_ref().unwrap());
    let api: Api<Pod> = Api::namespaced(world.client.clone(), &lost.namespace().unwrap());
    // As the taint manager does it.
    api.delete(&lost.name_any(), &DeleteParams::default()).await.unwrap();
    until("a relay takes its place while it still lingers", || async {
        let now = world.pods(hosts).await;
        let relays = now.iter().filter(|p| {
            p.labels()["mixnn.dev/pod"] == "relay" && p.metadata.deletion_timestamp.is_none()
        });
        (relays.count() == 3).then_some(())
    })
    .await;
    until("what lingers is removed by force", || async {
        (world.pods(hosts).await.len() == 5).then_some(())
    })
    .await;
}

/// Nobody answers any more, and the status says so though nobody is left to say it. What clients reach the model by
/// comes back when somebody removes it.
async fn a_served_model_whose_designer_is_gone(world: &World, hosts: &[String]) {
    let more = json!({
        "serving": {"enabled": true},
        "checkpoints": {"everySteps": 1, "store": {"objectStore": {"url": "s3://bucket/shop"}}},
    });
    world.create(&objects::model_with("vision", "shop", 1, 1, more)).await;
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "vision");
    until("the designer is ready", || async {
        let status = pods.get_opt("shop-designer-0").await.ok()??.status?;
        status.conditions?.iter().any(|c| c.type_ == "Ready" && c.status == "True").then_some(())
    })
    .await;
    // As its designer says it.
    let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": "Said", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let said = Patch::Apply(json!({
        "apiVersion": "mixnn.dev/v1alpha1", "kind": "MixNNModel", "status": {
            "training": {"digest": "d1"}, "serving": {"url": "https://shop-serving.vision.svc:8443", "version": "1"},
            "conditions": [condition("Trained"), condition("Serving")],
        },
    }));
    let models = world.models("vision");
    models.patch_status("shop", &PatchParams::apply("mixnn-designer"), &said).await.unwrap();
    let services: Api<Service> = Api::namespaced(world.client.clone(), "vision");
    let service =
        until("its Service", || async { services.get_opt("shop-serving").await.ok()? }).await;
    services.delete("shop-serving", &DeleteParams::default()).await.unwrap();
    until("its Service again", || async {
        (services.get_opt("shop-serving").await.ok()??.uid() != service.uid()).then_some(())
    })
    .await;

    let nodes: Api<Node> = Api::all(world.client.clone());
    let closed = |closed: bool| Patch::Merge(json!({"spec": {"unschedulable": closed}}));
    for node in nodes.list(&ListParams::default()).await.unwrap() {
        nodes.patch(&node.name_any(), &PatchParams::default(), &closed(true)).await.unwrap();
    }
    pods.delete("shop-designer-0", &DeleteParams::default()).await.unwrap();
    let model = world.condition("vision", "shop", "Serving", "False", "DesignerGone").await;
    let status = model.status.unwrap();
    assert_eq!((status.serving, status.training.unwrap().digest.as_deref()), (None, Some("d1")));
    assert!(status.conditions.iter().any(|c| c.type_ == "Trained" && c.status == "True"));
    for node in nodes.list(&ListParams::default()).await.unwrap() {
        nodes.patch(&node.name_any(), &PatchParams::default(), &closed(false)).await.unwrap();
    }
    models.delete("shop", &DeleteParams::default()).await.unwrap();
    until("its pods are gone", || async { (world.pods(hosts).await.len() == 5).then_some(()) })
        .await;
}

async fn suspend_and_resume(world: &World, hosts: &[String]) {
    let models = world.models("vision");
    let set = |suspend: bool| Patch::Merge(json!({"spec": {"suspend": suspend}}));
    models.patch("net", &PatchParams::default(), &set(true)).await.unwrap();
    world.condition("vision", "net", "Scheduled", "False", "Suspended").await;
    until("no pod is left", || async { world.pods(hosts).await.is_empty().then_some(()) }).await;
    let sets: Api<StatefulSet> = Api::namespaced(world.client.clone(), "vision");
    let replicas = || async { sets.get("net-designer").await.ok()?.spec?.replicas };
    until("the designer stops", || async { replicas().await.filter(|r| *r == 0) }).await;
    models.patch("net", &PatchParams::default(), &set(false)).await.unwrap();
    world.condition("vision", "net", "Scheduled", "True", "Scheduled").await;
    assert_eq!(world.pods(hosts).await.len(), 5);
    until("the designer runs", || async { replicas().await.filter(|r| *r == 1) }).await;
}
