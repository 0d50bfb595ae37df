//! The chart and the teams.

use crate::kube::{apply, field, get, kubectl, run, try_run, until};
use crate::{HOSTS, OWNER, PLATFORM, report};
use serde_json::{Value, json};
use std::time::Instant;

/// The installed chart.
pub struct Platform {
    /// Values with the images that were loaded.
    values: String,
}

impl Platform {
    /// Installs the chart; gives teams their namespaces, under Pod Security `restricted`.
    pub fn install() -> Self {
        let values = std::env::var("MIXNN_E2E_VALUES")
            .expect("MIXNN_E2E_VALUES names a file: run this by `make e2e`");
        let platform = Self { values };
        apply(&namespace(PLATFORM, &json!({})).to_string());
        let began = Instant::now();
        platform.helm("install", &[]);
        report("helm install --wait", format!("{:.1} s", began.elapsed().as_secs_f64()));
        run("helm", &["test", "mixnn", "-n", PLATFORM, "--timeout", "120s"], "");
        let member = |more: Value| {
            let mut labels = json!({"mixnn.dev/member": "true"});
            labels.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            labels
        };
        apply(&namespace(OWNER, &member(json!({"mixnn": "allowed"}))).to_string());
        for host in HOSTS {
            apply(&namespace(host, &member(json!({}))).to_string());
            apply(&self::host(host).to_string());
        }
        platform
    }

    fn helm(&self, verb: &str, more: &[&str]) {
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/mixnn");
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

    /// Rolls the operator.
    pub fn upgrade(&self) {
        self.helm("upgrade", &["--set", "logLevel=debug"]);
    }

    /// Lets it delete the models, after it was refused. What they ran in is gone after it; the CRDs stay.
    pub fn uninstall_by_force(&self) {
        let history = run("helm", &["history", "mixnn", "-n", PLATFORM, "-o", "json"], "");
        let history: Value = serde_json::from_str(&history).unwrap();
        let last = history.as_array().unwrap().last().unwrap()["revision"].to_string();
        run("helm", &["rollback", "mixnn", &last, "-n", PLATFORM, "--wait"], "");
        self.helm("upgrade", &["--set", "uninstall.force=true"]);
        uninstall().unwrap();
        assert!(get(&["mixnn", "-A"])["items"].as_array().unwrap().is_empty());
        assert_eq!(get(&["deployments", "-n", PLATFORM])["items"], json!([]));
    }
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

/// Consent of a namespace to host.
pub fn host(namespace: &str) -> Value {
    json!({"apiVersion": "mixnn.dev/v1alpha1", "kind": "MixNNHost", "metadata": {"name": "mixnn", "namespace": namespace},
        "spec": {"allowedOwners": {"namespaceSelector": {"matchLabels": {"mixnn": "allowed"}}}, "maxPods": 8,
            "priorityClassName": "mixnn-hosted"}})
}

fn namespace(name: &str, labels: &Value) -> Value {
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
