//! The owner's namespace: labels, what the person may do in it, pods of MixNN that cannot start.

use super::finding::{Area, Finding, Seen};
use super::hosts::MEMBER;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::ResourceExt;

/// Something that a person does with models.
pub struct Deed {
    /// Verb, API group, resource, subresource.
    pub access: [&'static str; 4],
    /// What it is for.
    pub purpose: &'static str,
}

/// What `kubectl mixnn` and an owner do.
pub const DEEDS: [Deed; 7] = [
    Deed { access: ["list", "mixnn.dev", "mixnnmodels", ""], purpose: "see models" },
    Deed { access: ["watch", "mixnn.dev", "mixnnmodels", ""], purpose: "status --watch" },
    Deed { access: ["create", "mixnn.dev", "mixnnmodels", ""], purpose: "apply models" },
    Deed { access: ["patch", "mixnn.dev", "mixnnmodels", ""], purpose: "suspend models" },
    Deed { access: ["delete", "mixnn.dev", "mixnnmodels", ""], purpose: "delete models" },
    Deed { access: ["list", "", "events", ""], purpose: "events" },
    Deed { access: ["get", "", "pods", "log"], purpose: "logs" },
];

/// The namespace itself.
pub fn labels(name: &str, found: &Seen<Option<Namespace>>) -> Vec<Finding> {
    let mut area = Area::new("namespace");
    match found {
        Err(why) => area.unseen(&format!("namespace {name}"), why, "role view there shows it"),
        Ok(None) => area.fail(
            format!("namespace {name} is not there"),
            "create it, or name another one by --namespace",
        ),
        Ok(Some(space)) if space.labels().get(MEMBER).is_none_or(|v| v != "true") => area.warn(
            format!("{name} lacks label {MEMBER}: walls keep relays from its designers"),
            &format!("the platform: kubectl label namespace {name} {MEMBER}=true"),
        ),
        Ok(Some(_)) => area.ok(format!("{name} is a member of the platform")),
    }
    area.findings()
}

/// What the person may do, by the API server's own word.
pub fn rights(name: &str, allowed: &Seen<Vec<bool>>) -> Vec<Finding> {
    let mut area = Area::new("rights");
    let allowed = match allowed {
        Ok(allowed) => allowed,
        Err(why) => {
            area.unseen("your own rights", why, "a cluster administrator may");
            return area.findings();
        }
    };
    let lacking = DEEDS.iter().zip(allowed).filter(|(_, allowed)| !**allowed);
    for (deed, _) in lacking {
        let [verb, _, resource, part] = deed.access;
        let part = if part.is_empty() { String::new() } else { format!("/{part}") };
        area.warn(
            format!("you may not {verb} {resource}{part} in {name} ({})", deed.purpose),
            "an administrator of the namespace gives role view (to look) or edit (to change)",
        );
    }
    let mut findings = area.findings();
    if findings.is_empty() {
        let mut area = Area::new("rights");
        area.ok(format!("you may look at, apply and delete models in {name}"));
        findings = area.findings();
    }
    findings
}

/// Pods of MixNN in this namespace: designers of its models, and what it hosts for others.
pub fn pods(name: &str, found: &Seen<Vec<Pod>>) -> Vec<Finding> {
    let mut area = Area::new("pods");
    let pods = match found {
        Ok(pods) => pods,
        Err(why) => {
            area.unseen(&format!("pods of {name}"), why, "role view shows them");
            return area.findings();
        }
    };
    let waiting: Vec<_> = pods.iter().filter_map(|pod| Some((pod, waiting(pod)?))).collect();
    for (pod, (reason, message)) in &waiting {
        let fix = match reason.as_str() {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" => {
                "images are the platform's settings; pull secrets: imagePullSecrets of the MixNNHost"
            }
            "Unschedulable" => "nodes with room, or smaller pods",
            _ => "kubectl describe pod shows more",
        };
        area.fail(format!("{}: {reason}: {message}", pod.name_any()), fix);
    }
    if waiting.is_empty() && !pods.is_empty() {
        area.ok(format!("pods of MixNN in {name}: {}, none that cannot start", pods.len()));
    }
    area.findings()
}

/// Why a pod does not run, if that will not pass by itself.
fn waiting(pod: &Pod) -> Option<(String, String)> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let waits = containers.filter_map(|c| c.state.as_ref()?.waiting.as_ref());
    let bad =
        waits.filter_map(|w| Some((w.reason.clone()?, w.message.clone().unwrap_or_default())));
    let passing = ["ContainerCreating", "PodInitializing"];
    if let Some(found) = bad.into_iter().find(|(reason, _)| !passing.contains(&reason.as_str())) {
        return Some(found);
    }
    let conditions = status.conditions.iter().flatten();
    let unplaced = conditions.into_iter().find(|c| c.reason.as_deref() == Some("Unschedulable"))?;
    Some(("Unschedulable".into(), unplaced.message.clone().unwrap_or_default()))
}
