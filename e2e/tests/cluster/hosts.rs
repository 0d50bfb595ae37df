//! What becomes of models when hosts and nodes change.

use crate::kube::{apply, field, get, kubectl, pods, try_run, until};
use crate::model::Model;
use crate::{OWNER, PLATFORM, platform};
use serde_json::json;

/// A model of which one layer fits no node: it says so, and none of its pods keeps a place.
pub fn of_no_use_to_what_is_too_large() {
    let giant = Model::apply_with(OWNER, "giant", |spec| {
        let small = spec["podClasses"]["standard"].clone();
        let huge = json!({"resources": {"limits": {"cpu": "640", "memory": "64Mi"}}});
        spec.insert("podClasses".into(), json!({"standard": small, "huge": huge}));
        spec["layers"][4]["class"] = "huge".into();
        spec["placement"]["timeout"] = "10s".into();
        spec.insert("relays".into(), json!({"replicas": 3}));
    });
    let timeout = |c: &serde_json::Value| c["status"] == "False" && c["reason"] == "Timeout";
    let message = giant.condition_as("Scheduled", timeout);
    assert!(message.contains("class huge") && message.contains("Insufficient cpu"), "{message}");
    until("no pod to keep a node", || {
        pods("mixnn.dev/pod in (layer,relay)")
            .iter()
            .all(|p| field(p, "/spec/nodeName").is_empty())
            .then_some(())
    });
    giant.delete();
}

/// The host of a layer takes its consent back: its pods end, others take over elsewhere; then it hosts again.
pub fn withdraw(model: &Model) {
    let host = field(&pods("mixnn.dev/pod=layer")[0], "/metadata/namespace").to_owned();
    kubectl(&["-n", &host, "delete", "mixhost", "mixnn"]);
    until("the pods of the host that withdrew to end", || {
        let here = get(&["pods", "-n", &host, "-l", "mixnn.dev/pod"]);
        here["items"].as_array()?.is_empty().then_some(())
    });
    until("its layers to run elsewhere", || (model.status("/layers/ready") == "5/5").then_some(()));
    apply(&platform::host(&host).to_string());
}

/// As before maintenance: all pods of a node leave it by eviction, without --force. Not the designer's node.
pub fn drain(model: &Model) {
    let spared = model.node();
    let node = pods("mixnn.dev/pod in (layer,relay)")
        .iter()
        .map(|p| field(p, "/spec/nodeName").to_owned())
        .find(|node| !node.is_empty() && *node != spared)
        .expect("pods are on more than one node");
    kubectl(&["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=300s"]);
    let selector = format!("spec.nodeName={node}");
    let left = get(&["pods", "-A", "-l", "mixnn.dev/pod", "--field-selector", &selector]);
    assert_eq!(left["items"], json!([]), "nothing of MixNN is left on {node}");
    kubectl(&["uncordon", &node]);
}

/// Figures of a relay, which tell of no model; layer pods have none.
pub fn figures_of_relays_alone() {
    let read = |role: &str| {
        let pod = &pods(&format!("mixnn.dev/pod={role}"))[0];
        let (namespace, name) = (field(pod, "/metadata/namespace"), field(pod, "/metadata/name"));
        let way = crate::forwarded::Forwarded::to(namespace, &format!("pod/{name}"), 9090);
        try_run(
            "curl",
            &["-sSf", "-m", "20", &format!("http://127.0.0.1:{}/metrics", way.port)],
            "",
        )
    };
    let figures = read("relay").unwrap();
    assert!(figures.contains("mixnn_cells_in_total"), "{figures}");
    for secret in [OWNER, PLATFORM, "lenet5"] {
        assert!(!figures.contains(secret), "{figures}");
    }
    read("layer").unwrap_err();
}
