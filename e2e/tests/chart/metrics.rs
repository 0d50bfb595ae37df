//! Writes docs/metrics.md: what operator, relays and served models count, as they encode it, and the chart's alerts.

use mixnn_mix_relay::{Budget, Relay, RelayCore};
use mixnn_protocol::Suite;
use mixnn_transport::{Counters, Limits};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// The page, with the alerts of the chart's rules.
pub fn page(rules: &str) -> String {
    let mut out = "# Metrics and alerts\n\n\
        Generated from what the processes encode, and from [rules.yaml](../charts/mixnn/files/rules.yaml), by `make generate`. Do not edit.\n\
        No label names a model, an owner, a host, a client, a lane or a peer. All are in OpenMetrics' text form, at `/metrics`.\n"
        .to_owned();
    let sources = [
        (
            "The operator",
            "Service `mixnn-operator`, port 8080; ServiceMonitor of the chart.",
            operator(),
        ),
        (
            "Relays",
            "Port 9090, with `relays.metrics` of the chart; PodMonitor. `mixnn-relay --metrics-listen` elsewhere.",
            relay(),
        ),
        ("Served models", "The port that the model is served at.", served()),
    ];
    for (title, place, encoded) in sources {
        let _ = write!(out, "\n## {title}\n\n{place}\n\n");
        table(&mut out, &encoded);
    }
    alerts(&mut out, rules);
    out
}

// What has labels is encoded once it was counted: each is, here.

fn operator() -> String {
    let metrics = mixnn_operator::Metrics::default();
    for family in
        [&metrics.reconciliations, &metrics.registrations, &metrics.lost, &metrics.requests]
    {
        mixnn_operator::Metrics::count(family, "");
    }
    metrics.count_models(&[]);
    metrics.encode()
}

fn relay() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let counters = Arc::new(Counters::default());
    counters.count("");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let core = RelayCore::new(Suite::X25519, Budget::new(0));
        drop(Relay::new(core, Limits::default(), counters.clone()));
    });
    counters.encode()
}

fn served() -> String {
    let metrics = mixnn_serving::Metrics::default();
    metrics.request("", "", Duration::ZERO);
    metrics.encode()
}

/// A row for each metric of a text in OpenMetrics' form.
fn table(out: &mut String, encoded: &str) {
    let _ = writeln!(out, "| metric | type | labels | what |\n| --- | --- | --- | --- |");
    let mut helps = BTreeMap::new();
    let mut lines = encoded.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            helps.insert(name, help);
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        else {
            continue;
        };
        let sample = lines.find(|line| !line.starts_with('#')).unwrap();
        let suffix = if kind == "counter" { "_total" } else { "" };
        let (help, labels) = (helps[name], labels(sample));
        let _ = writeln!(out, "| `{name}{suffix}` | {kind} | {labels} | {help} |");
    }
}

/// Names of a sample's labels, but for a histogram's own.
fn labels(sample: &str) -> String {
    let Some((_, rest)) = sample.split_once('{') else { return String::new() };
    let pairs = rest.split_once('}').unwrap().0.split(',');
    let names = pairs.filter_map(|pair| pair.split('=').next()).filter(|name| *name != "le");
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn alerts(out: &mut String, rules: &str) {
    let rules: Value = serde_yaml::from_str(rules).unwrap();
    let groups = rules["groups"].as_array().unwrap().iter();
    out.push_str("\n## Alerts\n\n`monitoring.rules` of the chart; each is tested by promtool ([alerts.yaml](../charts/checks/alerts.yaml)).\n\n");
    out.push_str("| alert | severity | fires | what to do |\n| --- | --- | --- | --- |\n");
    for rule in groups.flat_map(|group| group["rules"].as_array().unwrap()) {
        let text =
            |pointer: &str| rule.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let expression = text("/expr").replace('|', "\\|");
        let lasts = match text("/for") {
            "" => String::new(),
            time => format!(", for {time}"),
        };
        let _ = writeln!(
            out,
            "| {} | {} | {}: `{expression}`{lasts} | {} |",
            text("/alert"),
            text("/labels/severity"),
            text("/annotations/summary"),
            text("/annotations/description")
        );
    }
}
