//! The chart and the teams.

use crate::kube::{apply, field, get, kubectl, run, try_run, until};
use crate::{HOSTS, OWNER, PLATFORM, report};
use serde_json::{Value, json};
use std::time::Instant;

/// The chart.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/mixnn");

/// The installed chart.
pub struct Platform {
    /// Values with the images that were loaded.
    values: String,
    /// An older chart, that was installed first.
    older: tempfile::TempDir,
}

impl Platform {
    /// Installs the chart; gives teams their namespaces, under Pod Security `restricted`.
    pub fn install() -> Self {
        let values = std::env::var("MIXNN_E2E_VALUES")
            .expect("MIXNN_E2E_VALUES names a file: run this by `make e2e`");
        let platform = Self { values, older: older_chart() };
        apply(&namespace(PLATFORM, &json!({})).to_string());
        let began = Instant::now();
        platform.helm("install", &platform.older_chart(), &[]);
        assert!(!crds_are_new());
        report("helm install --wait", format!("{:.1} s", began.elapsed().as_secs_f64()));
        run("helm", &["test", "mixnn", "-n", PLATFORM, "--timeout", "120s"], "");
        owner(OWNER);
        for host in HOSTS {
            apply(&namespace(host, &json!({"mixnn.dev/member": "true"})).to_string());
            apply(&self::host(host).to_string());
        }
        platform
    }

    fn older_chart(&self) -> String {
        self.older.path().join("mixnn").display().to_string()
    }

    fn helm(&self, verb: &str, chart: &str, more: &[&str]) {
        // Short patience with lost nodes; small relays: the cluster's nodes share the cores of one machine.
        let settings = [
            "--set",
            "relays.cpu=100m,relays.memory=512Mi,lostAfter=5,relays.metrics=true,networkPolicy.monitoring.team=observability",
            "--wait",
            "--timeout",
            "180s",
        ];
        let args =
            [&[verb, "mixnn", chart, "-n", PLATFORM, "-f", &self.values][..], &settings, more]
                .concat();
        run("helm", &args, "");
    }

    /// From the older chart to this one: rolls the operator, and renews the CRDs.
    pub fn upgrade(&self) {
        self.helm("upgrade", CHART, &["--set", "logLevel=debug"]);
        assert!(crds_are_new());
        assert_eq!(log_level(), "debug");
    }

    /// Has a pool of so many relays that models share.
    pub fn share_relays(&self, count: u32) {
        self.helm("upgrade", CHART, &["--set", &format!("sharedPool.relays={count}")]);
    }

    /// Lets it delete the models, after it was refused. What they ran in is gone after it; the CRDs stay.
    pub fn uninstall_by_force(&self) {
        let history = run("helm", &["history", "mixnn", "-n", PLATFORM, "-o", "json"], "");
        let history: Value = serde_json::from_str(&history).unwrap();
        let last = history.as_array().unwrap().last().unwrap()["revision"].to_string();
        run("helm", &["rollback", "mixnn", &last, "-n", PLATFORM, "--wait"], "");
        self.helm("upgrade", CHART, &["--set", "uninstall.force=true"]);
        uninstall().unwrap();
        assert!(get(&["mixnn", "-A"])["items"].as_array().unwrap().is_empty());
        assert_eq!(get(&["deployments", "-n", PLATFORM])["items"], json!([]));
    }
}

/// This chart as it may have been before a column of `kubectl get mixnn` was added.
fn older_chart() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    run("cp", &["-r", CHART, &folder.path().display().to_string()], "");
    let file = folder.path().join("mixnn/files/crds/mixnnmodel.yaml");
    let crd = std::fs::read_to_string(&file).unwrap();
    let column = "    - description: Share of the test set that is right
      jsonPath: .status.training.accuracy
      name: Accuracy
      type: string
";
    let before = crd.replace(column, "");
    assert_ne!(before, crd, "the CRD has no such column any more: take another one");
    std::fs::write(file, before).unwrap();
    folder
}

/// Whether the API server has that column.
fn crds_are_new() -> bool {
    let columns = "jsonpath={.spec.versions[0].additionalPrinterColumns[*].name}";
    kubectl(&["get", "crd", "mixnnmodels.mixnn.dev", "-o", columns]).contains("Accuracy")
}

fn log_level() -> String {
    let level = r#"jsonpath={.spec.template.spec.containers[0].env[?(@.name=="MIXNN_LOG")].value}"#;
    kubectl(&["get", "deployment", "mixnn-operator", "-n", PLATFORM, "-o", level])
}

/// Back to what was installed first.
pub fn roll_back() {
    let first = ["rollback", "mixnn", "1", "-n", PLATFORM, "--wait", "--timeout", "180s"];
    run("helm", &first, "");
    assert!(!crds_are_new());
    assert_eq!(log_level(), "info");
}

/// `helm uninstall`, or why not.
pub fn uninstall() -> Result<String, String> {
    try_run("helm", &["uninstall", "mixnn", "-n", PLATFORM, "--timeout", "180s"], "")
}

/// Deletes the operator's pod that leads; another one takes over.
pub fn delete_leader() {
    let leader = || {
        field(&get(&["lease", "mixnn-operator", "-n", PLATFORM]), "/spec/holderIdentity").to_owned()
    };
    let before = leader();
    kubectl(&["-n", PLATFORM, "delete", "pod", &before, "--wait=false"]);
    until("another operator to lead", || {
        Some(leader()).filter(|now| !now.is_empty() && *now != before)
    });
}

/// Ends a node, if the cluster is one whose nodes can be ended: `MIXNN_E2E_KILL_NODE` names the program that does it.
pub fn power_cut(node: &str) {
    match std::env::var("MIXNN_E2E_KILL_NODE") {
        Ok(program) => drop(run(&program, &[node], "")),
        Err(_) => report("SKIPPED: a power cut", "not in a cluster that is somebody's"),
    }
}

/// As a cloud does it, or a person: pods on a node that is gone end with its object.
pub fn forget_dead_nodes() {
    for node in get(&["nodes"])["items"].as_array().unwrap() {
        let conditions = node.pointer("/status/conditions").unwrap().as_array().unwrap();
        if !conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True") {
            kubectl(&["delete", "node", field(node, "/metadata/name")]);
        }
    }
}

/// What `install` made beside the chart, and the CRDs.
pub fn remove_teams() {
    let namespaces = [&HOSTS[..], &[OWNER, PLATFORM]].concat();
    kubectl(&[&["delete", "namespace", "--timeout=300s"], &namespaces[..]].concat());
    kubectl(&["delete", "crd", "mixnnmodels.mixnn.dev", "mixnnhosts.mixnn.dev"]);
}

/// A namespace whose models hosts admit.
pub fn owner(name: &str) {
    let labels = json!({"mixnn.dev/member": "true", "mixnn": "allowed"});
    apply(&namespace(name, &labels).to_string());
}

/// Consent of a namespace to host.
pub fn host(namespace: &str) -> Value {
    json!({"apiVersion": "mixnn.dev/v1alpha1", "kind": "MixNNHost", "metadata": {"name": "mixnn", "namespace": namespace},
        "spec": {"allowedOwners": {"namespaceSelector": {"matchLabels": {"mixnn": "allowed"}}}, "maxPods": 8,
            "priorityClassName": "mixnn-hosted"}})
}

/// A namespace under Pod Security `restricted`.
pub fn namespace(name: &str, labels: &Value) -> Value {
    let mut labels = labels.clone();
    labels["pod-security.kubernetes.io/enforce"] = "restricted".into();
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// Prints what the operator and the largest relay have in memory, as the kubelets see it.
pub fn memory() {
    let mut operator = 0;
    let mut relay = 0;
    let relays = get(&["pods", "-A", "-l", "mixnn.dev/pod=relay"]);
    let relays: Vec<_> = relays["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| field(p, "/metadata/name").to_owned())
        .collect();
    for node in get(&["nodes"])["items"].as_array().unwrap() {
        let path = format!("/api/v1/nodes/{}/proxy/stats/summary", field(node, "/metadata/name"));
        let summary: Value = serde_json::from_str(&kubectl(&["get", "--raw", &path])).unwrap();
        for pod in summary["pods"].as_array().unwrap() {
            let bytes = pod.pointer("/memory/workingSetBytes").and_then(Value::as_u64).unwrap_or(0);
            let name = field(pod, "/podRef/name");
            if field(pod, "/podRef/namespace") == PLATFORM {
                operator = operator.max(bytes);
            } else if relays.iter().any(|r| r == name) {
                relay = relay.max(bytes);
            }
        }
    }
    report("memory of the operator", format!("{} MiB", operator >> 20));
    report("memory of the largest relay", format!("{} MiB", relay >> 20));
}
