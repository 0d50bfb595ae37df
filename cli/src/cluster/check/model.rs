//! What one model needs in its own namespace.

use super::super::advice;
use super::super::status::{State, View};
use super::finding::{Area, Finding, Seen};
use super::platform::setting;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use mixnn_crds::{CheckpointStore, MixNNModel};
use mixnn_model::DataSource;
use std::collections::BTreeMap;

/// What is known of what a model names.
pub struct Around {
    /// Its volume claims by name.
    pub claims: BTreeMap<String, Seen<Option<PersistentVolumeClaim>>>,
    /// Its Secrets by name: whether they are there. What is in them is not read.
    pub secrets: BTreeMap<String, Seen<bool>>,
    /// Storage classes.
    pub classes: Seen<Vec<StorageClass>>,
}

/// Names of the volume claims that a model's designer mounts.
pub fn claims(model: &MixNNModel) -> Vec<String> {
    let checkpoints = model.spec.checkpoints.as_ref().and_then(|c| match &c.store {
        CheckpointStore::PersistentVolumeClaim(claim) => Some(claim.claim_name.clone()),
        CheckpointStore::ObjectStore(_) => None,
    });
    let data = model.spec.training.data_from.as_ref().and_then(|d| match d {
        DataSource::PersistentVolumeClaim(claim) => Some(claim.claim_name.clone()),
        DataSource::ObjectStore(_) => None,
    });
    data.into_iter().chain(checkpoints).collect()
}

/// Names of the Secrets that must be there before a model's designer starts.
pub fn secrets(model: &MixNNModel) -> Vec<String> {
    let spec = &model.spec;
    let layers = spec.layers_from.as_ref().map(|l| l.secret_ref.name.clone());
    let seed = spec.training.seed_from.as_ref().map(|s| s.secret_key_ref.name.clone());
    let data = spec.training.data_from.as_ref().and_then(|d| match d {
        DataSource::ObjectStore(store) => store.secret_ref.as_ref(),
        DataSource::PersistentVolumeClaim(_) => None,
    });
    let store = spec.checkpoints.as_ref().and_then(|c| match &c.store {
        CheckpointStore::ObjectStore(store) => store.secret_ref.as_ref(),
        CheckpointStore::PersistentVolumeClaim(_) => None,
    });
    let settings = [data, store].into_iter().flatten().map(|s| s.name.clone());
    layers.into_iter().chain(seed).chain(settings).collect()
}

/// Judges volumes, Secrets, relays and conditions.
pub fn judge(
    model: &MixNNModel,
    around: &Around,
    operators: &Seen<Vec<Deployment>>,
) -> Vec<Finding> {
    [storage(model, around), secrets_there(around), relays(model, operators), conditions(model)]
        .into_iter()
        .flatten()
        .collect()
}

fn storage(model: &MixNNModel, around: &Around) -> Vec<Finding> {
    let mut area = Area::new("storage");
    if model.spec.checkpoints.is_none() {
        area.warn(
            "no spec.checkpoints: a lost designer ends the training, and the weights are not kept",
            "spec.checkpoints.store: a volume claim or an object store",
        );
    }
    for (name, claim) in &around.claims {
        match claim {
            Err(why) => area.unseen(&format!("volume claim {name}"), why, "role view shows it"),
            Ok(None) => area.fail(format!("volume claim {name} is not there"), "create it"),
            Ok(Some(claim)) => claim_state(name, claim, around, &mut area),
        }
    }
    area.findings()
}

fn claim_state(name: &str, claim: &PersistentVolumeClaim, around: &Around, area: &mut Area) {
    let phase = claim.status.as_ref().and_then(|s| s.phase.clone()).unwrap_or_default();
    let class = claim.spec.as_ref().and_then(|s| s.storage_class_name.clone());
    if phase == "Bound" {
        return area.ok(format!("volume claim {name} is bound"));
    }
    if phase == "Lost" {
        return area.fail(format!("volume claim {name} has lost its volume"), "make it anew");
    }
    let classes = match &around.classes {
        Ok(classes) => classes,
        Err(why) => {
            let what = format!("the storage class of claim {name}, which is not bound yet");
            return area.unseen(&what, why, "a cluster administrator may");
        }
    };
    let is_default = |c: &&StorageClass| {
        c.annotations()
            .get("storageclass.kubernetes.io/is-default-class")
            .is_some_and(|v| v == "true")
    };
    let found = match &class {
        Some(class) => classes.iter().find(|c| c.name_any() == *class),
        None => classes.iter().find(is_default),
    };
    match (found, class) {
        (Some(found), _)
            if found.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer") =>
        {
            area.ok(format!("volume claim {name} is bound once the designer has a node"));
        }
        (Some(found), _) => area.warn(
            format!("volume claim {name} waits for a volume of class {}", found.name_any()),
            &format!("kubectl describe pvc {name}"),
        ),
        (None, Some(class)) if !class.is_empty() => {
            area.fail(
                format!("volume claim {name} names storage class {class}, which is not there"),
                "kubectl get storageclass",
            );
        }
        (None, _) => area.fail(
            format!(
                "volume claim {name} is not bound, and no storage class will make a volume for it"
            ),
            "name a storageClassName, or make a volume",
        ),
    }
}

fn secrets_there(around: &Around) -> Vec<Finding> {
    let mut area = Area::new("secrets");
    for (name, there) in &around.secrets {
        match there {
            Ok(true) => area.ok(format!("Secret {name} is there")),
            Ok(false) => area.fail(
                format!("Secret {name} is not there: the designer's pod waits for it"),
                "create it",
            ),
            Err(why) => area.unseen(&format!("Secret {name}"), why, "role edit shows it"),
        }
    }
    area.findings()
}

fn relays(model: &MixNNModel, operators: &Seen<Vec<Deployment>>) -> Vec<Finding> {
    let mut area = Area::new("relays");
    let relays = &model.spec.relays;
    let problem = if relays.shared { shared(model, operators) } else { relays.problem() };
    match problem {
        Some(problem) => area
            .fail(problem, "change spec.relays; of a model that is there, while it is suspended"),
        None if relays.shared => area.ok(format!("{} hops over the shared relays", relays.hops)),
        None => area.ok(format!("{} hops over {} relays of its own", relays.hops, relays.replicas)),
    }
    for warning in relays.warnings() {
        area.warn(warning, "spec.relays.hops: 3");
    }
    area.findings()
}

fn shared(model: &MixNNModel, operators: &Seen<Vec<Deployment>>) -> Option<String> {
    let pool = operators.as_ref().ok()?.first()?;
    let count: u32 = setting(pool, "MIXNN_SHARED_RELAYS")?.parse().ok()?;
    let hops = model.spec.relays.hops;
    (count < hops).then(|| {
        format!("spec.relays.shared is true with {hops} hops, and the platform has {count} shared relays")
    })
}

fn conditions(model: &MixNNModel) -> Vec<Finding> {
    let mut area = Area::new("conditions");
    let view = View::of(model);
    for condition in &view.conditions {
        let found = format!("{}: {}: {}", condition.type_, condition.reason, condition.message);
        let fix = advice::of(&condition.reason, &view.name).unwrap_or_default();
        match condition.state {
            State::Good => {}
            State::Waits => area.warn(found, &fix),
            State::Bad => area.fail(found, &fix),
        }
    }
    let mut findings = area.findings();
    if findings.is_empty() && !view.conditions.is_empty() {
        let mut area = Area::new("conditions");
        area.ok("every condition is as it should be");
        findings = area.findings();
    }
    findings
}
