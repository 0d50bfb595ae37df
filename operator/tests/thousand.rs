//! A thousand models on a real API server, with the operator as a process of its own: `make bench-operator`.
//!
//! Prints figures, asserts none but that all is made and that nothing is written at rest.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use common::{World, objects};
use futures::stream::{self, StreamExt};
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use mixnn_crds::MixNNModel;
use serde_json::json;
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const HOSTS: usize = 20;
const LAYERS: usize = 5;
const RELAYS: u32 = 3;

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The operator's figures, by name with labels.
async fn figures() -> BTreeMap<String, f64> {
    let text = reqwest::get("http://127.0.0.1:18080/metrics").await.unwrap().text().await.unwrap();
    let line =
        |l: &str| l.rsplit_once(' ').and_then(|(k, v)| Some((k.to_owned(), v.parse().ok()?)));
    text.lines().filter(|l| !l.starts_with('#')).filter_map(line).collect()
}

async fn requests(only_writes: bool) -> f64 {
    let figures = figures().await;
    let wanted = figures.iter().filter(|(k, _)| {
        k.contains("api_requests_total") && !(only_writes && k.contains("\"get\""))
    });
    wanted.map(|(_, v)| v).sum()
}

/// Resident MB and CPU seconds of a process.
fn cost(pid: u32) -> (f64, f64) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    let rss: f64 = rss.trim().trim_end_matches(" kB").parse().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    (rss / 1024.0, ticks / 100.0)
}

async fn scheduled(world: &World) -> usize {
    let models: Vec<MixNNModel> =
        world.models("bench").list(&ListParams::default()).await.unwrap().items;
    let is = |m: &&MixNNModel| {
        let conditions = m.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|c| c.type_ == "Scheduled" && c.status == "True")
    };
    models.iter().filter(is).count()
}

#[tokio::test]
#[ignore = "a benchmark: make bench-operator"]
async fn a_thousand_models() {
    let models: usize = std::env::var("MODELS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let Some(world) = World::start().await else { return };
    common::kubelet::node(&world.client, "large", "100000", "100000Gi").await;
    let hosts = world.teams("bench", 0).await.len();
    assert_eq!(hosts, 0);
    for i in 0..HOSTS {
        let name = format!("bench-host-{i}");
        common::team::namespace(&world.client, &name, &json!({})).await;
        world.grant(&name, "bench", json!({"maxPods": 10_000})).await;
    }
    let operator = Process(operator(&world));
    let pid = operator.0.id();
    tokio::time::sleep(Duration::from_secs(8)).await;

    let begin = Instant::now();
    let before = requests(false).await;
    let api = world.models("bench");
    stream::iter(0..models)
        .map(|i| (api.clone(), objects::model("bench", &format!("m{i}"), LAYERS, RELAYS)))
        .for_each_concurrent(8, |(api, model)| async move {
            api.create(&PostParams::default(), &model).await.unwrap();
        })
        .await;
    let made = begin.elapsed();
    while scheduled(&world).await < models {
        assert!(begin.elapsed() < Duration::from_secs(3600), "not all are scheduled after an hour");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let all = begin.elapsed();
    let asked = requests(false).await - before;
    let children = (models * (LAYERS + RELAYS as usize)) as f64;
    let (rss, cpu) = cost(pid);
    println!("models                              {models} of {LAYERS} layers and {RELAYS} relays");
    println!("created by the client after         {:.1} s", made.as_secs_f64());
    println!("all pods made and scheduled after   {:.1} s", all.as_secs_f64());
    println!(
        "requests of the operator            {asked:.0}: {:.1} a model, {:.2} a pod",
        asked / models as f64,
        asked / children
    );
    println!("operator                            {rss:.0} MB resident, {cpu:.1} s CPU");
    println!(
        "reconcile p50 / p99                 {} / {}",
        quantile(&figures().await, 0.5),
        quantile(&figures().await, 0.99)
    );

    tokio::time::sleep(Duration::from_secs(20)).await;
    let (before, cpu) = (requests(true).await, cost(pid).1);
    tokio::time::sleep(Duration::from_secs(30)).await;
    // The Lease is renewed every 2 s.
    let writes = requests(true).await - before;
    println!(
        "writes at rest in 30 s              {writes:.0}, the Lease's included; {:.2} s CPU",
        cost(pid).1 - cpu
    );
    reactions(&world).await;
}

/// From a change of one model to the operator's answer in its status, while all others lie still.
async fn reactions(world: &World) {
    let api = world.models("bench");
    let mut times = Vec::new();
    for i in 0..40 {
        let suspend = i % 2 == 0;
        let begin = Instant::now();
        let patch = Patch::Merge(json!({"spec": {"suspend": suspend}}));
        let patched = api.patch("m0", &PatchParams::default(), &patch).await.unwrap();
        let generation = patched.metadata.generation;
        loop {
            let now = api.get("m0").await.unwrap();
            if now.status.and_then(|s| s.observed_generation) == generation {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    times.sort_by(f64::total_cmp);
    println!("a change to its status, p50 / max   {:.0} / {:.0} ms", times[20], times[39]);
}

/// The upper bound of the bucket that holds a quantile.
fn quantile(figures: &BTreeMap<String, f64>, q: f64) -> String {
    let name = "mixnn_operator_reconcile_duration_seconds";
    let total = figures.get(&format!("{name}_count")).copied().unwrap_or(0.0);
    let mut buckets: Vec<(f64, f64)> = figures
        .iter()
        .filter_map(|(k, v)| {
            let le = k.strip_prefix(&format!("{name}_bucket{{le=\""))?.strip_suffix("\"}")?;
            Some((le.parse().unwrap_or(f64::INFINITY), *v))
        })
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let bound = buckets.iter().find(|(_, n)| *n >= q * total).map_or(f64::NAN, |(le, _)| *le);
    format!("<= {:.0} ms", bound * 1e3)
}

fn operator(world: &World) -> Child {
    let image = |name: &str| format!("example.org/{name}@sha256:{}", "0".repeat(64));
    Command::new(env!("CARGO_BIN_EXE_mixnn-operator"))
        .env("KUBECONFIG", world.cluster.kubeconfig(&world.operator_token))
        .env("MIXNN_LOG", "warn")
        .args([
            "--layer-image",
            &image("layer"),
            "--relay-image",
            &image("relay"),
            "--designer-image",
            &image("designer"),
        ])
        .args(["--relay-cpu", "100m", "--relay-memory", "64Mi", "--registration-host", "localhost"])
        .args(["--registration-listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:18080"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}
