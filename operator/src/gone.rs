//! A designer that is gone cannot take back that it serves its model: the operator does it in its place.
//!
//! `Serving` has one writer, the designer. What is written here is written in its name and as a whole, and only over
//! what was there when its pod was gone: a designer that is back has written since, or writes over it.

use crate::build::designer_name;
use crate::context::Context;
use crate::validate::workload;
use crate::world::now;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use mixnn_crds::{MixNNModel, condition};
use serde_json::{Value, json};
use std::time::Duration;

/// Field manager of what designers say.
const DESIGNER: &str = "mixnn-designer";
/// After somebody else wrote at the same time, and as long as a pod that is not ready may yet live.
const AGAIN: Duration = Duration::from_secs(2);

/// Says of a model that claims to be served, and whose designer is gone, that it is not. Gives when to look again.
///
/// # Errors
/// What the API said.
pub async fn unserve(
    context: &Context,
    model: &MixNNModel,
) -> Result<Option<Duration>, kube::Error> {
    let uid = workload(model).uid;
    if !is_served(model) || !context.looks.is_gone(&uid) {
        return Ok(None);
    }
    let namespace = model.namespace().unwrap_or_default();
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    if pods.get_opt(&format!("{}-0", designer_name(model))).await?.is_some_and(|p| is_alive(&p)) {
        return Ok(Some(AGAIN));
    }
    let api: Api<MixNNModel> = Api::namespaced(context.client.clone(), &namespace);
    let found = api.get_opt(&model.name_any()).await?;
    let found = found.filter(|m| m.uid().as_ref() == Some(&uid));
    let Some(patch) = found.as_ref().and_then(unserved) else { return Ok(None) };
    let patch = Patch::Apply(patch);
    match api.patch_status(&model.name_any(), &PatchParams::apply(DESIGNER), &patch).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(s)) if s.is_conflict() => Ok(Some(AGAIN)),
        Err(error) => crate::context::gone(Err(error)).map(|()| None),
    }
}

/// Whether the process that said so may yet live: on a node that is silent for a moment, it does.
fn is_alive(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.iter().flat_map(|s| s.container_statuses.iter().flatten());
    let ended =
        containers.into_iter().any(|c| c.state.as_ref().is_some_and(|s| s.running.is_none()));
    let running = status.and_then(|s| s.phase.as_deref()) == Some("Running");
    pod.metadata.deletion_timestamp.is_none() && running && !ended
}

fn is_served(model: &MixNNModel) -> bool {
    let conditions = model.status.iter().flat_map(|s| &s.conditions);
    conditions.into_iter().any(|c| c.type_ == condition::SERVING && c.status == "True")
}

/// Good for this very version of the model only.
fn unserved(model: &MixNNModel) -> Option<Value> {
    let (reason, message) = if model.spec.suspend {
        ("Suspended", "spec.suspend is true: set it to false to go on".to_owned())
    } else {
        let pod = designer_name(model);
        let text =
            "its designer is gone, or starts anew; if it does not come back: kubectl describe pod";
        ("DesignerGone", format!("{text} {pod}-0"))
    };
    let status = model.status.as_ref()?.unserved(reason, &message, now())?;
    Some(json!({
        "apiVersion": MixNNModel::api_version(&()), "kind": MixNNModel::kind(&()),
        "metadata": {"uid": model.uid(), "resourceVersion": model.resource_version()},
        "status": status,
    }))
}
