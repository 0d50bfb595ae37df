//! Ends what nobody wants any more: records of deleted models, pods that no record names.
//!
//! This is how a deletion works, too. A model has no finalizer: it can always be deleted, also in a
//! namespace that goes away and while the operator is down; what is left is found from the records.

use crate::apply::{ApplyError, remove};
use crate::context::Context;
use crate::model::Guarded;
use crate::plan::PodView;
use crate::record::{Record, WorkloadRef};
use crate::world::{Eyes, Versioned};
use kube::api::DeleteParams;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, ResourceExt};
use mixnn_crds::MixNNModel;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How soon to look again while something is left that could not be ended yet.
const AGAIN: Duration = Duration::from_secs(5);

/// The models that there are, and whether all have been listed.
///
/// Not by `Store::wait_until_ready`: it wakes one of the tasks that wait, and the controller waits, too.
#[derive(Clone)]
pub struct Models {
    /// What was seen.
    pub store: Store<Guarded>,
    /// Set once all have been listed; `Context::orphans` is told after that.
    pub listed: Arc<AtomicBool>,
}

/// Collects whenever it is told to, for as long as this replica leads.
pub async fn run(context: Arc<Context>, models: Models) {
    loop {
        let told = context.orphans.notified();
        let left = models.listed.load(Ordering::SeqCst) && collect(&context, &models.store).await;
        if left {
            let _ = tokio::time::timeout(AGAIN, told).await;
        } else {
            told.await;
        }
    }
}

/// Collects once. Gives whether something is left that will have to be looked at again. What cannot be
/// ended stops nothing else.
async fn collect(context: &Context, models: &Store<Guarded>) -> bool {
    let mut left = false;
    let dead = dead_records(context, models);
    tracing::debug!(dead = dead.len(), "collecting");
    for record in dead {
        if failed(end_record(context, &record).await) {
            context.doubts.add(&record.workload.uid);
            left = true;
        }
    }
    for (namespace, name, pod) in context.world.orphans() {
        left |= failed(end_pod(context, &namespace, &name, &pod).await);
        // A node that does not answer never confirms: such a pod is removed by force later.
        left |= pod.deleting.is_some();
    }
    for uid in context.world.stale_registrations() {
        let deleted = context.maps().delete(&format!("node-{uid}"), &DeleteParams::default()).await;
        if crate::context::gone(deleted.map(drop)).is_ok() {
            context.world.registration(&uid, None);
        }
    }
    left
}

fn failed(result: Result<(), ApplyError>) -> bool {
    if let Err(error) = &result {
        tracing::warn!(%error, "not everything could be collected; tried again");
    }
    result.is_err()
}

async fn end_pod(
    context: &Context,
    namespace: &str,
    name: &str,
    pod: &PodView,
) -> Result<(), ApplyError> {
    if named_after_all(context, namespace, name, pod).await? {
        return Ok(());
    }
    remove(context, namespace, name, pod).await
}

/// Records and pods come over different watches, and one may lag behind the other: before a pod is
/// ended for good, the record that its seal speaks of is read anew.
async fn named_after_all(
    context: &Context,
    namespace: &str,
    name: &str,
    pod: &PodView,
) -> Result<bool, ApplyError> {
    let sealed = pod.seal.as_deref().and_then(|s| context.key.open(namespace, name, s));
    let Some(sealed) = sealed.filter(|_| pod.deleting.is_none()) else { return Ok(false) };
    let failed = |source| ApplyError::Record { workload: sealed.workload.clone(), source };
    context.refresh_record(&sealed.workload).await.map_err(failed)?;
    Ok(context.world.workload_of(namespace, name).is_some())
}

/// Asks the API server itself: what this replica knows of models may be older than the record.
async fn lives(context: &Context, workload: &WorkloadRef) -> Result<bool, ApplyError> {
    if workload.is_shared() {
        return Ok(false);
    }
    let api: Api<MixNNModel> = Api::namespaced(context.client.clone(), &workload.namespace);
    let failed = |source| ApplyError::Record { workload: workload.uid.clone(), source };
    let found = api.get_metadata_opt(&workload.name).await.map_err(failed)?;
    Ok(found.is_some_and(|model| model.uid().as_deref() == Some(&workload.uid)))
}

/// Of the records that are in doubt, those without a model.
fn dead_records(context: &Context, models: &Store<Guarded>) -> Vec<Arc<Record>> {
    let lives = |workload: &WorkloadRef| {
        let model = models.get(&ObjectRef::new(&workload.name).within(&workload.namespace));
        model.is_some_and(|model| model.uid().as_ref() == Some(&workload.uid))
    };
    let dead = |r: &Arc<Record>| {
        let shared = r.workload.is_shared() && context.settings.shared_relays > 0;
        !shared && !lives(&r.workload)
    };
    let record = |uid: String| context.world.record_of(&uid).map(|v| v.record);
    match context.doubts.take() {
        Doubtful::All => context.world.records().into_iter().filter(dead).collect(),
        Doubtful::These(uids) => uids.into_iter().filter_map(record).filter(dead).collect(),
    }
}

/// Records whose models may be gone: only those are looked at.
#[derive(Default)]
pub struct Doubts(Mutex<Doubtful>);

enum Doubtful {
    All,
    These(HashSet<String>),
}

impl Default for Doubtful {
    fn default() -> Self {
        Self::These(HashSet::new())
    }
}

impl Doubts {
    fn lock(&self) -> MutexGuard<'_, Doubtful> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more.
    pub fn add(&self, uid: &str) {
        if let Doubtful::These(uids) = &mut *self.lock() {
            uids.insert(uid.to_owned());
        }
    }

    /// All that there are.
    pub fn add_all(&self) {
        *self.lock() = Doubtful::All;
    }

    fn take(&self) -> Doubtful {
        std::mem::take(&mut *self.lock())
    }
}

/// Ends a record's pods, then the record: should this operator die before, the next one finds it again.
async fn end_record(context: &Context, record: &Record) -> Result<(), ApplyError> {
    if lives(context, &record.workload).await? {
        return Ok(());
    }
    let Some(Versioned { record, version }) = context.world.record_of(&record.workload.uid) else {
        return Ok(());
    };
    let eyes = Eyes { world: &context.world, key: &context.key };
    for slot in record.slots.iter().filter(|s| !s.pod.is_empty()) {
        if let Some(pod) = eyes.find(slot) {
            remove(context, &slot.host, &slot.pod, &pod).await?;
        }
    }
    let failed = |source| ApplyError::Record { workload: record.workload.uid.clone(), source };
    context.delete_record(&record, &version).await.map_err(failed)?;
    forget(context, &record.workload);
    Ok(())
}

fn forget(context: &Context, workload: &WorkloadRef) {
    tracing::info!(model = %workload.name, namespace = %workload.namespace, "a model was deleted; its pods are ended");
    context.waits(workload, false);
    context.applied.forget(&workload.uid);
    context.looks.forget(&workload.uid);
    context.hosts_changed.notify_one();
    context.wake_waiting();
}
