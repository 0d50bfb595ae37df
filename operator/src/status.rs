//! Status, from what was driven. Written when it differs, and read by nobody here.

use crate::drive::Driven;
use crate::plan::Stand;
use crate::record::{Record, Role};
use crate::validate::Invalid;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use mixnn_crds::{
    Counted, CoverTraffic, MixNNModelSpec, MixNNModelStatus, PrivacyStatus, condition,
};

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Which condition.
    pub type_: &'static str,
    /// True, False or Unknown.
    pub status: &'static str,
    /// In one word.
    pub reason: String,
    /// What, and what to do.
    pub message: String,
}

fn said(type_: &'static str, status: bool, reason: &str, message: impl Into<String>) -> Said {
    let status = if status { "True" } else { "False" };
    Said { type_, status, reason: reason.into(), message: message.into() }
}

/// Conditions of a model that is not accepted.
pub fn rejected(invalid: &Invalid) -> Vec<Said> {
    vec![said(condition::ACCEPTED, false, invalid.reason(), invalid.to_string())]
}

/// Conditions of a model that is.
pub fn accepted(driven: &Driven) -> Vec<Said> {
    let accepted = said(condition::ACCEPTED, true, "Accepted", "the model is valid");
    let resolved =
        |ok: bool, reason: &str, text: String| said(condition::HOSTS_RESOLVED, ok, reason, text);
    let scheduled =
        |ok: bool, reason: &str, text: String| said(condition::SCHEDULED, ok, reason, text);
    let found = || resolved(true, "Resolved", "every pod has a host".into());
    let (hosts, schedule) = match &driven.stand {
        Stand::Running => (found(), scheduled(true, "Scheduled", "every pod has a node".into())),
        Stand::Suspended => {
            let text = "spec.suspend is true: set it to false to go on".to_owned();
            (resolved(false, "Suspended", text.clone()), scheduled(false, "Suspended", text))
        }
        Stand::Finished => {
            let text = "all layers are done".to_owned();
            (resolved(true, "Finished", text.clone()), scheduled(true, "Finished", text))
        }
        Stand::NoHosts(reason, text) => {
            (resolved(false, reason, text.clone()), scheduled(false, "NoHosts", text.clone()))
        }
        Stand::Refused(reason, text) => {
            (resolved(false, reason, text.clone()), scheduled(false, "NoHosts", text.clone()))
        }
        Stand::Admitting => (found(), scheduled(false, "Admitting", "pods are being made".into())),
        Stand::Queued => {
            let text = "every pod is made; another model that needs the same resources goes first";
            (found(), scheduled(false, "Queued", text.into()))
        }
        Stand::Scheduling(placed, total) => {
            let text = format!("{placed} of {total} pods have a node{}", why(driven));
            (found(), scheduled(false, "Scheduling", text))
        }
        Stand::BackedOff(at) => {
            let text = format!(
                "the pods did not all fit within spec.placement.timeout{}; tried again at {at:.0}",
                why(driven)
            );
            (found(), scheduled(false, "Timeout", text))
        }
        Stand::Short(reason, text) => (found(), scheduled(false, reason, text.clone())),
    };
    vec![accepted, hosts, schedule, degraded(driven)]
}

/// What the scheduler says, to be added to a sentence.
fn why(driven: &Driven) -> String {
    driven.unplaced.as_ref().map_or_else(String::new, |why| format!(": {why}"))
}

fn degraded(driven: &Driven) -> Said {
    let say = |bad, reason: &str, text: String| said(condition::DEGRADED, bad, reason, text);
    if let Some((host, what)) = driven.altered.first() {
        return say(
            true,
            "HostMutatesPods",
            format!("{host} changes pods when they are made: {what}"),
        );
    }
    let mutating = driven.record.record.refused.values().find(|r| r.reason == "HostMutatesPods");
    if let Some(refusal) = mutating {
        return say(true, "HostMutatesPods", refusal.text.clone());
    }
    match &driven.stand {
        Stand::Short(reason, text) => {
            say(true, reason, format!("a lost pod cannot be replaced: {text}"))
        }
        Stand::Scheduling(placed, total)
            if driven.record.record.phase == crate::record::Phase::Running =>
        {
            say(true, "PodLost", format!("{} of {total} pods are being replaced", total - placed))
        }
        _ => say(false, "AsExpected", "no pod is missing".into()),
    }
}

/// The operator's part of a model's status.
pub fn status(
    said: &[Said],
    old: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> MixNNModelStatus {
    let conditions = said.iter().map(|s| condition_of(s, old, generation, now)).collect();
    let bad = |s: &&Said| (s.status == "False") != (s.type_ == condition::DEGRADED);
    let reason = said.iter().find(bad).map(|s| s.reason.clone());
    MixNNModelStatus {
        observed_generation: generation,
        conditions,
        reason,
        ..MixNNModelStatus::default()
    }
}

/// A condition, with the time of its last change of status kept.
pub fn condition_of(
    said: &Said,
    old: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let before = old.iter().find(|c| c.type_ == said.type_ && c.status == said.status);
    let message: String = said.message.chars().take(4096).collect();
    Condition {
        type_: said.type_.to_owned(),
        status: said.status.to_owned(),
        reason: said.reason.clone(),
        message,
        observed_generation: generation,
        last_transition_time: before.map_or(Time(now), |c| c.last_transition_time.clone()),
    }
}

/// Layers or relays: registered of wanted, with nodes, replaced.
pub fn counted(
    record: &Record,
    role: Role,
    wanted: u32,
    registered: u32,
    with_node: u32,
) -> Counted {
    let replaced = match role {
        Role::Layer => record.replaced_layers,
        Role::Relay => record.replaced_relays,
    };
    Counted {
        ready: format!("{}/{wanted}", registered.min(wanted)),
        scheduled: with_node,
        replaced,
    }
}

/// What the paths hide behind.
pub fn privacy(spec: &MixNNModelSpec, relays: u32, models_in_pool: u32) -> PrivacyStatus {
    let mut warnings = spec.relays.warnings();
    if spec.relays.cover_traffic == CoverTraffic::None {
        let what = "cells leave at once: who watches links sees sizes, counts and timing";
        warnings.push(what.into());
    }
    if models_in_pool < 2 {
        warnings.push("no other model shares these relays".into());
    }
    for (class, count) in spec.layers_by_class() {
        if count == 1 && spec.pod_classes.len() > 1 {
            warnings.push(format!("pod class {class} has one layer: its pod is told by its class"));
        }
    }
    PrivacyStatus { relays, hops: spec.relays.hops, models_in_pool, warnings }
}

/// How much a status says that another one did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It says the same.
    None,
    /// Numbers, or a state that passes: it may be over before anybody reads of it.
    Numbers,
    /// Something else.
    Else,
}

/// What a status has to say to who knows the old one.
pub fn news(old: &MixNNModelStatus, new: &MixNNModelStatus) -> News {
    let states = |s: &MixNNModelStatus| {
        let state = |c: &Condition| {
            let passes = PASSING.contains(&c.reason.as_str());
            let reason = if passes { PASSING[0] } else { &c.reason };
            (c.status.clone(), reason.to_owned(), c.observed_generation)
        };
        let states: Vec<_> = ours(s).iter().map(state).collect();
        let replaced = [&s.layers, &s.relays].map(|c| c.as_ref().map(|c| c.replaced));
        (s.observed_generation, states, replaced)
    };
    let all =
        |s: &MixNNModelStatus| (ours(s), s.reason.clone(), s.layers.clone(), s.relays.clone());
    if states(old) != states(new) {
        News::Else
    } else if all(old) != all(new) || !same_privacy(old.privacy.as_ref(), new.privacy.as_ref()) {
        News::Numbers
    } else {
        News::None
    }
}

/// The conditions that the operator writes, in order of their types.
fn ours(status: &MixNNModelStatus) -> Vec<Condition> {
    let ours = status.conditions.iter().filter(|c| OURS.contains(&c.type_.as_str())).cloned();
    let mut ours: Vec<_> = ours.collect();
    ours.sort_by(|a, b| a.type_.cmp(&b.type_));
    ours
}

/// Other models come and go: each is not told of every single one.
fn same_privacy(old: Option<&PrivacyStatus>, new: Option<&PrivacyStatus>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return old == new };
    let (a, b) = (old.models_in_pool, new.models_in_pool);
    let near = a.max(b) < 2 * a.min(b);
    near && PrivacyStatus { models_in_pool: b, ..old.clone() } == *new
}

/// Reasons of a gang on its way, which are no news as long as it is under way.
const PASSING: [&str; 3] = ["Admitting", "Queued", "Scheduling"];

/// The conditions that the operator writes.
const OURS: [&str; 4] =
    [condition::ACCEPTED, condition::HOSTS_RESOLVED, condition::SCHEDULED, condition::DEGRADED];
