//! Carries a step out: record first, then pods, then gates.

use crate::build::{altered, pod};
use crate::context::{Context, gone};
use crate::keys::Sealed;
use crate::plan::{PodView, Step};
use crate::record::{Record, Refusal, Slot};
use crate::world::{Versioned, now, pod_view};
use futures::stream::{self, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::SignedDuration;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, ResourceExt};
use serde_json::json;

/// Requests at the same time for one workload.
const AT_ONCE: usize = 8;
/// How long a host that refused a pod is left alone.
const REFUSED_FOR: SignedDuration = SignedDuration::from_secs(60);

/// Why a host is left alone that changes our pods.
pub const MUTATED: &str = "HostMutatesPods";

/// What such a host's owner is to do.
pub fn mutates(host: &str, what: &str) -> String {
    format!(
        "something in {host} changes pods when they are made ({what}): exclude pods with the label mixnn.dev/pod from it"
    )
}

/// Why a step could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The record could not be written.
    #[error("failed to write the record of {workload}: {source}")]
    Record {
        /// Whose.
        workload: String,
        /// What the API said.
        source: kube::Error,
    },
    /// A pod could not be made, for a reason that is not the host's.
    #[error("failed to make a pod in {namespace}: {source}")]
    Create {
        /// Where.
        namespace: String,
        /// What the API said.
        source: kube::Error,
    },
    /// A gate could not be opened.
    #[error("failed to open a pod's gate in {namespace}: {source}")]
    Lift {
        /// Where.
        namespace: String,
        /// What the API said.
        source: kube::Error,
    },
    /// A pod could not be removed.
    #[error("failed to remove a pod in {namespace}: {source}")]
    Delete {
        /// Where.
        namespace: String,
        /// What the API said.
        source: kube::Error,
    },
    /// The operator's key failed.
    #[error(transparent)]
    Key(#[from] crate::keys::KeyError),
}

/// Writes the step's record if it differs from what is kept, and removes pods that it let go of.
///
/// # Errors
/// The API does not answer, or the record was written by another.
pub async fn write(
    context: &Context,
    old: Option<&Versioned>,
    record: &Record,
) -> Result<Versioned, ApplyError> {
    if let Some(old) = old.filter(|old| *old.record == *record) {
        return Ok(old.clone());
    }
    let version = old.map(|o| o.version.as_str());
    let failed = |source| ApplyError::Record { workload: record.workload.uid.clone(), source };
    let written = context.write_record(record, version).await.map_err(failed)?;
    context.hosts_changed.notify_one();
    let let_go = old
        .iter()
        .flat_map(|o| &o.record.slots)
        .filter(|slot| !slot.pod.is_empty() && record.slot_of(&slot.host, &slot.pod).is_none());
    for slot in let_go {
        // What does not end at once is looked after there.
        context.orphans.notify_one();
        let pods = &context.world;
        let Some(pod) = crate::world::Eyes { world: pods, key: &context.key }.find(slot) else {
            continue;
        };
        remove(context, &slot.host, &slot.pod, &pod).await?;
    }
    Ok(written)
}

/// What became of the pods that were to be made.
#[derive(Debug, Default)]
pub struct Made {
    /// Uids by slot.
    pub uids: Vec<(u32, String)>,
    /// Hosts that refused.
    pub refused: Vec<(String, Refusal)>,
    /// Hosts that alter pods: namespace and what.
    pub altered: Vec<(String, String)>,
}

/// Makes the pods of a step. A pod that is there already was made by us before: it is taken if it is
/// what would have been made.
///
/// # Errors
/// The API does not answer.
pub async fn create(context: &Context, step: &Step) -> Result<Made, ApplyError> {
    let slots = step.record.slots.iter().filter(|s| step.create.contains(&s.id));
    let requests: Vec<_> = slots.map(|slot| create_one(context, &step.record, slot)).collect();
    let results: Vec<_> = stream::iter(requests).buffer_unordered(AT_ONCE).collect().await;
    let mut made = Made::default();
    for result in results {
        match result? {
            Outcome::Made(slot, uid) => made.uids.push((slot, uid)),
            Outcome::Refused(host, refusal) => made.refused.push((host, refusal)),
            Outcome::Altered(host, what) => made.altered.push((host, what)),
        }
    }
    Ok(made)
}

enum Outcome {
    Made(u32, String),
    Refused(String, Refusal),
    Altered(String, String),
}

async fn create_one(
    context: &Context,
    record: &Record,
    slot: &Slot,
) -> Result<Outcome, ApplyError> {
    let Some(host) = context.world.host_of(&slot.host) else {
        let refusal = refusal("HostGone", "the MixNNHost was deleted".into());
        return Ok(Outcome::Refused(slot.host.clone(), refusal));
    };
    let (workload, incarnation) = (record.workload.uid.clone(), slot.incarnation);
    let sealed = Sealed { workload, slot: slot.id, incarnation };
    let seal = context.key.seal(&slot.host, &slot.pod, &sealed)?;
    let Some(sent) = pod(slot, &record.pin, &host, &context.pod_context(), seal) else {
        let text = format!("the run has no pod class {}", slot.class);
        return Ok(Outcome::Refused(slot.host.clone(), refusal("NoClass", text)));
    };
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &slot.host);
    let found = match api.create(&PostParams::default(), &sent).await {
        Ok(found) => found,
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            match adopt(context, &api, slot, &sealed).await? {
                Some(found) => found,
                None => return Ok(Outcome::Altered(slot.host.clone(), "the seal of a pod".into())),
            }
        }
        Err(kube::Error::Api(status)) => match refused(&status) {
            Some((reason @ MUTATED, said)) => {
                let text = mutates(&slot.host, &said);
                return Ok(Outcome::Refused(slot.host.clone(), refusal(reason, text)));
            }
            Some((reason, text)) => {
                return Ok(Outcome::Refused(slot.host.clone(), refusal(reason, text)));
            }
            None => return Err(create_error(slot, kube::Error::Api(status))),
        },
        Err(source) => return Err(create_error(slot, source)),
    };
    let view = pod_view(&found);
    if let Some(what) = altered(&sent, &found) {
        remove(context, &slot.host, &slot.pod, &view).await?;
        return Ok(Outcome::Altered(slot.host.clone(), what));
    }
    let uid = view.uid.clone();
    context.world.pod(&slot.host, &slot.pod, Some(view));
    Ok(Outcome::Made(slot.id, uid))
}

fn create_error(slot: &Slot, source: kube::Error) -> ApplyError {
    ApplyError::Create { namespace: slot.host.clone(), source }
}

/// The pod that has a slot's name already, if its seal is right. A wrong one is removed.
async fn adopt(
    context: &Context,
    api: &Api<Pod>,
    slot: &Slot,
    sealed: &Sealed,
) -> Result<Option<Pod>, ApplyError> {
    let found = api.get(&slot.pod).await.map_err(|source| create_error(slot, source))?;
    let view = pod_view(&found);
    let seal = view.seal.as_deref().and_then(|s| context.key.open(&slot.host, &slot.pod, s));
    if seal.as_ref() == Some(sealed) && view.deleting.is_none() {
        return Ok(Some(found));
    }
    remove(context, &slot.host, &slot.pod, &view).await?;
    Ok(None)
}

fn refusal(reason: &str, text: String) -> Refusal {
    Refusal { reason: reason.to_owned(), text, until: now() + REFUSED_FOR }
}

/// Whether the API server's answer is the host's no, and which.
fn refused(status: &Status) -> Option<(&'static str, String)> {
    let text = &status.message;
    let has = |part: &str| text.contains(part);
    let reason = match status.code {
        403 if has("exceeded quota") || has("failed quota") => "HostQuotaExceeded",
        403 if has("violates PodSecurity") => "HostPolicy",
        403 if has("being terminated") => "HostTerminating",
        403 if has("cannot create resource") => "HostBindingMissing",
        403 if has("serviceaccount") || has("service account") => "HostServiceAccountMissing",
        403 if has("per Container") || has("per Pod") || has("LimitRange") => "HostLimitRange",
        404 if has("namespaces") => "HostTerminating",
        // Of our own policy: no MixNNHost any more, or a pod that is not what was sent.
        _ if has("no params found") => "HostGone",
        _ if has("ValidatingAdmissionPolicy 'mixnn-pods") => MUTATED,
        _ if has("admission webhook") || has("ValidatingAdmissionPolicy") => "HostPolicy",
        400 | 403 | 422 => "HostPolicy",
        _ => return None,
    };
    Some((reason, text.clone()))
}

/// Opens the gates of a step's pods.
///
/// # Errors
/// The API does not answer.
pub async fn lift(context: &Context, step: &Step) -> Result<(), ApplyError> {
    let slots = step.record.slots.iter().filter(|s| step.lift.contains(&s.id));
    let requests: Vec<_> = slots.map(|slot| lift_one(context, slot)).collect();
    let results: Vec<_> = stream::iter(requests).buffer_unordered(AT_ONCE).collect().await;
    results.into_iter().collect()
}

async fn lift_one(context: &Context, slot: &Slot) -> Result<(), ApplyError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &slot.host);
    // The uid makes it this pod or none.
    let patch = json!({"metadata": {"uid": slot.uid}, "spec": {"schedulingGates": []}});
    match api.patch(&slot.pod, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(found) => {
            context.world.pod_answered(&slot.host, &slot.pod, pod_view(&found));
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
            context.world.pod(&slot.host, &slot.pod, None);
            Ok(())
        }
        Err(source) => Err(ApplyError::Lift { namespace: slot.host.clone(), source }),
    }
}

/// Removes a pod: this one, not another of its name. By force where its node has been silent too long.
///
/// # Errors
/// The API does not answer.
pub async fn remove(
    context: &Context,
    namespace: &str,
    name: &str,
    pod: &PodView,
) -> Result<(), ApplyError> {
    let lost_after =
        SignedDuration::try_from(context.settings.pods.lost_after).unwrap_or(SignedDuration::MAX);
    let silent = pod.deleting.is_some_and(|since| since + lost_after <= now());
    if pod.deleting.is_some() && !silent {
        return Ok(());
    }
    let only = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
    let params = DeleteParams {
        grace_period_seconds: silent.then_some(0),
        preconditions: Some(only),
        ..DeleteParams::default()
    };
    let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    match api.delete(name, &params).await {
        Ok(either) => {
            let left = either.left().filter(|p| p.metadata.deletion_timestamp.is_some());
            let uid = left.as_ref().and_then(ResourceExt::uid);
            let view = left.as_ref().filter(|_| uid.as_ref() == Some(&pod.uid)).map(pod_view);
            match view {
                Some(view) => context.world.pod_answered(namespace, name, view),
                None => context.world.pod(namespace, name, None),
            }
            Ok(())
        }
        // Another pod has the name now.
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
        // A namespace that goes away takes its pods, and the operator's rights before them.
        Err(kube::Error::Api(status))
            if status.is_forbidden() && !context.world.is_lasting(namespace) =>
        {
            context.world.pod(namespace, name, None);
            Ok(())
        }
        Err(source) => {
            gone(Err(source))
                .map_err(|source| ApplyError::Delete { namespace: namespace.to_owned(), source })?;
            context.world.pod(namespace, name, None);
            Ok(())
        }
    }
}
