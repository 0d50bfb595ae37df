//! The controller of MixNNHosts: what a host namespace needs before the first pod, and its status.

use crate::build::host_objects;
use crate::context::Context;
use crate::labels;
use crate::objects::{self, hash_of};
use crate::status::{Said, condition_of};
use crate::world::now;
use kube::api::{Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use mixnn_crds::{MixNNHost, MixNNHostStatus, condition};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// After a host's namespace could not be made ready.
const AGAIN: Duration = Duration::from_secs(30);

/// Why a host could not be seen to. It is tried again.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the status of the MixNNHost in {namespace}: {source}")]
pub struct HostError {
    namespace: String,
    source: kube::Error,
}

/// One reconciliation of one host.
///
/// # Errors
/// Its status could not be written.
pub async fn reconcile(
    guarded: Arc<DeserializeGuard<MixNNHost>>,
    context: Arc<Context>,
) -> Result<Action, HostError> {
    let Ok(host) = &guarded.0 else { return Ok(Action::await_change()) };
    if host.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let said = match prepare(host, &context).await {
        Ok(()) => ready(host),
        Err((reason, message)) => {
            Said { type_: condition::READY, status: "False", reason: reason.into(), message }
        }
    };
    let again = said.status == "False" && !host.spec.drain;
    let namespace = host.namespace().unwrap_or_default();
    write(host, &said, &context).await.map_err(|source| HostError { namespace, source })?;
    Ok(if again { Action::requeue(AGAIN) } else { Action::await_change() })
}

/// Tries again later.
pub fn on_error(_: Arc<DeserializeGuard<MixNNHost>>, error: &HostError, _: Arc<Context>) -> Action {
    tracing::warn!(%error, "a host could not be seen to");
    Action::requeue(AGAIN)
}

fn ready(host: &MixNNHost) -> Said {
    let (status, reason, message) = if host.spec.drain {
        ("False", "Draining", "spec.drain is true: no new pods; those that run move elsewhere")
    } else {
        ("True", "Ready", "pods can be made here")
    };
    Said { type_: condition::READY, status, reason: reason.into(), message: message.into() }
}

/// Under which what is applied for a host is remembered.
pub fn applied_key(namespace: &str) -> String {
    format!("host/{namespace}")
}

type Problem = (&'static str, String);

/// Account, walls and rights, before any pod.
async fn prepare(host: &MixNNHost, context: &Context) -> Result<(), Problem> {
    let namespace = host.namespace().unwrap_or_default();
    let operator = (context.settings.namespace.as_str(), labels::OPERATOR);
    let settings = &context.settings;
    let port = settings.registration.registration_port;
    let wanted = host_objects(host, operator, port, settings.pods.metrics_readers.as_ref());
    let (key, hash) = (applied_key(&namespace), hash_of(&(&host.spec, &host.metadata.uid)));
    if context.applied.is(&key, "all", hash) {
        return Ok(());
    }
    let problem = |error| problem(&error, &namespace);
    objects::bind(context, &namespace, &wanted.binding).await.map_err(problem)?;
    if let Some(account) = &wanted.account {
        objects::apply_soon(context, &namespace, account).await.map_err(problem)?;
    }
    for policy in &wanted.policies {
        objects::apply_soon(context, &namespace, policy).await.map_err(problem)?;
    }
    context.world.host_ready(&namespace);
    context.applied.set(&key, "all", hash);
    context.spaces_changed.notify_one();
    context.wake_waiting();
    Ok(())
}

fn problem(error: &kube::Error, namespace: &str) -> Problem {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => {
            let role = labels::HOST_ROLE;
            let text = format!(
                "the operator has no rights here: kubectl -n {namespace} create rolebinding {} --clusterrole={role} --serviceaccount=NAMESPACE:{} with the operator's namespace; the API server says: {}",
                labels::HOST_OBJECTS,
                labels::OPERATOR,
                status.message
            );
            ("BindingMissing", text)
        }
        other => ("NotPrepared", other.to_string()),
    }
}

async fn write(host: &MixNNHost, said: &Said, context: &Context) -> Result<(), kube::Error> {
    let namespace = host.namespace().unwrap_or_default();
    let old = host.status.clone().unwrap_or_default();
    let used = context.world.pods_on(&namespace);
    let generation = host.metadata.generation;
    let status = MixNNHostStatus {
        observed_generation: generation,
        conditions: vec![condition_of(said, &old.conditions, generation, now())],
        pods: Some(format!("{used}/{}", host.spec.max_pods)),
    };
    if status == old {
        return Ok(());
    }
    let api: Api<MixNNHost> = Api::namespaced(context.client.clone(), &namespace);
    let patch = json!({
        "apiVersion": MixNNHost::api_version(&()), "kind": MixNNHost::kind(&()),
        "metadata": {"uid": host.uid()}, "status": status,
    });
    let params = PatchParams::apply(labels::OPERATOR);
    let written = api.patch_status(&host.name_any(), &params, &Patch::Apply(patch)).await;
    match written {
        Err(kube::Error::Api(s)) if s.is_not_found() || s.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}
