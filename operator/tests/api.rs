//! The CRDs on a real API server: what is taken, what is refused and in which words, what a person sees.

#![allow(clippy::unwrap_used)]

mod common;

use common::Cluster;
use serde_json::{Value, json};

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
    long["metadata"]["name"] = json!("n".repeat(53));
    assert!(refusal(&cluster, &long).contains("at most 52 characters"));
    let mut host = serde_json::to_value(common::objects::host("default", "a", json!({}))).unwrap();
    host["metadata"]["name"] = json!("another");
    assert!(refusal(&cluster, &host).contains("one per namespace"));
    what_may_change(&cluster);
    what_a_person_sees(&cluster);
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
