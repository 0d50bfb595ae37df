//! Ends what nobody wants any more: records of deleted models, pods that no record names.
//!
//! This is how a deletion works, too. A model has no finalizer: it can always be deleted, also in a
//! namespace that goes away and while the operator is down; what is left is found from the records.

use crate::apply::remove;
use crate::context::Context;
use crate::model::Guarded;
use crate::record::{Record, WorkloadRef};
use crate::world::{Versioned, now};
use k8s_openapi::jiff::SignedDuration;
use kube::ResourceExt;
use kube::api::DeleteParams;
use kube::runtime::reflector::Store;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How soon to look again while something is left that could not be ended yet.
const AGAIN: Duration = Duration::from_secs(5);
/// After an error.
const AFTER_ERROR: Duration = Duration::from_secs(2);

/// Collects whenever it is told to, for as long as this replica leads.
pub async fn run(context: Arc<Context>, models: Store<Guarded>) {
    if models.wait_until_ready().await.is_err() {
        return;
    }
    loop {
        let pause = match collect(&context, &models).await {
            Ok(true) => AGAIN,
            Ok(false) => Duration::MAX,
            Err(error) => {
                tracing::warn!(%error, "not everything could be collected");
                AFTER_ERROR
            }
        };
        let told = context.orphans.notified();
        if pause == Duration::MAX {
            told.await;
        } else {
            let _ = tokio::time::timeout(pause, told).await;
        }
    }
}

/// Collects once. Gives whether something is left that will have to be looked at again.
async fn collect(
    context: &Context,
    models: &Store<Guarded>,
) -> Result<bool, crate::apply::ApplyError> {
    records(context, models).await?;
    let mut left = false;
    let lost_after =
        SignedDuration::try_from(context.settings.pods.lost_after).unwrap_or(SignedDuration::MAX);
    for (namespace, name, pod) in context.world.orphans() {
        remove(context, &namespace, &name, &pod).await?;
        // A node that does not answer never confirms: such a pod is removed by force later.
        left |= pod.deleting.is_some_and(|since| since + lost_after > now());
    }
    for uid in context.world.stale_registrations() {
        let deleted = context.maps().delete(&format!("node-{uid}"), &DeleteParams::default()).await;
        if crate::context::gone(deleted.map(drop)).is_ok() {
            context.world.registration(&uid, None);
        }
    }
    Ok(left)
}

async fn records(
    context: &Context,
    models: &Store<Guarded>,
) -> Result<(), crate::apply::ApplyError> {
    let living: HashSet<String> = models.state().iter().filter_map(|m| m.uid()).collect();
    let dead = |r: &Arc<Record>| {
        let shared = r.workload.is_shared() && context.settings.shared_relays > 0;
        !shared && !living.contains(&r.workload.uid)
    };
    let dead: Vec<_> = context.world.records().into_iter().filter(dead).collect();
    for record in dead {
        let Some(Versioned { version, .. }) = context.world.record_of(&record.workload.uid) else {
            continue;
        };
        // The record goes last: should this operator die before, the next one finds it again.
        for slot in record.slots.iter().filter(|s| !s.pod.is_empty()) {
            let eyes = crate::world::Eyes { world: &context.world, key: &context.key };
            if let Some(pod) = eyes.find(slot) {
                remove(context, &slot.host, &slot.pod, &pod).await?;
            }
        }
        let failed = |source| crate::apply::ApplyError::Record {
            workload: record.workload.uid.clone(),
            source,
        };
        context.delete_record(&record, &version).await.map_err(failed)?;
        forget(context, &record.workload);
    }
    Ok(())
}

fn forget(context: &Context, workload: &WorkloadRef) {
    tracing::info!(model = %workload.name, namespace = %workload.namespace, "a model was deleted; its pods are ended");
    context.waits(workload, false);
    context.forget_applied(&workload.uid);
    context.hosts_changed.notify_one();
    context.wake_waiting();
}
