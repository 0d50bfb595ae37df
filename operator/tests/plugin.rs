//! `kubectl mixnn` on a real API server: as an administrator, as an owner who may see a namespace only, and by kubectl
//! itself.

#![allow(clippy::unwrap_used)]

mod common;

use common::machine::bin_dir;
use common::{World, cluster, objects, team, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use mixnn_crds::MixNNModel;
use serde_json::{Value, json};
use std::process::{Command, Output, Stdio};

/// The command, with this kubeconfig.
fn mixnn(kubeconfig: &str, args: &[&str]) -> Command {
    let mut command = Command::new(bin_dir().join("mixnn"));
    command.args(args).env("KUBECONFIG", kubeconfig).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(kubeconfig: &str, args: &[&str]) -> Output {
    mixnn(kubeconfig, args).output().unwrap()
}

/// What a command prints, which must succeed.
fn good(kubeconfig: &str, args: &[&str]) -> String {
    let output = run(kubeconfig, args);
    assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// What a check finds: exit status, and findings as "level area: found".
fn check(kubeconfig: &str, args: &[&str]) -> (bool, Vec<String>) {
    let output = run(kubeconfig, &[&["check", "-n", "vision", "-o", "json"], args].concat());
    let findings: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}{}", text(&output.stdout), text(&output.stderr)));
    let field = |f: &Value, name: &str| f[name].as_str().unwrap_or_default().to_owned();
    for finding in &findings {
        let bad = ["warn", "fail"].contains(&field(finding, "level").as_str());
        let waits = field(finding, "area") == "conditions";
        assert!(!bad || waits || !field(finding, "fix").is_empty(), "no fix: {finding}");
    }
    let row =
        |f: &Value| format!("{} {}: {}", field(f, "level"), field(f, "area"), field(f, "found"));
    (output.status.success(), findings.iter().map(row).collect())
}

fn has(findings: &[String], start: &str) -> bool {
    findings.iter().any(|f| f.starts_with(start))
}

/// The operator's Deployment as the chart makes it. Nobody runs it: the operator is in this process.
async fn deployment(world: &World) {
    let image = format!("example.org/x@sha256:{}", "0".repeat(64));
    let env = ["LAYER", "RELAY", "DESIGNER"]
        .map(|name| json!({"name": format!("MIXNN_{name}_IMAGE"), "value": image}));
    let labels = json!({"app.kubernetes.io/name": "mixnn-operator", "app.kubernetes.io/version": env!("CARGO_PKG_VERSION")});
    let object = json!({
        "metadata": {"name": "mixnn-operator", "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "operator", "image": image, "env": env}]}}},
    });
    let api: Api<Deployment> = Api::namespaced(world.client.clone(), team::PLATFORM);
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let status = json!({"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 1}});
    api.patch_status("mixnn-operator", &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}

/// A kubeconfig of somebody who may look at namespace vision, and at nothing else.
async fn owner(world: &World) -> String {
    let (client, params) = (&world.client, PostParams::default());
    let rules = json!([
        {"apiGroups": ["mixnn.dev"], "resources": ["mixnnmodels"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["events", "pods", "pods/log"], "verbs": ["get", "list", "watch"]},
    ]);
    let role: Role =
        serde_json::from_value(json!({"metadata": {"name": "owner"}, "rules": rules})).unwrap();
    Api::namespaced(client.clone(), "vision").create(&params, &role).await.unwrap();
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "owner"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "owner"},
        "subjects": [{"kind": "ServiceAccount", "name": "owner", "namespace": "vision"}],
    }))
    .unwrap();
    Api::namespaced(client.clone(), "vision").create(&params, &binding).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "vision");
    let account = serde_json::from_value(json!({"metadata": {"name": "owner"}})).unwrap();
    accounts.create(&params, &account).await.unwrap();
    let request =
        serde_json::from_value(json!({"metadata": {}, "spec": {"audiences": []}})).unwrap();
    let made = accounts.create_token_request("owner", &params, &request).await.unwrap();
    world.cluster.kubeconfig(&made.status.unwrap().token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_plugin_shows_and_finds() {
    let Some(world) = World::start().await else { return };
    let admin = world.cluster.admin_kubeconfig();
    let (well, found) = check(&admin, &[]);
    assert!(!well && has(&found, "ok kubernetes: Kubernetes 1."), "{found:#?}");
    assert!(
        has(&found, "ok crds: mixnnmodels.mixnn.dev serves v1alpha1, as this command"),
        "{found:#?}"
    );
    assert!(has(&found, "fail operator: no operator runs here"), "{found:#?}");
    assert!(has(&found, "ok policies: "), "{found:#?}");
    assert!(has(&found, "fail namespace: namespace vision is not there"), "{found:#?}");

    deployment(&world).await;
    let _operator = world.operator(&[]).await;
    let hosts = world.teams("vision", 2).await;
    for name in hosts.iter().map(String::as_str).chain(["vision"]) {
        let label = ["label", "namespace", name, "mixnn.dev/member=true"];
        assert!(world.cluster.kubectl(&label, "").0);
    }
    until("hosts are ready", || async { check(&admin, &[]).0.then_some(()) }).await;
    a_model_that_is_not_applied(&admin);
    let model = world.create(&objects::model("vision", "net", 2, 3)).await;
    world.condition("vision", "net", "Scheduled", "True", "Scheduled").await;
    let (well, found) = check(&admin, &["net"]);
    assert!(well && has(&found, "ok capacity: 2 layers and 3 relays"), "{found:#?}");
    assert!(has(&found, "warn storage: no spec.checkpoints"), "{found:#?}");
    assert!(has(&found, "ok pods: pods of MixNN in vision: 1"), "{found:#?}");

    what_status_shows(&admin);
    let events = good(&admin, &["events", "net", "-n", "vision"]);
    assert!(events.contains("Scheduled") && events.contains("MixNNModel/net"), "{events}");
    let logs = run(&admin, &["logs", "other", "-n", "vision"]);
    assert!(text(&logs.stderr).contains("there is no pod other-designer-0"), "{logs:?}");
    an_owner(&owner(&world).await);
    by_kubectl(&admin);
    a_host_that_drains_and_an_older_crd(&world, &admin, &hosts[0]);
    watched_to_the_end(&world, &admin, &model).await;
}

fn a_model_that_is_not_applied(admin: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.yaml");
    let needs = json!({
        "podClasses": {"standard": {"resources": {"limits": {"cpu": "100m", "memory": "64Mi"}}}},
        "training": {"seedFrom": {"secretKeyRef": {"name": "seed", "key": "k"}}},
        "checkpoints": {"store": {"persistentVolumeClaim": {"claimName": "state"}}},
        "relays": {"replicas": 2, "hops": 2},
    });
    let model = objects::model_with("vision", "big", 5, 2, needs);
    std::fs::write(&file, serde_json::to_string(&model).unwrap()).unwrap();
    let (well, found) = check(admin, &["-f", file.to_str().unwrap()]);
    assert!(!well, "{found:#?}");
    for start in [
        "fail capacity: 5 layers of class standard, at most 1 on a host, and 2 trust domains",
        "fail storage: volume claim state is not there",
        "fail secrets: Secret seed is not there",
        "warn relays: 2 hops: the crossing relay",
    ] {
        assert!(has(&found, start), "{start}: {found:#?}");
    }
}

fn what_status_shows(admin: &str) {
    let tree = good(admin, &["status", "net", "-n", "vision"]);
    for words in
        ["net in vision: Waiting", "layers     0/2 pods registered", "hidden-1", "✓ Scheduled"]
    {
        assert!(tree.contains(words), "{words}: {tree}");
    }
    assert!(!tree.contains('\x1b'), "colours without a terminal");
    let list: Value = serde_json::from_str(&good(admin, &["status", "-A", "-o", "json"])).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["layerPods"]["ready"]), (&json!("net"), &json!("0/2")));
    let missing = run(admin, &["status", "other", "-n", "vision"]);
    assert!(!missing.status.success());
    assert!(text(&missing.stderr).contains("other in vision is not there"), "{missing:?}");
}

fn a_host_that_drains_and_an_older_crd(world: &World, admin: &str, host: &str) {
    let drain = r#"{"spec":{"drain":true}}"#;
    let args = ["-n", host, "patch", "mixhost", "mixnn", "--type=merge", "-p", drain];
    assert!(world.cluster.kubectl(&args, "").0);
    let field = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/training/properties/curve";
    let older = json!([{"op": "remove", "path": field}]).to_string();
    let args = ["patch", "crd", "mixnnmodels.mixnn.dev", "--type=json", "-p", &older];
    let (ok, said) = world.cluster.kubectl(&args, "");
    assert!(ok, "{said}");
    let (_, found) = check(admin, &[]);
    assert!(has(&found, &format!("warn hosts: {host} drains")), "{found:#?}");
    let lacks = "warn crds: mixnnmodels.mixnn.dev is not as this command knows it: it lacks status.training.curve";
    assert!(has(&found, lacks), "{found:#?}");
}

/// Sees what is the owner's, and is told what else there is.
fn an_owner(kubeconfig: &str) {
    let (well, found) = check(kubeconfig, &["net"]);
    assert!(well, "{found:#?}");
    for start in [
        "unseen crds: ",
        "unseen operator: ",
        "unseen hosts: ",
        "unseen policies: ",
        "warn rights: you may not create mixnnmodels in vision (apply models)",
        "ok relays: 3 hops over 3 relays of its own",
    ] {
        assert!(has(&found, start), "{start}: {found:#?}");
    }
    assert!(good(kubeconfig, &["status", "net", "-n", "vision"]).contains("net in vision"));
    good(kubeconfig, &["events", "net", "-n", "vision"]);
    let all = run(kubeconfig, &["status", "-A"]);
    assert!(!all.status.success() && text(&all.stderr).contains("forbidden"), "{all:?}");
}

fn by_kubectl(admin: &str) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["kubectl-mixnn", "kubectl_complete-mixnn"] {
        let link = folder.path().join(name);
        std::os::unix::fs::symlink(bin_dir().join("mixnn"), link).unwrap();
    }
    let kubectl = cluster::assets().unwrap().join("kubectl");
    let run = |args: &[&str]| {
        let mut command = Command::new(&kubectl);
        command.args(args).env("KUBECONFIG", admin).env("PATH", folder.path()).output().unwrap()
    };
    let shown = run(&["mixnn", "status", "net", "-n", "vision"]);
    assert!(text(&shown.stdout).contains("net in vision"), "{shown:?}");
    let completed = text(&run(&["__complete", "mixnn", "sta"]).stdout);
    assert!(completed.starts_with("status\t"), "{completed}");
    let help = text(&run(&["mixnn", "status", "--help"]).stdout);
    assert!(help.contains("Usage: kubectl mixnn status"), "{help}");
    assert!(help.contains("  kubectl mixnn status lenet5 --watch"), "{help}");
}

/// `status --watch` ends when the model is trained.
async fn watched_to_the_end(world: &World, admin: &str, model: &MixNNModel) {
    let args = ["status", "net", "-n", "vision", "--watch"];
    let child = mixnn(admin, &args).stdout(Stdio::piped()).spawn().unwrap();
    let condition = json!({"type": "Trained", "status": "True", "reason": "Trained", "message": "the weights are not kept",
        "lastTransitionTime": "2026-01-02T03:04:05Z"});
    let status = json!({
        "apiVersion": "mixnn.dev/v1alpha1", "kind": "MixNNModel", "metadata": {"uid": model.metadata.uid},
        "status": {"conditions": [condition], "training": {"step": 10, "totalSteps": 10, "percent": "100%", "digest": "d1"}},
    });
    let api = world.models("vision");
    api.patch_status("net", &PatchParams::apply("designer"), &Patch::Apply(status)).await.unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success() && said.contains("net in vision: Trained"), "{said}");
    assert!(said.contains("100%, step 10 of 10") && said.contains("digest     d1"), "{said}");
}
