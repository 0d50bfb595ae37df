//! A real Prometheus that scrapes the operator and relays, and what the dashboard asks it.

use crate::forwarded::Forwarded;
use crate::kube::{apply, field, kubectl, run, until};
use crate::platform::namespace;
use crate::{HOSTS, PLATFORM, report};
use serde_json::{Value, json};

/// The namespace whose pods may read figures.
const READERS: &str = "observability";
/// Names the pods that are scraped, in each of their namespaces.
const SERVICE: &str = "figures";

/// A Prometheus that runs.
pub struct Figures(Forwarded);

/// Has one scrape from now on.
pub fn collect() -> Figures {
    apply(&namespace(READERS, &json!({"team": "observability"})).to_string());
    let metadata = json!({"name": "prometheus", "namespace": READERS});
    for (namespace, labels, port) in scraped() {
        apply(&service(namespace, &labels, port).to_string());
    }
    for object in [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"prometheus.yml": config().to_string()}}),
        pod(&metadata),
    ] {
        apply(&object.to_string());
    }
    kubectl(&["-n", READERS, "wait", "--for=condition=Ready", "pod/prometheus", "--timeout=120s"]);
    Figures(Forwarded::to(READERS, "pod/prometheus", 9090))
}

/// What the chart's ServiceMonitor and PodMonitor select: namespaces, labels of pods, port.
fn scraped() -> Vec<(&'static str, Value, u16)> {
    let relays = HOSTS.iter().map(|host| (*host, json!({"mixnn.dev/pod": "relay"}), 9090));
    let operator = (PLATFORM, json!({"app.kubernetes.io/name": "mixnn-operator"}), 8080);
    relays.chain([operator]).collect()
}

/// Debian's Prometheus asks no API server: it finds pods by the names that a Service without an address gives them.
fn service(namespace: &str, labels: &Value, port: u16) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": SERVICE, "namespace": namespace},
        "spec": {"clusterIP": "None", "selector": labels, "ports": [{"port": port}], "publishNotReadyAddresses": true}})
}

fn config() -> Value {
    let job = |(namespace, _, port): (&str, Value, u16)| {
        let names = [format!("{SERVICE}.{namespace}.svc.cluster.local")];
        json!({"job_name": namespace,
            "dns_sd_configs": [{"names": names, "type": "A", "port": port, "refresh_interval": "2s"}]})
    };
    let jobs: Vec<Value> = scraped().into_iter().map(job).collect();
    json!({"global": {"scrape_interval": "2s"}, "scrape_configs": jobs})
}

fn pod(metadata: &Value) -> Value {
    let security = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
    let container = json!({"name": "prometheus", "image": "localhost/prometheus:1", "imagePullPolicy": "Never",
        "args": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
        "readinessProbe": {"httpGet": {"path": "/-/ready", "port": 9090}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/prometheus"}, {"name": "data", "mountPath": "/data"}],
        "securityContext": security});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {
        "automountServiceAccountToken": false, "containers": [container],
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
        for (namespace, ..) in scraped() {
            kubectl(&["delete", "service", SERVICE, "-n", namespace]);
        }
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
