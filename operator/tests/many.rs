//! Many models at once, by a real operator process: what it asks of the API server for them, that it is silent
//! once they run, and how soon it sees to one of them.
//!
//! `MIXNN_MODELS` says how many (20 unless set). Times are figures, printed and never asserted; `make
//! bench-operator` has those of a thousand models written to a file.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "many/traced.rs"]
mod traced;

use common::team::namespace;
use common::{World, objects, until};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PostParams,
};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use mixnn_crds::MixNNModel;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LAYERS: usize = 5;
const HOSTS: usize = 8;
/// Of `/proc`, on every Linux that Rust's std runs on.
const CLOCK_TICKS: f64 = 100.0;
/// How long it is watched that nothing happens, and how long where figures are wanted.
const STILL: Duration = Duration::from_secs(10);
const STILL_FOR_FIGURES: Duration = Duration::from_secs(30);
/// Single pods that are ended, one after the other, and the pause after each: what it changed is over by then.
const CHANGES: usize = 100;
const PAUSE: Duration = Duration::from_millis(200);
/// Watches of an operator: pods of each host, and models, hosts, namespaces, records, StatefulSets, what clients reach
/// models by; some twice.
const WATCHES: f64 = HOSTS as f64 + 10.0;
/// Kinds of the objects that an operator makes for a model, by group and version.
const KINDS: [(&str, &str, &str); 8] = [
    ("", "v1", "Pod"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "ServiceAccount"),
    ("", "v1", "Service"),
    ("apps", "v1", "StatefulSet"),
    ("rbac.authorization.k8s.io", "v1", "Role"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
];

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An operator's process, as in a pod of its own.
struct Operator {
    child: Child,
    metrics: String,
}

impl Operator {
    /// With more flags, and this in its environment.
    fn start(world: &World, flags: &[&str], environment: &[(&str, String)]) -> Self {
        let health = format!("127.0.0.1:{}", free_port());
        let more = [
            ["--shared-relays", "3"],
            ["--health-listen", &health],
            // As in a cluster, and not as short as where tests take an operator's Lease away.
            ["--lease-duration", "15"],
            ["--lease-renew", "10"],
            ["--lease-retry", "2"],
        ];
        let built = || env!("CARGO_BIN_EXE_mixnn-operator").into();
        let child = Command::new(std::env::var_os("MIXNN_OPERATOR").unwrap_or_else(built))
            .args(&World::flags(&[&more.concat(), flags].concat())[1..])
            .env("KUBECONFIG", world.cluster.kubeconfig(&world.operator_token))
            .env("MIXNN_LOG", std::env::var("MIXNN_LOG").unwrap_or_else(|_| "warn".into()))
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, metrics: format!("http://{health}/metrics") }
    }

    /// Waits until it has listed everything and leads.
    async fn leads(&self) {
        until("the operator has listed everything", || async {
            let ready = reqwest::get(self.metrics.replace("metrics", "readyz")).await.ok()?;
            ready.error_for_status().ok()
        })
        .await;
        until("the operator leads", || async {
            (self.figures().await["mixnn_operator_leader"] > 0.0).then_some(())
        })
        .await;
    }

    /// All of its figures by name and labels.
    async fn figures(&self) -> BTreeMap<String, f64> {
        let text = reqwest::get(&self.metrics).await.unwrap().text().await.unwrap();
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        text.lines().filter(|l| !l.starts_with('#')).filter_map(line).collect()
    }

    /// Requests to the API server, by verb.
    async fn requests(&self) -> BTreeMap<String, f64> {
        let prefix = "mixnn_operator_api_requests_total{outcome=\"";
        let verb = |(name, count): (String, f64)| {
            Some((name.strip_prefix(prefix)?.trim_end_matches("\"}").to_owned(), count))
        };
        self.figures().await.into_iter().filter_map(verb).collect()
    }

    /// Its requests once it has written nothing but its Lease for a while.
    async fn settled(&self) -> BTreeMap<String, f64> {
        until("the operator has nothing left to write", || async {
            let before = self.requests().await;
            tokio::time::sleep(STILL).await;
            let now = self.requests().await;
            ["patch", "post", "delete"]
                .iter()
                .all(|verb| grown(verb, &before, &now) == 0.0)
                .then_some(now)
        })
        .await
    }

    /// A line of `/proc/PID/status`, in KiB.
    fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix(what)).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    }

    /// Seconds of CPU.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: f64 = [11, 12].iter().map(|&i: &usize| fields[i].parse::<f64>().unwrap()).sum();
        ticks / CLOCK_TICKS
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// By how many requests of a verb a count has grown.
fn grown(verb: &str, since: &BTreeMap<String, f64>, now: &BTreeMap<String, f64>) -> f64 {
    now.get(verb).unwrap_or(&0.0) - since.get(verb).unwrap_or(&0.0)
}

/// What an operator asks and says while nothing happens: its Lease is read and renewed every other second, and a watch
/// that the server ends begins again. No list, no write.
async fn silence(operator: &Operator, still: Duration) -> BTreeMap<String, f64> {
    let (since, start) = (operator.requests().await, Instant::now());
    tokio::time::sleep(still).await;
    let (now, seconds) = (operator.requests().await, start.elapsed().as_secs_f64());
    let counts: BTreeMap<String, f64> =
        now.keys().map(|verb| (verb.clone(), grown(verb, &since, &now))).collect();
    for (verb, count) in &counts {
        let most = match verb.as_str() {
            "get" | "put" => seconds / 2.0 + 2.0,
            "watch" => WATCHES,
            _ => 0.0,
        };
        assert!(*count <= most, "{count} {verb} in {seconds} s while nothing happens");
    }
    counts
}

/// How many objects there are of the kinds that operators make. Pods of designers are made by Kubernetes.
async fn objects_there(world: &World) -> usize {
    let mut all = 0;
    for (group, version, kind) in KINDS {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::all_with(world.client.clone(), &kind);
        let list = ListParams::default().labels("mixnn.dev/pod!=designer");
        all += api.list_metadata(&list).await.unwrap().items.len();
    }
    all
}

/// Returns once so many models have all their pods on nodes.
async fn all_scheduled(world: &World, models: usize) {
    let api: Api<MixNNModel> = Api::all(world.client.clone());
    let mut seen = HashSet::new();
    let mut stream =
        Box::pin(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    while seen.len() < models {
        let next = tokio::time::timeout(common::PATIENCE, stream.try_next()).await;
        let model = next.expect("some model makes progress").unwrap().unwrap();
        let conditions = model.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
        if conditions.iter().any(|c| c.type_ == "Scheduled" && c.status == "True") {
            seen.insert(model.name_any());
        }
    }
}

/// Milliseconds from the end of a layer's pod to the making of the one in its place.
async fn reactions(world: &World, times: usize) -> Vec<f64> {
    let api: Api<Pod> = Api::all(world.client.clone());
    let config = watcher::Config::default().labels("mixnn.dev/pod=layer");
    let mut stream = watcher(api, config).default_backoff().boxed();
    let mut pods: BTreeMap<String, (String, String)> = BTreeMap::new();
    loop {
        match stream.try_next().await.unwrap().unwrap() {
            watcher::Event::InitApply(pod) => {
                pods.insert(pod.uid().unwrap(), (pod.namespace().unwrap(), pod.name_any()));
            }
            watcher::Event::InitDone => break,
            _ => {}
        }
    }
    let chosen: Vec<_> = pods.values().step_by((pods.len() / times).max(1)).cloned().collect();
    let mut known: HashSet<String> = pods.into_keys().collect();
    let mut all = Vec::new();
    for (namespace, name) in chosen.into_iter().take(times) {
        let api: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
        let at_once = DeleteParams::default().grace_period(0);
        api.delete(&name, &at_once).await.unwrap();
        let start = Instant::now();
        loop {
            let next = tokio::time::timeout(common::PATIENCE, stream.try_next()).await;
            let event = next.expect("another pod takes its place").unwrap().unwrap();
            if let watcher::Event::Apply(pod) = event
                && known.insert(pod.uid().unwrap())
            {
                break;
            }
        }
        all.push(start.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(PAUSE).await;
    }
    all.sort_by(f64::total_cmp);
    all
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len()) - 1]
}

/// The bucket of reconciliations' times under which this share of them lies, in milliseconds.
fn reconcile_quantile(figures: &BTreeMap<String, f64>, q: f64) -> f64 {
    let prefix = "mixnn_operator_reconcile_duration_seconds_bucket{le=\"";
    let bucket = |(name, count): (&String, &f64)| {
        let bound = name.strip_prefix(prefix)?.trim_end_matches("\"}").parse::<f64>().ok()?;
        Some((bound, *count))
    };
    let mut buckets: Vec<(f64, f64)> = figures.iter().filter_map(bucket).collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all = figures["mixnn_operator_reconcile_duration_seconds_count"];
    buckets.iter().find(|(_, count)| *count >= q * all).map_or(f64::INFINITY, |b| b.0) * 1e3
}

#[tokio::test]
async fn many_models_are_made_and_then_nothing_is_said() {
    let Some(world) = World::start().await else { return };
    let models: usize =
        std::env::var("MIXNN_MODELS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    for i in 0..4 {
        common::kubelet::node(&world.client, &format!("more-{i}"), "4000", "4000Gi").await;
    }
    namespace(&world.client, "owner", &json!({"owner": "owner"})).await;
    for i in 0..HOSTS {
        let name = format!("host-{i}");
        namespace(&world.client, &name, &json!({})).await;
        world.grant(&name, "owner", json!({"maxPods": 10_000})).await;
    }
    let operator = Operator::start(&world, &[], &[]);
    operator.leads().await;
    let (before, asked) = (objects_there(&world).await, operator.requests().await);

    let start = Instant::now();
    let scheduled = all_scheduled(&world, models);
    let create = async {
        let api = world.models("owner");
        let make = |i: usize| {
            let shared = json!({"relays": {"shared": true}});
            let model = objects::model_with("owner", &format!("net-{i}"), LAYERS, 3, shared);
            let api = api.clone();
            async move { api.create(&PostParams::default(), &model).await }
        };
        let made: Vec<_> =
            futures::stream::iter((0..models).map(make)).buffer_unordered(8).collect().await;
        made.into_iter().for_each(|model| drop(model.unwrap()));
        start.elapsed()
    };
    let (accepted, ()) = tokio::join!(create, scheduled);
    let all = start.elapsed();
    // What is still said of them: the directory of those that run.
    let settled = operator.settled().await;
    let children = objects_there(&world).await - before;
    assert!(children >= models * (LAYERS + 1), "{children} objects");
    let requests: f64 = settled.keys().map(|verb| grown(verb, &asked, &settled)).sum();
    let per_child = requests / children as f64;
    // 2.1 to 2.5 were seen, and 3 is the aim. The Lease is among them, and what is said of models that wait for their
    // turn and of their hosts: a slow machine has more of it.
    assert!(per_child <= 4.0, "{requests} requests for {children} objects: {settled:?}");
    let figures = operator.figures().await;
    let (memory, cpu) = (operator.memory("VmHWM:"), operator.cpu());

    let wanted = std::env::var_os("MIXNN_FIGURES").is_some();
    let still = if wanted { STILL_FOR_FIGURES } else { STILL };
    let silence = silence(&operator, still).await;
    let idle = operator.cpu() - cpu;
    let before = operator.figures().await;
    let reactions = reactions(&world, if wanted { CHANGES } else { 20 }).await;
    let report = json!({
        "models": models, "layers": LAYERS, "objects": children,
        "acceptedSeconds": accepted.as_secs_f64(), "scheduledSeconds": all.as_secs_f64(),
        "requests": settled.keys().map(|verb| (verb.clone(), grown(verb, &asked, &settled))).collect::<BTreeMap<_, _>>(),
        "requestsPerModel": requests / models as f64, "requestsPerObject": per_child,
        "reconciliations": figures["mixnn_operator_reconcile_duration_seconds_count"],
        "reconcileP50Ms": reconcile_quantile(&figures, 0.5),
        "reconcileP99Ms": reconcile_quantile(&figures, 0.99),
        "memoryMiB": memory as f64 / 1024.0, "cpuSeconds": cpu,
        "silenceSeconds": still.as_secs_f64(), "silenceRequests": silence, "silenceCpuSeconds": idle,
        "changes": reactions.len(),
        "reactionP50Ms": quantile(&reactions, 0.5), "reactionP99Ms": quantile(&reactions, 0.99),
        "reactionMostMs": quantile(&reactions, 1.0),
        "changesReconciliations": operator.figures().await["mixnn_operator_reconcile_duration_seconds_count"]
            - before["mixnn_operator_reconcile_duration_seconds_count"],
    });
    tell(&report);
    drop(operator);
    if !wanted {
        traced::a_traced_operator(&world).await;
    }
}

/// Figures, where a test's own output is not shown.
fn tell(report: &Value) {
    let _ = writeln!(std::io::stderr(), "{report:#}");
    if let Some(file) = std::env::var_os("MIXNN_FIGURES") {
        std::fs::write(file, format!("{report:#}\n")).unwrap();
    }
}
