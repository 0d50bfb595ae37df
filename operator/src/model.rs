//! The controller of MixNNModels: dereference, validate, build, apply, update status.

use crate::apply::ApplyError;
use crate::build::{
    Designer, binding, designer_name, designer_objects, directory_maps, serving_objects,
};
use crate::context::Context;
use crate::drive::{Driven, drive, set_aside};
use crate::labels;
use crate::metrics::Metrics;
use crate::objects::{self, Namespaced, hash_of};
use crate::plan::{Seen, Stand, Wants};
use crate::record::{Role, WorkloadRef};
use crate::registration::directory_of;
use crate::status::News;
use crate::validate::{Invalid, validate, workload};
use crate::world::{Eyes, now};
use crate::{gone, status, stranded};
use k8s_openapi::api::rbac::v1::RoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use mixnn_crds::{MixNNModel, MixNNModelStatus};
use mixnn_protocol::registration::Directory;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// The shortest and the longest pause after an error.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(120));

/// Remembered where nothing is to be applied.
const NOTHING: u64 = 0;
/// Remembered once all that a designer needs was applied.
const DESIGNER: &str = "designer";

/// A model as the controller watches it: one that cannot be read stops nothing.
pub type Guarded = DeserializeGuard<MixNNModel>;

/// Why a reconciliation failed. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Pods or records.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// What is made in the owner's namespace.
    #[error("failed to make {what} in {namespace}: {source}")]
    Owner {
        /// What.
        what: String,
        /// Where.
        namespace: String,
        /// What the API said.
        source: kube::Error,
    },
    /// Something else has the name of what a served model needs.
    #[error(
        "{namespace} has a {what} named {name} that is not this model's: it is left alone, and the model cannot be reached; rename one of them"
    )]
    Taken {
        /// What.
        what: String,
        /// Where.
        namespace: String,
        /// Under which name.
        name: String,
    },
    /// Status.
    #[error("failed to write the status of {namespace}/{name}: {source}")]
    Status {
        /// Where.
        namespace: String,
        /// Whose.
        name: String,
        /// What the API said.
        source: kube::Error,
    },
}

/// The controller's own state.
pub struct Models {
    /// What all share.
    pub context: Arc<Context>,
    recorder: Recorder,
    failures: Mutex<HashMap<ObjectRef<Guarded>, u32>>,
}

impl Models {
    /// A controller that has not failed yet.
    pub fn new(context: Arc<Context>) -> Self {
        let reporter = Reporter { controller: labels::OPERATOR.into(), instance: None };
        let recorder = Recorder::new(context.client.clone(), reporter);
        Self { context, recorder, failures: Mutex::default() }
    }
}

/// One reconciliation of one model.
///
/// # Errors
/// Something did not work that may work later.
pub async fn reconcile(
    guarded: Arc<Guarded>,
    models: Arc<Models>,
) -> Result<Action, ReconcileError> {
    let span = tracing::debug_span!(
        "reconcile",
        model.namespace = guarded.namespace(),
        model.name = guarded.name_any(),
        outcome = Empty,
        otel.status_code = Empty,
    );
    reconcile_one(guarded, &models).instrument(span).await
}

async fn reconcile_one(guarded: Arc<Guarded>, models: &Models) -> Result<Action, ReconcileError> {
    let began = Instant::now();
    let context = &models.context;
    let result = match &guarded.0 {
        Ok(model) => reconcile_model(model, models).await,
        Err(invalid) => {
            tracing::warn!(error = %invalid, "a MixNNModel cannot be read; a run that has begun is left as it is");
            let uid = guarded.uid().unwrap_or_default();
            set_aside(context, &uid).await.map(|()| Action::await_change()).map_err(Into::into)
        }
    };
    context.metrics.duration.observe(began.elapsed().as_secs_f64());
    let outcome = if result.is_ok() { "ok" } else { "error" };
    Metrics::count(&context.metrics.reconciliations, outcome);
    Span::current().record("outcome", outcome);
    if result.is_err() {
        Span::current().record("otel.status_code", "ERROR");
    }
    if result.is_ok() {
        let key = ObjectRef::from_obj(&*guarded);
        models.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
    result
}

async fn reconcile_model(model: &MixNNModel, models: &Models) -> Result<Action, ReconcileError> {
    let context = &models.context;
    if model.metadata.deletion_timestamp.is_some() {
        // Somebody's finalizer may hold it for long.
        set_aside(context, &model.uid().unwrap_or_default()).await?;
        return Ok(Action::await_change());
    }
    let wants = match validate(model, &context.settings) {
        Ok(wants) => wants,
        Err(invalid) => return reject(model, &invalid, models).await,
    };
    let old = context.told.newest(model);
    let driven = drive(context, &wants, model.spec.placement.host_selector.as_ref()).await?;
    for (role, loss) in &driven.lost {
        Metrics::count(&context.metrics.lost, loss.text());
        let note =
            format!("a {} pod {}; it is replaced", crate::build::role_name(*role), loss.text());
        publish(models, model, EventType::Warning, "PodLost", note).await;
    }
    let directory = directory_of(context, &wants.workload, model.spec.relays.shared);
    let look = owner_objects(model, &wants, &driven, &directory, context).await?;
    let status = describe(model, &old, &wants, &driven, context);
    let untold = write_status(model, &old, status, models).await?;
    if let Err(error) = serve(model, &wants, context).await {
        publish(models, model, EventType::Warning, "ServingBlocked", error.to_string()).await;
        return Err(error);
    }
    let unserved = gone::unserve(context, model).await.map_err(|source| {
        let (namespace, name) = (model.namespace().unwrap_or_default(), model.name_any());
        ReconcileError::Status { namespace, name, source }
    })?;
    let wait = [driven.wait, look, untold, unserved].into_iter().flatten().min();
    Ok(wait.map_or_else(Action::await_change, Action::requeue))
}

/// A model that is not valid keeps the pods of a run that has begun, and is in nobody's way.
async fn reject(
    model: &MixNNModel,
    invalid: &Invalid,
    models: &Models,
) -> Result<Action, ReconcileError> {
    set_aside(&models.context, &model.uid().unwrap_or_default()).await?;
    let said = status::rejected(invalid);
    let old = models.context.told.newest(model);
    let status = status::status(&said, &old.conditions, model.metadata.generation, now());
    let untold = write_status(model, &old, status, models).await?;
    Ok(untold.map_or_else(Action::await_change, Action::requeue))
}

fn describe(
    model: &MixNNModel,
    old: &MixNNModelStatus,
    wants: &Wants,
    driven: &Driven,
    context: &Context,
) -> MixNNModelStatus {
    let record = &driven.record.record;
    let registered = context.world.registrations(&wants.workload.uid);
    let eyes = Eyes { world: &context.world, key: &context.key };
    let count = |role: Role| {
        let slots = record.slots.iter().filter(|s| s.role == role);
        let placed = slots.filter(|s| eyes.pod(&s.host, &s.pod).is_some_and(|p| p.node.is_some()));
        let ready = registered.iter().filter(|(r, _)| *r == role).count();
        (ready as u32, placed.count() as u32)
    };
    let (layers, layer_nodes) = count(Role::Layer);
    let (mut relays, mut relay_nodes) = count(Role::Relay);
    let mut wanted_relays = wants.relays;
    let mut models_in_pool = 1;
    if model.spec.relays.shared {
        wanted_relays = context.settings.shared_relays;
        relays = context.world.registrations(WorkloadRef::SHARED).len() as u32;
        relay_nodes = relays;
        models_in_pool = context.world.company().max(1) as u32;
    }
    let said = status::accepted(driven);
    let mut status = status::status(&said, &old.conditions, model.metadata.generation, now());
    let wanted_layers = wants.layers.values().sum();
    status.layers = Some(status::counted(record, Role::Layer, wanted_layers, layers, layer_nodes));
    status.relays = Some(status::counted(record, Role::Relay, wanted_relays, relays, relay_nodes));
    status.privacy = Some(status::privacy(&model.spec, wanted_relays, models_in_pool));
    status
}

/// Writes status if it says something new, and tells changes of conditions as events. Gives when to look again if
/// what is new is not worth a write yet.
async fn write_status(
    model: &MixNNModel,
    old: &MixNNModelStatus,
    status: MixNNModelStatus,
    models: &Models,
) -> Result<Option<Duration>, ReconcileError> {
    let told = &models.context.told;
    match status::news(old, &status) {
        News::None => {
            told.settled(model);
            return Ok(None);
        }
        News::Numbers => {
            if let Some(pause) = told.pause(model, Instant::now()) {
                return Ok(Some(pause));
            }
        }
        News::Else => {}
    }
    let (namespace, name) = (model.namespace().unwrap_or_default(), model.name_any());
    let api: Api<MixNNModel> = Api::namespaced(models.context.client.clone(), &namespace);
    let patch = json!({
        "apiVersion": MixNNModel::api_version(&()), "kind": MixNNModel::kind(&()),
        "metadata": {"uid": model.uid()}, "status": status,
    });
    let written =
        api.patch_status(&name, &PatchParams::apply(labels::OPERATOR), &Patch::Apply(patch)).await;
    match written {
        Ok(written) => told.put(&written),
        // It was deleted, or made anew, meanwhile.
        Err(kube::Error::Api(s)) if s.is_not_found() || s.is_conflict() => return Ok(None),
        Err(source) => return Err(ReconcileError::Status { namespace, name, source }),
    }
    for now in &status.conditions {
        let before = old.conditions.iter().find(|c| c.type_ == now.type_);
        let news = before.is_none_or(|b| (&b.status, &b.reason) != (&now.status, &now.reason));
        let bad = (now.status == "False") != (now.type_ == mixnn_crds::condition::DEGRADED);
        let passing =
            ["Admitting", "Queued", "Scheduling", "Suspended", "NoHosts", "HostsNotReady"]
                .contains(&now.reason.as_str());
        if news && now.reason != "AsExpected" && !passing {
            let kind = if bad { EventType::Warning } else { EventType::Normal };
            publish(models, model, kind, &now.reason, now.message.clone()).await;
        }
    }
    Ok(None)
}

/// Events are for people: one that cannot be written stops nothing.
async fn publish(
    models: &Models,
    model: &MixNNModel,
    type_: EventType,
    reason: &str,
    note: String,
) {
    let note: String = note.chars().take(900).collect();
    let event = Event {
        type_,
        reason: reason.chars().take(120).collect(),
        note: Some(note),
        action: "Reconcile".into(),
        secondary: None,
    };
    if let Err(error) = models.recorder.publish(&event, &model.object_ref(&())).await {
        tracing::warn!(%error, reason, "an event cannot be written");
    }
}

/// The designer, its rights, its directory: in the owner's namespace. Gives when to look at it again.
async fn owner_objects(
    model: &MixNNModel,
    wants: &Wants,
    driven: &Driven,
    directory: &Directory,
    context: &Context,
) -> Result<Option<Duration>, ReconcileError> {
    let record = &driven.record.record;
    // The designer starts before the pods do: it has claims ready when they register.
    let nothing = matches!(driven.stand, Stand::NoHosts(..) | Stand::Refused(..));
    let started = record.slots.iter().any(|s| s.uid.is_some());
    if nothing && !started && !context.applied.has(&wants.workload.uid, DESIGNER) {
        return Ok(None);
    }
    let designer =
        Designer { model, pin: &record.pin, running: !record.suspended && !record.finished };
    let wanted = designer_objects(designer, &context.pod_context());
    let maps = directory_maps(model, directory);
    let namespace = model.namespace().unwrap_or_default();
    let owner = Owner { context, namespace: &namespace, key: &wants.workload.uid };
    let operator = (context.settings.namespace.as_str(), labels::OPERATOR);
    owner.bound(&owner_binding(&namespace, operator)).await?;
    owner.once("account", &wanted.account).await?;
    owner.once("role", &wanted.role).await?;
    owner.once("role-binding", &wanted.binding).await?;
    owner.once("file", &wanted.file).await?;
    for (i, map) in maps.iter().enumerate() {
        owner.once(&format!("nodes-{i}"), map).await?;
    }
    owner.once("stateful-set", &wanted.stateful_set).await?;
    context.applied.set(&wants.workload.uid, DESIGNER, 1);
    let what = || "room for a designer".to_owned();
    stranded::release(context, &wants.workload.uid, &namespace, &designer_name(model))
        .await
        .map_err(|source| ReconcileError::Owner { what: what(), namespace, source })
}

/// What clients reach a model by that is served. Last of all: what stands in its way stops nothing else.
async fn serve(model: &MixNNModel, wants: &Wants, context: &Context) -> Result<(), ReconcileError> {
    let serving = serving_objects(model);
    // A spec that never changed never asked for it.
    let never = serving.is_none() && model.metadata.generation == Some(1);
    if never || !context.applied.has(&wants.workload.uid, DESIGNER) {
        return Ok(());
    }
    let namespace = model.namespace().unwrap_or_default();
    let owner = Owner { context, namespace: &namespace, key: &wants.workload.uid };
    let (service, policy) = serving.map(|s| (s.service, s.policy)).unzip();
    owner.once_or_never("service", model, service.as_ref()).await?;
    owner.once_or_never("serving-policy", model, policy.as_ref()).await
}

/// Under which the operator's rights in a namespace are remembered.
fn rights_key(namespace: &str) -> String {
    format!("rights/{namespace}")
}

/// Binds the operator's rights where there are models.
fn owner_binding(namespace: &str, operator: (&str, &str)) -> RoleBinding {
    let metadata = ObjectMeta {
        name: Some(labels::OPERATOR.into()),
        namespace: Some(namespace.to_owned()),
        labels: Some([(labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned())].into()),
        ..ObjectMeta::default()
    };
    binding(metadata, labels::OWNER_ROLE, operator)
}

struct Owner<'a> {
    context: &'a Context,
    namespace: &'a str,
    key: &'a str,
}

impl Owner<'_> {
    /// The operator's rights here, if they are not what they were: the same for all models of a namespace.
    async fn bound(&self, binding: &RoleBinding) -> Result<(), ReconcileError> {
        let (key, hash) = (rights_key(self.namespace), hash_of(binding));
        if !self.context.applied.is(&key, "all", hash) {
            let bound = objects::bind(self.context, self.namespace, binding).await;
            bound.map_err(|source| self.failed("the operator's rights", source))?;
            self.context.applied.set(&key, "all", hash);
        }
        Ok(())
    }

    /// Applies an object if it is not what was applied last.
    async fn once<K: Namespaced>(&self, what: &str, object: &K) -> Result<(), ReconcileError> {
        let hash = hash_of(object);
        if self.context.applied.is(self.key, what, hash) {
            return Ok(());
        }
        let applied = objects::apply_soon(self.context, self.namespace, object).await;
        applied.map_err(|source| self.failed(what, source))?;
        self.context.applied.set(self.key, what, hash);
        Ok(())
    }

    /// Applies an object of serving, or sees to it that this model has none.
    async fn once_or_never<K: Namespaced>(
        &self,
        what: &str,
        model: &MixNNModel,
        object: Option<&K>,
    ) -> Result<(), ReconcileError> {
        if self.context.applied.is(self.key, what, object.map_or(NOTHING, hash_of)) {
            return Ok(());
        }
        let api: Api<K> = Api::namespaced(self.context.client.clone(), self.namespace);
        let name = model.serving_name();
        let found = api.get_opt(&name).await.map_err(|source| self.failed(what, source))?;
        let ours =
            |k: &K| k.owner_references().iter().any(|o| Some(&o.uid) == model.uid().as_ref());
        if let Some(object) = object {
            if found.is_some_and(|found| !ours(&found)) {
                let (what, namespace) = (what.to_owned(), self.namespace.to_owned());
                return Err(ReconcileError::Taken { what, namespace, name });
            }
            return self.once(what, object).await;
        }
        if let Some(found) = found.filter(ours) {
            let only = Preconditions { uid: found.uid(), resource_version: None };
            let params = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
            let deleted = api.delete(&name, &params).await.map(drop);
            crate::context::gone(deleted).map_err(|source| self.failed(what, source))?;
        }
        self.context.applied.set(self.key, what, NOTHING);
        Ok(())
    }

    fn failed(&self, what: &str, source: kube::Error) -> ReconcileError {
        if matches!(&source, kube::Error::Api(status) if status.is_forbidden()) {
            // Somebody may have taken the operator's rights away.
            self.context.applied.forget(&rights_key(self.namespace));
        }
        ReconcileError::Owner {
            what: what.to_owned(),
            namespace: self.namespace.to_owned(),
            source,
        }
    }
}

/// What was applied for a model is to be applied again: somebody removed it.
pub fn forget_applied(context: &Context, model: &MixNNModel) {
    context.applied.forget(&model.uid().unwrap_or_default());
    tracing::debug!(model = model.name_any(), "what belongs to a model was removed");
    context.wake(workload(model));
}

/// A pause that doubles with every failure of this object, a part of it left to chance.
pub fn on_error(guarded: Arc<Guarded>, error: &ReconcileError, models: Arc<Models>) -> Action {
    let key = ObjectRef::from_obj(&*guarded);
    let mut failures = models.failures.lock().unwrap_or_else(PoisonError::into_inner);
    let count = failures.entry(key.clone()).or_insert(0);
    *count = count.saturating_add(1);
    let whole = PAUSES.0.saturating_mul(1 << (*count - 1).min(8)).min(PAUSES.1);
    let chance = f64::from(hash_of(&(key.to_string(), *count)) as u32) / f64::from(u32::MAX);
    let pause = whole.mul_f64(0.5 + chance / 2.0);
    tracing::warn!(model = %key, %error, failures = *count, pause_ms = pause.as_millis() as u64, "a reconciliation failed");
    Action::requeue(pause)
}
