//! A real Prometheus that scrapes the operator and relays, and what the dashboard asks it.

use crate::PLATFORM;
use crate::forwarded::Forwarded;
use crate::kube::{apply, field, kubectl, run, until};
use crate::platform::namespace;
use crate::report;
use serde_json::{Value, json};

/// The namespace whose pods may read figures.
const READERS: &str = "observability";

/// A Prometheus that runs.
pub struct Figures(Forwarded);

/// Has one scrape from now on.
pub fn collect() -> Figures {
    apply(&namespace(READERS, &json!({"team": "observability"})).to_string());
    let metadata = json!({"name": "prometheus", "namespace": READERS});
    let rules =
        json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]);
    let account = json!({"kind": "ServiceAccount", "name": "prometheus", "namespace": READERS});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "prometheus"});
    for object in [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "prometheus"}, "rules": rules}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "prometheus"},
            "roleRef": role, "subjects": [account]}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"prometheus.yml": config().to_string()}}),
        pod(&metadata),
    ] {
        apply(&object.to_string());
    }
    kubectl(&["-n", READERS, "wait", "--for=condition=Ready", "pod/prometheus", "--timeout=120s"]);
    Figures(Forwarded::to(READERS, "pod/prometheus", 9090))
}

/// As the chart's ServiceMonitor and PodMonitor say it to an operator of Prometheus.
fn config() -> Value {
    let metrics = json!([{"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": "metrics", "action": "keep"}]);
    json!({"global": {"scrape_interval": "2s"}, "scrape_configs": [
        {"job_name": "operator", "relabel_configs": metrics,
            "kubernetes_sd_configs": [{"role": "pod", "namespaces": {"names": [PLATFORM]}}]},
        {"job_name": "relays", "relabel_configs": metrics,
            "kubernetes_sd_configs": [{"role": "pod", "selectors": [{"role": "pod", "label": "mixnn.dev/pod=relay"}]}]},
    ]})
}

fn pod(metadata: &Value) -> Value {
    let security = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
    let container = json!({"name": "prometheus", "image": "localhost/prometheus:1", "imagePullPolicy": "Never",
        "args": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/prometheus"}, {"name": "data", "mountPath": "/data"}],
        "securityContext": security});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {
        "serviceAccountName": "prometheus", "containers": [container],
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65534, "fsGroup": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "config", "configMap": {"name": "prometheus"}}, {"name": "data", "emptyDir": {}}]}})
}

impl Figures {
    /// Every query of the dashboard has an answer in numbers.
    pub fn fill_the_dashboard(self) {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/mixnn/files/dashboard.json");
        let dashboard: Value =
            serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
        let queries: Vec<&str> = targets.map(|target| field(target, "/expr")).collect();
        for query in &queries {
            until(&format!("an answer to {query}"), || self.answers(query).then_some(()));
        }
        report("queries of the dashboard that have data", format!("{0} of {0}", queries.len()));
        drop(self);
        // A drain would not touch a pod that nothing brings back.
        kubectl(&["delete", "namespace", READERS, "--timeout=120s"]);
        kubectl(&["delete", "clusterrole,clusterrolebinding", "prometheus"]);
    }

    fn answers(&self, query: &str) -> bool {
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.0.port);
        let said = run(
            "curl",
            &["-sS", "-m", "20", "-G", &url, "--data-urlencode", &format!("query={query}")],
            "",
        );
        let said: Value = serde_json::from_str(&said).unwrap();
        let series = said.pointer("/data/result").and_then(Value::as_array);
        let number = |s: &Value| field(s, "/value/1").parse::<f64>().is_ok_and(f64::is_finite);
        series.unwrap_or_else(|| panic!("{query}: {said}")).iter().any(number)
    }
}
