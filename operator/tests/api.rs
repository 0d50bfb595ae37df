//! The CRDs on a real API server: what is taken, what is refused and in which words, what a person sees.

#![allow(clippy::unwrap_used)]

mod common;

use common::Cluster;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use mixnn_cluster::{CHECKPOINT_KEY, OWNER_SECRET, OwnerKeys};
use mixnn_crds::MixNNModel;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::thread;

const FILES: [&str; 2] = ["mixnnmodel.yaml", "mixnnhost.yaml"];

async fn cluster() -> Option<Cluster> {
    let cluster = Cluster::start().await?;
    for file in FILES {
        let path = format!("{}/../crds/{file}", env!("CARGO_MANIFEST_DIR"));
        // Client-side apply: the CRD must fit into an annotation.
        let (ok, said) = cluster.kubectl(&["apply", "-f", &path], "");
        assert!(ok, "{said}");
    }
    cluster.serves_crds().await;
    Some(cluster)
}

fn model(more: Value) -> Value {
    let mut model = serde_json::to_value(common::objects::model("default", "m", 2, 3)).unwrap();
    common::objects::merge(&mut model, json!({"spec": more}));
    model
}

/// What the API server says to an object that it must refuse.
fn refusal(cluster: &Cluster, object: &Value) -> String {
    let (ok, said) =
        cluster.kubectl(&["apply", "--dry-run=server", "-f", "-"], &object.to_string());
    assert!(!ok, "this was taken: {object:#}");
    said
}

#[tokio::test]
async fn what_is_taken_and_what_is_refused() {
    let Some(cluster) = cluster().await else { return };
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let (ok, said) =
            cluster.kubectl(&["apply", "--dry-run=server", "-f", path.to_str().unwrap()], "");
        assert!(ok, "{}: {said}", path.display());
    }
    let mut sealed = model(json!({
        "layersFrom": {"secretRef": {"name": "sealed"}}, "layerCounts": {"standard": 2},
    }));
    let both = refusal(&cluster, &sealed);
    assert!(both.contains("either spec.layers, or spec.layersFrom"), "{both}");
    sealed["spec"].as_object_mut().unwrap().remove("layers");
    let (ok, said) =
        cluster.kubectl(&["apply", "--dry-run=server", "-f", "-"], &sealed.to_string());
    assert!(ok, "{said}");
    sealed["spec"].as_object_mut().unwrap().remove("layerCounts");
    assert!(refusal(&cluster, &sealed).contains("go together"));

    let cases = [
        (json!({"relays": {"replicas": 2, "hops": 3}}), "hops must not exceed relays.replicas"),
        (json!({"relays": {"hops": 7}}), "less than or equal to 5"),
        (json!({"relays": {"suite": "RSA"}}), "supported values"),
        (
            json!({"podClasses": {"standard": null, "gpu": {"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}}}),
            "spec.podClasses does not have",
        ),
        (
            json!({"podClasses": {"Big_One": {"resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}}}),
            "DNS labels",
        ),
        (
            json!({"podClasses": {"standard": {"resources": {"limits": {"memory": null}}}}}),
            "needs cpu and memory",
        ),
        (
            json!({"podClasses": {"standard": {"resources": {"limits": {"cpu": "many"}}}}}),
            "spec.podClasses.standard.resources.limits.cpu",
        ),
        (json!({"placement": {"timeout": "soon"}}), "spec.placement.timeout"),
        (json!({"placement": {"maxLayersPerHost": 0}}), "greater than or equal to 1"),
        (json!({"training": {"epochs": 0}}), "spec.training.epochs"),
        (json!({"serving": {"enabled": true}}), "needs spec.checkpoints"),
        (json!({"serving": {"port": 7000}}), "cells come in there"),
        (json!({"serving": {"batching": {"maxSize": 0}}}), "greater than or equal to 1"),
    ];
    for (more, words) in cases {
        let said = refusal(&cluster, &model(more.clone()));
        assert!(said.contains(words), "{more}: {said}");
    }
    let typo = refusal(&cluster, &model(json!({"training": {"epoch": 3}})));
    assert!(typo.contains("unknown field") && typo.contains("epoch"), "{typo}");
    let mut long = model(json!({}));
    long["metadata"]["name"] = json!("n".repeat(44));
    assert!(refusal(&cluster, &long).contains("at most 43 characters"));
    let mut host = serde_json::to_value(common::objects::host("default", "a", json!({}))).unwrap();
    host["metadata"]["name"] = json!("another");
    assert!(refusal(&cluster, &host).contains("one per namespace"));
    what_may_change(&cluster);
    what_a_person_sees(&cluster);
    the_owners_keys_are_made_once(&cluster).await;
}

/// Two designers and a person make a Secret at once: one of them does, the others take what it made.
async fn the_owners_keys_are_made_once(cluster: &Cluster) {
    let folder = tempfile::tempdir().unwrap();
    cluster.credentials(folder.path());
    let secrets: Api<Secret> = Api::default_namespaced(cluster.client());
    for round in 0..4 {
        // With checkpoints the Secret outlives its model: nothing collects it here.
        let more = json!({"checkpoints": {"store": {"objectStore": {"url": "s3://bucket/race"}}}});
        let name = format!("race-{round}");
        let mut model = common::objects::model_with("default", &name, 1, 1, more);
        model.metadata.uid = Some(format!("uid-{round}"));
        let name = model.owner_secret_name();
        let own = (round % 2 == 0).then(|| {
            cluster.command(&[
                "create",
                "secret",
                "generic",
                &name,
                "--from-literal=owner-secret=theirs",
                "--from-literal=checkpoint-key=theirs",
            ])
        });
        let mounts = [0, 1].map(|i| folder.path().join(format!("mount-{round}-{i}")));
        let port = cluster.api_port();
        let designers = mounts.clone().map(|mount| {
            let (model, credentials) = (model.clone(), folder.path().to_owned());
            thread::spawn(move || designer(model, port, &credentials, &mount))
        });
        let person =
            own.map(|mut own| thread::spawn(move || own.output().unwrap().status.success()));
        let made =
            common::until("the Secret", || async { secrets.get_opt(&name).await.ok()? }).await;
        let made = made.data.unwrap();
        let text = |key: &str| String::from_utf8(made[key].0.clone()).unwrap();
        // As kubelets bring it: one file after the other.
        for key in [OWNER_SECRET, CHECKPOINT_KEY] {
            for mount in &mounts {
                std::fs::create_dir_all(mount).unwrap();
                std::fs::write(mount.join(key), text(key)).unwrap();
            }
        }
        let keys: Vec<OwnerKeys> =
            designers.into_iter().filter_map(|d| d.join().unwrap()).collect();
        let by_person = person.is_some_and(|person| person.join().unwrap());
        assert_eq!(keys.len() + usize::from(by_person), 1, "one of them made it");
        for keys in keys {
            assert_eq!(*keys.owner_secret, text(OWNER_SECRET));
            assert_eq!(*keys.checkpoint_key, text(CHECKPOINT_KEY));
        }
        let now = secrets.get(&name).await.unwrap().data.unwrap();
        assert_eq!(now, made, "nobody wrote over it");
    }
}

/// What a designer does for its keys.
fn designer(model: MixNNModel, port: u16, credentials: &Path, mount: &Path) -> Option<OwnerKeys> {
    let address = ("127.0.0.1", port.to_string());
    let address = (address.0, address.1.as_str());
    let cluster = mixnn_cluster::Cluster::connect_to(address, credentials, model).unwrap();
    let files: Vec<PathBuf> = [OWNER_SECRET, CHECKPOINT_KEY].map(|key| mount.join(key)).into();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let made = cluster.make_keys(&files).unwrap();
    assert!(made.is_some() || files.iter().all(|file| file.exists()), "all of it was waited for");
    made
}

fn what_may_change(cluster: &Cluster) {
    // Without what has a default: the API server is to fill it in.
    let mut plain = model(json!({}));
    plain["spec"].as_object_mut().unwrap().remove("placement");
    plain["spec"]["relays"].as_object_mut().unwrap().remove("suite");
    let (ok, said) = cluster.kubectl(&["apply", "-f", "-"], &plain.to_string());
    assert!(ok, "{said}");
    let patch = |patch: Value| {
        cluster.kubectl(&["patch", "mixnn", "m", "--type=merge", "-p", &patch.to_string()], "")
    };
    let layers = json!({"spec": {"layers": [{"name": "other", "ops": [{"relu": {}}]}]}});
    let (ok, said) = patch(layers);
    assert!(!ok && said.contains("make another MixNNModel"), "{said}");
    let epochs = json!({"spec": {"training": {"epochs": 9}}});
    let (ok, said) = patch(epochs.clone());
    assert!(!ok && said.contains("only while spec.suspend is true"), "{said}");
    let checkpoints = json!({"spec": {"checkpoints": {"store": {"persistentVolumeClaim": {"claimName": "state"}}}}});
    for good in [
        json!({"spec": {"suspend": true}}),
        epochs,
        checkpoints,
        json!({"spec": {"suspend": false}}),
    ] {
        let (ok, said) = patch(good.clone());
        assert!(ok, "{good}: {said}");
    }
    let serving = |serving: Value| patch(json!({"spec": {"serving": serving}}));
    assert!(serving(json!({"enabled": true})).0);
    let (ok, said) = serving(json!({"port": 9000}));
    assert!(!ok && said.contains("first turn it off"), "{said}");
    assert!(serving(json!({"enabled": false})).0 && serving(json!({"port": 9000})).0);
    assert!(serving(json!({"enabled": true})).0 && serving(json!({"enabled": false})).0);
}

fn what_a_person_sees(cluster: &Cluster) {
    let (ok, said) = cluster.kubectl(&["get", "mixnn"], "");
    let head: Vec<&str> = said.lines().next().unwrap_or_default().split_whitespace().collect();
    assert!(
        ok && head == ["NAME", "READY", "RELAYS", "PROGRESS", "LOSS", "ACCURACY", "AGE"],
        "{said}"
    );
    let (ok, said) = cluster.kubectl(
        &["get", "mixnn", "m", "-o", "jsonpath={.spec.placement}{.spec.relays.suite}"],
        "",
    );
    assert!(
        ok && said.contains("900s") && said.contains("XWing"),
        "defaults are in the schema: {said}"
    );
    let (ok, said) = cluster.kubectl(&["explain", "mixnnmodel.spec", "--recursive"], "");
    assert!(ok, "{said}");
    for path in [
        "spec.training",
        "spec.placement",
        "spec.relays",
        "spec.podClasses",
        "spec.serving",
        "spec.serving.port",
        "spec.serving.authentication",
        "status.training",
        "status.serving",
    ] {
        let (ok, said) = cluster.kubectl(&["explain", &format!("mixnnmodel.{path}")], "");
        assert!(ok && !said.contains("<no description>"), "{path}: {said}");
    }
}
