//! Designers on nodes that do not answer. A StatefulSet makes no other pod until the node's kubelet has said
//! that the last one ended; here nobody waits for that. The designer's term keeps a living one from doing harm.

use crate::context::Context;
use crate::world::now;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::SignedDuration;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};
use std::time::Duration;

/// Between two looks at a designer that is not ready.
const LOOK: Duration = Duration::from_secs(5);

/// Removes a designer's pod by force if it was to end and its node has been silent too long. Gives when to look
/// again.
///
/// # Errors
/// What the API said.
pub async fn release(
    context: &Context,
    namespace: &str,
    stateful_set: &str,
) -> Result<Option<Duration>, kube::Error> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let name = format!("{stateful_set}-0");
    let Some(pod) = api.get_opt(&name).await? else { return Ok(None) };
    let Some(deleting) = &pod.metadata.deletion_timestamp else {
        return Ok((!is_ready(&pod)).then_some(LOOK));
    };
    let patience = context.settings.pods.lost_after;
    let patience = SignedDuration::try_from(patience).unwrap_or(SignedDuration::MAX);
    if deleting.0 + patience <= now() {
        let only = Preconditions { uid: pod.uid(), resource_version: None };
        let force =
            DeleteParams { preconditions: Some(only), ..DeleteParams::default().grace_period(0) };
        match api.delete(&name, &force).await {
            Ok(_) => tracing::info!("a designer on a silent node was removed by force"),
            // It has ended, or another one has its name.
            Err(kube::Error::Api(s)) if s.is_not_found() || s.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(LOOK))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}
