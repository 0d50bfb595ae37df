//! The platform: Kubernetes, CRDs, the operator, its policies.

use super::finding::{Area, Finding, Seen};
use super::schema;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::ResourceExt;

/// The first minor version of Kubernetes 1 that is known to do.
const KUBERNETES: u32 = 33;
/// The served version.
const VERSION: &str = "v1alpha1";
const UPGRADE: &str = "helm upgrade the chart of this version: it brings the CRDs along";
/// What the chart labels the operator with.
pub const OPERATOR: &str = "app.kubernetes.io/name=mixnn-operator";
/// Policies that the chart binds.
const POLICIES: [&str; 6] = [
    "mixnn-pods",
    "mixnn-pods-consent",
    "mixnn-designers",
    "mixnn-bindings",
    "mixnn-ports",
    "mixnn-labels",
];

/// Kubernetes' version.
pub fn kubernetes(info: &Info) -> Vec<Finding> {
    let mut area = Area::new("kubernetes");
    let digits: String = info.minor.chars().take_while(char::is_ascii_digit).collect();
    let found = format!("Kubernetes {}", info.git_version.trim_start_matches('v'));
    let new = info.major != "1" || digits.parse::<u32>().is_ok_and(|minor| minor >= KUBERNETES);
    if new {
        area.ok(found);
    } else {
        area.fail(found, "MixNN needs Kubernetes 1.33 or later");
    }
    area.findings()
}

/// One CRD, beside this command's own.
pub fn crd(
    own: &CustomResourceDefinition,
    found: &Seen<Option<CustomResourceDefinition>>,
) -> Vec<Finding> {
    let mut area = Area::new("crds");
    let name = own.name_any();
    let found = match found {
        Ok(Some(found)) => found,
        Ok(None) => {
            area.fail(format!("{name} is not there"), "helm install the chart (docs/install.md)");
            return area.findings();
        }
        Err(why) => {
            area.unseen(&format!("CRD {name}"), why, "a cluster administrator may");
            return area.findings();
        }
    };
    let Some(version) = found.spec.versions.iter().find(|v| v.name == VERSION && v.served) else {
        area.fail(format!("{name} does not serve {VERSION}"), UPGRADE);
        return area.findings();
    };
    let stored = found.status.as_ref().and_then(|s| s.stored_versions.clone()).unwrap_or_default();
    if let Some(other) = stored.iter().find(|v| *v != VERSION) {
        area.warn(
            format!("objects of {name} are stored as {other} too"),
            "write them again (kubectl get -A -o json | kubectl replace -f -), then take it out of status.storedVersions",
        );
    }
    let own = own.spec.versions.iter().find(|v| v.name == VERSION);
    let differences = own.map(|own| schema::differences(own, version)).unwrap_or_default();
    match differences.as_slice() {
        [] => area.ok(format!("{name} serves {VERSION}, as this command knows it")),
        some => {
            let shown = some.iter().take(3).cloned().collect::<Vec<_>>().join("; ");
            let more = some.len().saturating_sub(3);
            let more = if more > 0 { format!("; {more} more") } else { String::new() };
            area.warn(format!("{name} is not as this command knows it: {shown}{more}"), UPGRADE);
        }
    }
    area.findings()
}

/// The operator's Deployments.
pub fn operator(found: &Seen<Vec<Deployment>>) -> Vec<Finding> {
    let mut area = Area::new("operator");
    let all = match found {
        Ok(all) => all,
        Err(why) => {
            let fix = "a cluster administrator may; status of models says what it does";
            area.unseen("Deployments of all namespaces", why, fix);
            return area.findings();
        }
    };
    if all.is_empty() {
        area.fail("no operator runs here", "helm install the chart (docs/install.md)");
    }
    if all.len() > 1 {
        let names: Vec<_> = all.iter().map(place_of).collect();
        area.fail(format!("more than one operator: {}", names.join(", ")), "uninstall all but one");
    }
    all.iter().for_each(|deployment| one_operator(deployment, &mut area));
    area.findings()
}

fn place_of(deployment: &Deployment) -> String {
    format!("{}/{}", deployment.namespace().unwrap_or_default(), deployment.name_any())
}

fn one_operator(deployment: &Deployment, area: &mut Area) {
    let place = place_of(deployment);
    let wanted = deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    let ready = deployment.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0);
    let found = format!("{place}: {ready} of {wanted} replicas ready");
    let fix = format!(
        "kubectl -n {} describe pods -l {OPERATOR}",
        deployment.namespace().unwrap_or_default()
    );
    match ready {
        0 => area.fail(found, &fix),
        _ if ready < wanted => area.warn(found, &fix),
        _ => area.ok(found),
    }
    let own = env!("CARGO_PKG_VERSION");
    if let Some(version) = deployment.labels().get("app.kubernetes.io/version")
        && version != own
    {
        area.warn(
            format!("{place} is of version {version}, this command of {own}"),
            "take both from one release",
        );
    }
    for name in ["MIXNN_LAYER_IMAGE", "MIXNN_RELAY_IMAGE", "MIXNN_DESIGNER_IMAGE"] {
        match setting(deployment, name) {
            Some(image) if image.contains("@sha256:") => {}
            Some(image) => area.fail(
                format!("{place}: {name} is {image}, not named by digest"),
                "set images in the chart's values as registry/name@sha256:..",
            ),
            None => area.warn(format!("{place} does not say {name}"), "install it by the chart"),
        }
    }
}

/// A setting in the operator's environment.
pub fn setting(deployment: &Deployment, name: &str) -> Option<String> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let env = pod.containers.iter().flat_map(|c| c.env.iter().flatten());
    env.into_iter().find(|e| e.name == name)?.value.clone()
}

/// The policies by which the API server holds the operator to its shape of pods.
pub fn policies(found: &Seen<Vec<ValidatingAdmissionPolicyBinding>>) -> Vec<Finding> {
    let mut area = Area::new("policies");
    let bound = match found {
        Ok(bound) => bound,
        Err(why) => {
            area.unseen("ValidatingAdmissionPolicyBindings", why, "a cluster administrator may");
            return area.findings();
        }
    };
    let denies = |policy: &str| {
        bound.iter().filter_map(|b| b.spec.as_ref()).any(|spec| {
            let denies = spec.validation_actions.iter().flatten().any(|a| a == "Deny");
            spec.policy_name.as_deref() == Some(policy) && denies
        })
    };
    let missing: Vec<&str> = POLICIES.into_iter().filter(|policy| !denies(policy)).collect();
    match missing.as_slice() {
        [] => area.ok("the API server holds the operator to its shape of pods"),
        some => area.warn(
            format!(
                "not bound: {}: nothing but the operator itself keeps its pods in shape",
                some.join(", ")
            ),
            "admissionPolicies: true in the chart's values",
        ),
    }
    area.findings()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_policy_of_the_operator_is_looked_for() {
        let all = include_str!("../../../../operator/rbac/admission.yaml");
        let bindings = all.matches("kind: ValidatingAdmissionPolicyBinding\n").count();
        assert_eq!(bindings, super::POLICIES.len());
        for policy in super::POLICIES {
            assert!(all.contains(&format!("policyName: {policy}\n")), "{policy}");
        }
    }
}
