//! The whole on a real Kubernetes: images, chart, kubelets and containers. `make e2e` runs it.
//!
//! One platform from `helm install` to `helm uninstall`; steps build on each other, so it is one test. It prints what
//! it measures and asserts no time.

#![allow(clippy::unwrap_used)]

mod company;
mod figures;
mod forwarded;
mod host_view;
mod hosts;
mod kube;
mod local;
mod model;
mod platform;
mod served;
mod walls;

use kube::{field, get, kubectl, until};
use model::Model;
use platform::Platform;
use std::time::Instant;

/// Namespaces of hosts.
const HOSTS: [&str; 4] = ["team-1", "team-2", "team-3", "team-4"];
/// The owner's namespace.
const OWNER: &str = "vision";
/// The platform's namespace.
const PLATFORM: &str = "mixnn-system";

#[test]
#[ignore = "needs a cluster: make e2e"]
fn from_install_to_uninstall() {
    let platform = Platform::install();
    let figures = full().then(figures::collect);
    let secret = model::owner_secret(OWNER);
    let truth = local::compare(&model::manifest(OWNER, "lenet5"), &secret);

    let lenet5 = Model::apply("lenet5");
    let quiet = undisturbed(&lenet5);
    assert_eq!(quiet.digest, truth.digest, "an undisturbed training gives the bits of one process");
    report("ms a step in pods", format!("{:.1}", quiet.step_ms));
    report("ms a step over local processes", format!("{:.1}", truth.step_ms));
    report("ms a step in one process", format!("{:.1}", truth.reference_ms));
    report("pods against local processes", format!("{:.2} x", quiet.step_ms / truth.step_ms));
    served::to_those_who_may_ask(&lenet5, &truth);
    lenet5.delete();
    nothing_is_left();
    hosts::of_no_use_to_what_is_too_large();
    nothing_is_left();
    if let Some(figures) = figures {
        company::of_two_owners(&platform);
        nothing_is_left();
        figures.fill_the_dashboard();
    }

    let stormy = Model::apply_sealed("stormy");
    assert_eq!(disturbed(&stormy, &platform), truth.digest, "and a disturbed one gives the same");
    platform::forget_dead_nodes();
    platform::roll_back();
    uninstall_is_refused();
    platform.uninstall_by_force();
    nothing_is_left();
    platform::remove_teams();
}

/// Whether it is the full run, on a cluster of this machine with walls: `MIXNN_E2E_REACH` names the program that looks
/// out of a pod.
fn full() -> bool {
    std::env::var_os("MIXNN_E2E_REACH").is_some()
}

/// Prints a figure.
#[expect(clippy::print_stdout, reason = "figures are what a run is for")]
fn report(what: &str, figure: impl std::fmt::Display) {
    println!("MEASURED {what}: {figure}");
}

fn undisturbed(model: &Model) -> model::Outcome {
    let applied = Instant::now();
    let since = || format!("{:.1} s", applied.elapsed().as_secs_f64());
    model.condition("Scheduled");
    report("apply to Scheduled", since());
    model.reach(1);
    report("apply to the first step", since());
    host_view::tells_nothing(model);
    hosts::figures_of_relays_alone();
    platform::memory();
    if full() {
        walls::hold(model);
    }
    let outcome = model.outcome();
    report("apply to Trained", since());
    report("test accuracy", model.status("/training/accuracy"));
    outcome
}

/// Everything that can go is taken away once, each after the training has gone on. Gives the digest.
fn disturbed(model: &Model, platform: &Platform) -> String {
    model.condition("Scheduled");
    for (what, disturb) in DISTURBANCES {
        let step = model.reach(model.step() + 10);
        assert!(step < model::steps(), "the training is over before {what}: it is too short");
        let began = Instant::now();
        disturb(model, platform);
        model.reach(step + 20);
        report(
            &format!("{what} at step {step}: 20 steps later after"),
            format!("{:.0} s", began.elapsed().as_secs_f64()),
        );
    }
    model.condition("Trained");
    model.status("/training/digest")
}

type Disturbance = (&'static str, fn(&Model, &Platform));

const DISTURBANCES: [Disturbance; 8] = [
    ("a host that withdraws", |model, _| hosts::withdraw(model)),
    ("a node drained", |model, _| hosts::drain(model)),
    ("a layer's pod deleted", |_, _| delete_one("layer")),
    ("a relay's pod deleted", |_, _| delete_one("relay")),
    ("the designer deleted", |model, _| {
        kubectl(&["-n", OWNER, "delete", "pod", &model.designer(), "--wait=false"]);
    }),
    ("the leading operator deleted", |_, _| platform::delete_leader()),
    ("helm upgrade", |_, platform| platform.upgrade()),
    ("a power cut at the designer's node", |model, _| platform::power_cut(&model.node())),
];

fn delete_one(role: &str) {
    let pod = &kube::pods(&format!("mixnn.dev/pod={role}"))[0]["metadata"];
    kubectl(&[
        "-n",
        field(pod, "/namespace"),
        "delete",
        "pod",
        field(pod, "/name"),
        "--wait=false",
    ]);
}

/// Of a model: no pod, no record, no directory, no designer.
fn nothing_is_left() {
    until("every pod of MixNN and every record to be gone", || {
        let pods = get(&["pods", "-A", "-l", "mixnn.dev/pod"]);
        let records = get(&["configmaps", "-n", PLATFORM, "-l", "mixnn.dev/record"]);
        let designers = get(&[
            "statefulsets,serviceaccounts,roles,configmaps",
            "-n",
            OWNER,
            "-l",
            "mixnn.dev/model",
        ]);
        [pods, records, designers]
            .iter()
            .all(|l| l["items"].as_array().unwrap().is_empty())
            .then_some(())
    });
}

fn uninstall_is_refused() {
    platform::uninstall().unwrap_err();
    let log = kubectl(&["-n", PLATFORM, "logs", "job/mixnn-uninstall"]);
    assert!(log.contains("vision/stormy") && log.contains("uninstall.force"), "{log}");
    kubectl(&["-n", PLATFORM, "rollout", "status", "deployment/mixnn-operator", "--timeout=120s"]);
}
