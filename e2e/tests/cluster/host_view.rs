//! What the administrator of a host's namespace can see of a model that runs there.

use crate::kube::{apply, field, get, kubectl, run, try_run};
use crate::model::Model;
use crate::{HOSTS, OWNER};
use serde_json::json;
use std::collections::HashSet;

const AUDITOR: &str = "--as=system:serviceaccount:team-1:auditor";

/// Objects, logs and descriptions, by the rights of ClusterRole `admin` in the first host's namespace, contain nothing
/// of the owner, the model, its layers and the other hosts.
pub fn tells_nothing(model: &Model) {
    let host = HOSTS[0];
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "auditor", "namespace": host},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "auditor", "namespace": host}]});
    apply(&role.to_string());
    let foreign = foreign_pods(host);
    let uid = model.uid();
    let (text, pods) = everything(host);
    assert!(pods > 0, "the host runs something");
    let words: HashSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    for secret in [OWNER, "lenet5", "conv1", "conv2", "fc1", "fc2", "fc3"] {
        assert!(!words.contains(secret), "a host's admin reads '{secret}' in:\n{text}");
    }
    for secret in HOSTS[1..].iter().map(|h| (*h).to_owned()).chain(foreign).chain([uid]) {
        assert!(!text.contains(&secret), "a host's admin reads '{secret}' in:\n{text}");
    }
    for what in [
        ["get", "mixnn", "-n", OWNER],
        ["get", "secrets", "-n", OWNER],
        ["get", "configmaps", "-n", crate::PLATFORM],
    ] {
        let answer = try_run("kubectl", &[&what[..], &[AUDITOR]].concat(), "");
        assert!(answer.unwrap_err().contains("Forbidden"), "{what:?}");
    }
}

/// Names of pods of other hosts.
fn foreign_pods(host: &str) -> Vec<String> {
    let pods = get(&["pods", "-A", "-l", "mixnn.dev/pod"]);
    let of = |p: &&serde_json::Value| field(p, "/metadata/namespace") != host;
    pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(of)
        .map(|p| field(p, "/metadata/name").to_owned())
        .collect()
}

/// All text that the admin gets, and of how many pods.
fn everything(host: &str) -> (String, usize) {
    let kinds = kubectl(&["api-resources", "--namespaced", "--verbs=list", "-o", "name"]);
    let mut text = String::new();
    for kind in kinds.lines() {
        // Some kinds are not the admin's to read.
        text += &try_run("kubectl", &[AUDITOR, "-n", host, "get", kind, "-o", "yaml"], "")
            .unwrap_or_default();
    }
    text += &run("kubectl", &[AUDITOR, "-n", host, "describe", "pods"], "");
    let pods = get(&["pods", "-n", host, "-l", "mixnn.dev/pod"]);
    let pods = pods["items"].as_array().unwrap();
    for pod in pods {
        text += &run("kubectl", &[AUDITOR, "-n", host, "logs", field(pod, "/metadata/name")], "");
    }
    (text, pods.len())
}
