//! A model trains to the end on a real API server, with the real processes in place of containers: its
//! designer is lost, a layer is lost, the weights are those of one process; then it is served.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "trains/served.rs"]
mod served;

use common::machine::{Machine, bin_dir};
use common::team::Running;
use common::{World, objects, until};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use mixnn_crds::{MixNNModel, TrainingStatus};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const LAYERS: &str = r#"[
    {"name": "hidden", "ops": [{"flatten": {}}, {"linear": {"in": 784, "out": 64}}, {"relu": {}}, {"dropout": {"p": 0.3}}]},
    {"name": "middle", "ops": [{"linear": {"in": 64, "out": 32}}, {"tanh": {}}]},
    {"name": "last", "ops": [{"linear": {"in": 32, "out": 10}}]}]"#;

/// Says what processes said if the test fails.
struct Logs(Arc<Machine>);

impl Drop for Logs {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "{}", self.0.logs());
        }
    }
}

fn model(more: Value) -> MixNNModel {
    let mut model = serde_json::to_value(objects::model("vision", "net", 2, 3)).unwrap();
    model["spec"].as_object_mut().unwrap().remove("layers");
    let spec = json!({
        "layersFrom": {"secretRef": {"name": "sealed"}}, "layerCounts": {"standard": 3},
    });
    model["spec"]["training"] = json!({
        "dataset": {"digits": {"train": 2000, "test": 200}}, "batchSize": 20, "epochs": 20,
        "optimizer": {"adam": {"lr": 0.002}},
    });
    objects::merge(&mut model["spec"], spec);
    objects::merge(&mut model["spec"], more);
    serde_json::from_value(model).unwrap()
}

/// A volume claim that is bound, as the volume controller would leave it.
fn claim(world: &World) {
    let storage = json!({"storage": "1Gi"});
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "state"}, "spec": {
            "capacity": storage, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/nowhere"},
            "claimRef": {"namespace": "vision", "name": "state"}}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "state", "namespace": "vision", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "volumeName": "state", "storageClassName": "",
                "resources": {"requests": storage}}},
    ]});
    let (ok, said) = world.cluster.kubectl(&["apply", "-f", "-"], &objects.to_string());
    assert!(ok, "{said}");
}

async fn training(world: &World) -> Option<TrainingStatus> {
    world.models("vision").get("net").await.ok()?.status?.training
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_trains_though_its_designer_and_a_layer_are_lost() {
    let Some(world) = World::start_with_processes().await else { return };
    let machine = world.machine.clone().unwrap();
    let _logs = Logs(machine.clone());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let listen = format!("127.0.0.1:{port}");
    let operator = world
        .operator(&[
            "--registration-listen",
            &listen,
            "--registration-port",
            &port,
            "--relay-memory",
            "512Mi",
        ])
        .await;
    let hosts = world.teams("vision", 4).await;
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), "vision");
    let sealed = json!({"metadata": {"name": "sealed"}, "stringData": {"layers.yaml": LAYERS}});
    let sealed = serde_json::from_value(sealed).unwrap();
    secrets.create(&PostParams::default(), &sealed).await.unwrap();
    claim(&world);
    let checkpoints = json!({"checkpoints": {
        "everySteps": 20, "store": {"persistentVolumeClaim": {"claimName": "state"}},
    }});
    let model = world.create(&model(checkpoints)).await;
    world.condition("vision", "net", "Initialized", "True", "Established").await;
    until("a checkpoint", || async { training(&world).await?.checkpoint }).await;

    let designers: Api<Pod> = Api::namespaced(world.client.clone(), "vision");
    let first = designers.get("net-designer-0").await.unwrap();
    designers.delete("net-designer-0", &DeleteParams::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "mixnn");
    let head = format!("head-{}", model.uid().unwrap());
    let head: Value = until("another designer drives, from a checkpoint", || async {
        let pod = designers.get_opt("net-designer-0").await.ok()??;
        let head = serde_json::from_str::<Value>(&maps.get(&head).await.ok()?.data?["head.json"]);
        let head = head.ok()?;
        (pod.uid() != first.uid() && head["head"]["term"].as_u64() >= Some(2)).then_some(head)
    })
    .await;
    assert!(head["head"]["checkpoint"].as_u64() > Some(0), "{head}");
    let before = training(&world).await.unwrap().step;
    until("steps go on", || async { (training(&world).await?.step > before).then_some(()) }).await;

    let pods = world.pods(&hosts).await;
    let layer = pods.iter().find(|p| p.labels()["mixnn.dev/pod"] == "layer").unwrap();
    machine.crash(layer);
    until("a lost layer is replaced", || async {
        let status = world.models("vision").get("net").await.ok()?.status?;
        (status.layers?.replaced >= 1).then_some(())
    })
    .await;

    let done = world.condition("vision", "net", "Trained", "True", "Trained").await;
    let training = done.status.unwrap().training.unwrap();
    assert_eq!(training.percent.as_deref(), Some("100%"));
    let weights = machine.claim("vision", "state").join("net/model.safetensors");
    assert_eq!(training.weights, Some(weights.display().to_string()));
    assert!(weights.is_file());
    let owner = secrets.get("net-owner").await.unwrap();
    assert!(owner.owner_references().is_empty(), "checkpoints outlive the model, and so do keys");
    let keys = owner.data.unwrap();
    let reference = reference(&model, &keys["owner-secret"].0);
    assert_eq!(training.digest, Some(reference), "the weights are those of one process");
    what_a_person_sees(&world);
    until("pods end when the model is trained", || async {
        let gone = designers.get_opt("net-designer-0").await.ok()?.is_none();
        (gone && world.pods(&hosts).await.is_empty()).then_some(())
    })
    .await;
    served::once_it_is_asked_for(&world, &hosts).await;
    pods_that_nobody_wants_end(&world, &hosts, operator).await;
}

/// The designer is lost and the operator gone for ever: pods end by themselves.
async fn pods_that_nobody_wants_end(world: &World, hosts: &[String], operator: Running) {
    let mut model = serde_json::to_value(objects::model("vision", "left", 1, 1)).unwrap();
    model["spec"]["training"]["epochs"] = json!(10_000);
    world.create(&serde_json::from_value(model).unwrap()).await;
    until("its pods are registered", || async {
        let status = world.models("vision").get("left").await.ok()?.status?;
        (status.layers?.ready == "1/1" && status.relays?.ready == "1/1").then_some(())
    })
    .await;
    let designers: Api<Pod> = Api::namespaced(world.client.clone(), "vision");
    let machine = world.machine.as_ref().unwrap();
    machine.stop(&designers.get("left-designer-0").await.unwrap());
    operator.stop().await;
    until("layer and relay end by themselves", || async {
        let pods = world.pods(hosts).await;
        let phase = |p: &Pod| p.status.as_ref().and_then(|s| s.phase.clone());
        (pods.len() == 2 && pods.iter().all(|p| phase(p).as_deref() == Some("Failed")))
            .then_some(())
    })
    .await;
    let said = machine.logs();
    for words in ["this layer pod", "this relay has had no valid cell"] {
        assert!(said.contains(words), "{said}");
    }
}

fn what_a_person_sees(world: &World) {
    let (ok, said) = world.cluster.kubectl(&["get", "mixnn", "-n", "vision"], "");
    let row: Vec<&str> = said.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert!(ok && row[3] == "100%" && row[4].starts_with("0.") && row[5].ends_with('%'), "{said}");
    let status = Command::new(bin_dir().join("mixnn"))
        .args(["status", "net", "-n", "vision"])
        .env("KUBECONFIG", world.cluster.admin_kubeconfig())
        .output()
        .unwrap();
    let tree = String::from_utf8(status.stdout).unwrap();
    let row = |name: &str| tree.lines().find(|l| l.contains(name)).unwrap_or_default();
    assert!(
        tree.starts_with("net in vision: Trained") && row("layers").contains("replaced"),
        "{tree}"
    );
    assert!(row("progress").contains("100%, step 2000 of 2000"), "{tree}");
    assert!(row("loss").contains('█') && row("loss").ends_with('▁'), "the loss has fallen: {tree}");
}

/// The digest of the same training in one process.
fn reference(model: &MixNNModel, owner_secret: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let text = serde_json::to_vec(model).unwrap();
    let (model, secret) = (file("model.yaml", &text), file("secret", owner_secret));
    let layers = file("layers.yaml", LAYERS.as_bytes());
    let designer: &Path = &bin_dir().join("mixnn-designer");
    let ran = Command::new(designer)
        .args(["reference", "--file", &model, "--layers", &layers, "--owner-secret", &secret])
        .env("ATEN_CPU_CAPABILITY", "avx2")
        .output()
        .unwrap();
    let lines = String::from_utf8(ran.stdout).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    last["digest"].as_str().unwrap().to_owned()
}
