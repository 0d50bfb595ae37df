//! What is made, as snapshots: `cargo insta review` after a change that was meant.

#![allow(clippy::unwrap_used)]

use clap::Parser;
use mixnn_crds::{MixNNHost, MixNNModel};
use mixnn_operator::Settings;
use mixnn_operator::build::{
    Designer, PodContext, altered, designer_objects, directory_maps, host_objects, pod,
    serving_objects,
};
use mixnn_operator::record::{Role, Slot};
use mixnn_operator::validate::validate;
use mixnn_protocol::registration::Directory;
use serde_json::{Value, json};

const MODEL: &str = "
apiVersion: mixnn.dev/v1alpha1
kind: MixNNModel
metadata: {name: net, namespace: vision, uid: 11111111-2222-3333-4444-555555555555}
spec:
  podClasses:
    standard: {resources: {limits: {cpu: 500m, memory: 1Gi}}}
    gpu: {resources: {limits: {cpu: 2, memory: 8Gi, nvidia.com/gpu: 1}}}
  layers:
  - {name: first, ops: [{flatten: {}}, {linear: {in: 784, out: 16}}]}
  - {name: second, class: gpu, ops: [{linear: {in: 16, out: 10}}]}
  training:
    dataset: {digits: {train: 100, test: 10}}
    batchSize: 10
    epochs: 1
    optimizer: {sgd: {lr: 0.1}}
    seedFrom: {secretKeyRef: {name: seed, key: owner}}
";

fn model() -> MixNNModel {
    mixnn_crds::parse_str("model.yaml", MODEL).unwrap()
}

fn settings_args() -> Vec<String> {
    let image = |name: &str| format!("--{name}-image=example.org/{name}@sha256:{}", "0".repeat(64));
    ["mixnn-operator".to_owned()]
        .into_iter()
        .chain(["layer", "relay", "designer"].map(image))
        .collect()
}

fn settings() -> Settings {
    Settings::parse_from(settings_args())
}

fn host(more: Value) -> MixNNHost {
    let mut host = json!({
        "apiVersion": "mixnn.dev/v1alpha1", "kind": "MixNNHost",
        "metadata": {"name": "mixnn", "namespace": "team-a", "uid": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"},
        "spec": {"allowedOwners": {"namespaceSelector": {}}},
    });
    host["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(host).unwrap()
}

fn context() -> PodContext {
    PodContext {
        registry: "https://mixnn-operator.mixnn.svc:8443".into(),
        alias: Some(("mixnn-operator.mixnn.svc".into(), "10.96.0.7".parse().unwrap())),
        ca: "-----BEGIN CERTIFICATE-----\n...\n".into(),
        audience: "mixnn.dev/registration".into(),
        relay_metrics: false,
    }
}

fn slot(role: Role, class: &str) -> Slot {
    Slot {
        id: 0,
        role,
        class: class.into(),
        incarnation: 1,
        claim: 0,
        host: "team-a".into(),
        pod: "kq3v5qz6w2mlt4u7x2a5gd3be".into(),
        uid: None,
        finished: false,
    }
}

#[test]
fn a_layer_pod() {
    let wants = validate(&model(), &settings()).unwrap();
    let made =
        pod(&slot(Role::Layer, "gpu"), &wants.pin, &host(json!({})), &context(), "seal".into());
    insta::assert_yaml_snapshot!(made.unwrap());
}

#[test]
fn a_relay_with_everything_that_a_host_asks_for() {
    let wants = validate(&model(), &settings()).unwrap();
    let host = host(json!({
        "serviceAccountName": "guests", "imagePullSecrets": [{"name": "pull"}], "nodeSelector": {"pool": "guests"},
        "tolerations": [{"key": "guests", "operator": "Exists"}], "runtimeClassName": "gvisor",
        "priorityClassName": "low", "extraLabels": {"cost-center": "7"},
    }));
    let made = pod(&slot(Role::Relay, ""), &wants.pin, &host, &context(), "seal".into());
    insta::assert_yaml_snapshot!(made.unwrap());
}

#[test]
fn a_host_namespace() {
    let made = host_objects(&host(json!({})), ("mixnn", "mixnn-operator"), 8443, None);
    insta::assert_yaml_snapshot!("host_account", made.account.unwrap());
    let [relays, pods] = made.policies;
    insta::assert_yaml_snapshot!("host_policy", pods);
    insta::assert_yaml_snapshot!("host_policy_of_relays", relays);
    insta::assert_yaml_snapshot!("host_binding", made.binding);
    let own = host(json!({"serviceAccountName": "guests"}));
    assert!(host_objects(&own, ("mixnn", "mixnn-operator"), 8443, None).account.is_none());
}

#[test]
fn relays_serve_metrics_to_whom_the_platform_names_and_layer_pods_to_nobody() {
    let wants = validate(&model(), &settings()).unwrap();
    let ports = |role, class, relay_metrics| {
        let context = PodContext { relay_metrics, ..context() };
        let made = pod(&slot(role, class), &wants.pin, &host(json!({})), &context, String::new());
        let container = made.unwrap().spec.unwrap().containers.remove(0);
        let listens = container.env.unwrap().into_iter().find(|e| e.name == "MIXNN_METRICS_LISTEN");
        let ports: Vec<_> = container
            .ports
            .unwrap()
            .into_iter()
            .map(|p| (p.container_port, p.name.unwrap()))
            .collect();
        (ports, listens.and_then(|e| e.value))
    };
    let cells = (7000, "cells".to_owned());
    let metrics = (9090, "metrics".to_owned());
    assert_eq!(ports(Role::Relay, "", false), (vec![cells.clone()], None));
    assert_eq!(ports(Role::Layer, "gpu", true), (vec![cells.clone()], None));
    let open = (vec![cells, metrics], Some("0.0.0.0:9090".to_owned()));
    assert_eq!(ports(Role::Relay, "", true), open);

    let settings = Settings::try_parse_from(
        settings_args()
            .into_iter()
            .chain(["--metrics-readers".into(), "team=observability".into()]),
    );
    let readers = settings.unwrap().pods.metrics_readers;
    let host = host(json!({}));
    let walls = |readers| host_objects(&host, ("mixnn", "mixnn-operator"), 8443, readers).policies;
    let mut open = walls(readers.as_ref());
    let rule = open[0].spec.as_mut().unwrap().ingress.as_mut().unwrap().pop().unwrap();
    assert_eq!(
        serde_json::to_value(rule).unwrap(),
        json!({"from": [{"namespaceSelector": {"matchLabels": {"team": "observability"}}}],
            "ports": [{"port": 9090, "protocol": "TCP"}]})
    );
    assert_eq!(open, walls(None), "and nothing else opens");
}

#[test]
fn a_designer() {
    let model = model();
    let wants = validate(&model, &settings()).unwrap();
    let designer = Designer { model: &model, pin: &wants.pin, running: true };
    let made = designer_objects(designer, &context());
    insta::assert_yaml_snapshot!("designer_role", made.role);
    insta::assert_yaml_snapshot!("designer_stateful_set", made.stateful_set);
    let text = &made.file.data.unwrap()["model.yaml"];
    let read = mixnn_crds::parse_str("model.yaml", text).unwrap();
    assert_eq!(read.spec, model.spec, "the designer reads what the owner wrote");
    assert_eq!(directory_maps(&model, &Directory::default()).len(), 1);
}

#[test]
fn a_designer_with_everything_that_an_owner_asks_for() {
    let mut sealed = serde_json::to_value(model()).unwrap();
    let spec = sealed["spec"].as_object_mut().unwrap();
    spec.remove("layers");
    spec.insert("layersFrom".into(), json!({"secretRef": {"name": "sealed", "key": "net"}}));
    spec.insert("layerCounts".into(), json!({"standard": 1, "gpu": 1}));
    spec["training"]["dataFrom"] = json!({"persistentVolumeClaim": {"claimName": "pictures"}});
    spec.insert(
        "designer".into(),
        json!({"serviceAccountAnnotations": {"eks.amazonaws.com/role-arn": "arn"}}),
    );
    let made = |store: Value| {
        let mut model = sealed.clone();
        model["spec"]["checkpoints"] = json!({"everySteps": 50, "store": store});
        let model: MixNNModel = serde_json::from_value(model).unwrap();
        let wants = validate(&model, &settings()).unwrap();
        let designer = Designer { model: &model, pin: &wants.pin, running: true };
        let made = designer_objects(designer, &context());
        let annotations = made.account.metadata.annotations.unwrap();
        assert_eq!(annotations["eks.amazonaws.com/role-arn"], "arn");
        made.stateful_set.spec.unwrap().template.spec.unwrap()
    };
    let claim = made(json!({"persistentVolumeClaim": {"claimName": "state"}}));
    insta::assert_yaml_snapshot!("designer_on_a_volume", claim);
    let store = json!({"url": "s3://bucket/net/", "secretRef": {"name": "s3"}});
    let store = made(json!({"objectStore": store})).containers.remove(0);
    let args = store.args.unwrap().join(" ");
    assert!(
        args.contains("--record /tmp/events.jsonl --page 127.0.0.1:8765 --checkpoints"),
        "{args}"
    );
    assert!(args.contains("--checkpoints s3://bucket/net --checkpoint-key"), "{args}");
    assert!(args.ends_with("--weights s3://bucket/net/model.safetensors"), "{args}");
    assert_eq!(store.env_from.unwrap()[0].secret_ref.as_ref().unwrap().name, "s3");
}

#[test]
fn a_served_model() {
    let served = |serving: Value| {
        let mut model = serde_json::to_value(model()).unwrap();
        model["spec"]["serving"] = serving;
        let model: MixNNModel = serde_json::from_value(model).unwrap();
        let made = serving_objects(&model);
        let wants = validate(&model, &settings()).unwrap();
        let designer = Designer { model: &model, pin: &wants.pin, running: true };
        (made, wants.serving, designer_objects(designer, &context()).stateful_set)
    };
    let (made, wanted, _) = served(json!({"enabled": true}));
    let made = made.unwrap();
    assert!(wanted);
    insta::assert_yaml_snapshot!("serving_service", made.service);
    insta::assert_yaml_snapshot!("serving_policy", made.policy);
    let clients = json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}});
    let tls = json!({"secretRef": {"name": "certificate"}});
    let (made, _, designer) =
        served(json!({"enabled": true, "port": 9000, "clients": clients, "tls": tls}));
    let ingress = &made.unwrap().policy.spec.unwrap().ingress.unwrap()[1];
    let from = serde_json::to_value(&ingress.from).unwrap();
    assert_eq!(from, json!([{"namespaceSelector": {"matchLabels": {"team": "shop"}}}]));
    let pod = designer.spec.unwrap().template.spec.unwrap();
    let volume = pod.volumes.unwrap().into_iter().find(|v| v.name == "serving-tls").unwrap();
    let secret = volume.secret.unwrap();
    assert_eq!((secret.secret_name.as_deref(), secret.optional), (Some("certificate"), Some(true)));
    let (made, wanted, _) = served(json!({"enabled": false}));
    assert!(made.is_none() && !wanted);
}

#[test]
fn what_somebody_put_into_a_pod_is_found() {
    let wants = validate(&model(), &settings()).unwrap();
    let sent =
        pod(&slot(Role::Layer, "standard"), &wants.pin, &host(json!({})), &context(), "s".into())
            .unwrap();
    assert_eq!(altered(&sent, &sent), None);
    let value = serde_json::to_value(&sent).unwrap();
    let change = |pointer: &str, new: Value| {
        let mut found = value.clone();
        if let Some(place) = found.pointer_mut(pointer) {
            *place = new;
        } else {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            found.pointer_mut(parent).unwrap()[key] = new;
        }
        altered(&sent, &serde_json::from_value(found).unwrap())
    };
    let sidecar = json!([value["spec"]["containers"][0], {"name": "sidecar", "image": "x"}]);
    for (pointer, new) in [
        ("/spec/containers", sidecar),
        ("/spec/initContainers", json!([{"name": "init", "image": "x"}])),
        ("/spec/containers/0/image", json!("example.org/other")),
        ("/spec/containers/0/env", json!([])),
        ("/spec/containers/0/envFrom", json!([{"configMapRef": {"name": "x"}}])),
        ("/spec/containers/0/command", json!(["sh"])),
        ("/spec/containers/0/securityContext/readOnlyRootFilesystem", json!(false)),
        ("/spec/containers/0/resources/limits/memory", json!("2Gi")),
        ("/spec/volumes", json!([])),
        ("/spec/serviceAccountName", json!("other")),
        ("/spec/automountServiceAccountToken", json!(true)),
        ("/spec/hostNetwork", json!(true)),
        ("/spec/shareProcessNamespace", json!(true)),
    ] {
        assert!(change(pointer, new).is_some(), "{pointer} goes unseen");
    }
    // What the API server fills in is nobody's doing.
    assert_eq!(change("/spec/dnsPolicy", json!("ClusterFirst")), None);
    assert_eq!(change("/spec/containers/0/resources/limits/ephemeral-storage", json!("1Gi")), None);
    assert_eq!(
        change("/spec/containers/0/terminationMessagePath", json!("/dev/termination-log")),
        None
    );
}

#[test]
fn deep_mistakes_are_named() {
    let wrong = |from: &str, to: &str| {
        let model = mixnn_crds::parse_str("model.yaml", &MODEL.replace(from, to)).unwrap();
        let invalid = validate(&model, &settings()).unwrap_err();
        format!("{}: {invalid}", invalid.reason())
    };
    let shapes = wrong("in: 16, out: 10", "in: 17, out: 10");
    assert!(
        shapes.starts_with("InvalidModel")
            && shapes.contains("second")
            && shapes.contains("17")
            && shapes.contains("16"),
        "{shapes}"
    );
    let class = wrong("class: gpu", "class: tpu");
    assert!(
        class.starts_with("UnknownPodClass")
            && class.contains("second")
            && class.contains("'tpu'")
            && class.contains("gpu, standard"),
        "{class}"
    );
    let shared = wrong("  training:", "  relays: {shared: true}\n  training:");
    assert!(shared.starts_with("NoSharedRelays"), "{shared}");
    let classes = wrong("out: 10}}]}", "out: 11}}]}");
    assert!(classes.contains("[11]") && classes.contains("10 classes"), "{classes}");
}
