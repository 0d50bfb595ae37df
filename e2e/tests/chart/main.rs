//! The Helm chart without a cluster: what it is made from, what it renders to, what it refuses.

#![allow(clippy::unwrap_used)]

mod metrics;
mod values;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Every feature on, so that all of it is rendered.
const EVERYTHING: &str = "crds.enabled=false,monitoring.serviceMonitor=true,monitoring.rules=true,\
    monitoring.dashboard=true,monitoring.podMonitor=true,relays.metrics=true,monitoring.labels.release=prometheus,networkPolicy.monitoring.team=observability,uninstall.force=true,\
    otlp.endpoint=http://collector.observability:4318,otlp.headersSecret=collector";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Compares a file with what it is to be; `MIXNN_GENERATE=1` writes it instead (`make generate`).
fn up_to_date(path: &Path, expected: &str) {
    if std::env::var_os("MIXNN_GENERATE").is_some() {
        std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "{} is stale: run `make generate`, and look at what changed",
        path.display()
    );
}

/// Helm, if it was built; else says loudly that the test is skipped.
fn helm(args: &[&str]) -> Option<Output> {
    let assets = Command::new(root().join("scripts/kube-assets.sh"))
        .args(["--nodes", "--path"])
        .output()
        .unwrap();
    if !assets.status.success() {
        // Not by eprintln: that is shown for tests that fail alone.
        let why = String::from_utf8_lossy(&assets.stderr);
        let _ = writeln!(std::io::stderr(), "SKIPPED: this test needs helm. {why}");
        return None;
    }
    let folders = String::from_utf8(assets.stdout).unwrap();
    let folder = folders.trim().split(':').find(|f| Path::new(f).join("helm").exists()).unwrap();
    let digest = |name: &str| format!("images.{name}=example.org/{name}@sha256:{}", "0".repeat(64));
    let images = ["operator", "layer", "relay", "designer"].map(digest).join(",");
    let mut command = Command::new(Path::new(folder).join("helm"));
    command.args(args).args(["--kube-version", "1.34.4", "--set", &images]);
    Some(command.current_dir(root()).output().unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn it_carries_the_crds_and_the_rights_of_the_operator() {
    let files = root().join("charts/mixnn/files");
    for (name, crd) in mixnn_crds::crd_yamls().unwrap() {
        up_to_date(&files.join("crds").join(name), &crd);
    }
    for (theirs, ours) in [("operator.yaml", "rbac.yaml"), ("admission.yaml", "admission.yaml")] {
        let text = std::fs::read_to_string(root().join("operator/rbac").join(theirs)).unwrap();
        up_to_date(&files.join(ours), &text);
    }
}

#[test]
fn its_readme_has_every_value() {
    let chart = root().join("charts/mixnn");
    let (begin, end) = ("<!-- values.yaml, by make generate -->\n", "<!-- end -->\n");
    let readme = std::fs::read_to_string(chart.join("README.md")).unwrap();
    let (before, rest) = readme.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let table = values::table(&std::fs::read_to_string(chart.join("values.yaml")).unwrap());
    up_to_date(&chart.join("README.md"), &[before, begin, &table, end, after].concat());
}

#[test]
fn every_metric_and_alert_is_in_the_docs() {
    let rules = std::fs::read_to_string(root().join("charts/mixnn/files/rules.yaml")).unwrap();
    up_to_date(&root().join("docs/metrics.md"), &metrics::page(&rules));
}

#[test]
fn it_renders_to_what_was_reviewed() {
    let args = ["template", "mixnn", "charts/mixnn", "-n", "mixnn-system", "--set", EVERYTHING];
    let Some(output) = helm(&args) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    up_to_date(&root().join("e2e/tests/chart/rendered.yaml"), &text(&output.stdout));
}

#[test]
fn it_passes_the_strict_lint() {
    let Some(output) = helm(&["lint", "--strict", "charts/mixnn", "--set", EVERYTHING]) else {
        return;
    };
    assert!(output.status.success(), "{}", text(&output.stdout));
}

#[test]
fn it_refuses_what_it_does_not_know() {
    let incomplete = [
        ("relays.metrics=true", "say who reads them"),
        ("monitoring.podMonitor=true", "set relays.metrics too"),
    ];
    for (setting, says) in incomplete {
        refuses(&["--set", setting], says);
    }
    let refusals = [
        ("replica=3", "'replica' not allowed"),
        ("images.layers=x", "'layers' not allowed"),
        ("images.layer=mixnn/layer:latest", "images/layer"),
        ("replicas=0", "replicas"),
        ("sharedPool.suite=rsa", "sharedPool/suite"),
        ("images.layer=", "images.layer is empty"),
    ];
    for (setting, says) in refusals {
        // It wins over helm()'s own, which is set by --set.
        refuses(&["--set-string", setting], says);
    }
}

fn refuses(setting: &[&str; 2], says: &str) {
    let args = ["template", "mixnn", "charts/mixnn"];
    let Some(output) = helm(&[&args[..], setting].concat()) else { return };
    let complaint = text(&output.stderr);
    assert!(!output.status.success() && complaint.contains(says), "{setting:?}: {complaint}");
}
