//! What every part of the operator shares.

use crate::applied::Applied;
use crate::build::PodContext;
use crate::collect::Doubts;
use crate::keys::OperatorKey;
use crate::labels;
use crate::metrics::Metrics;
use crate::record::{Record, WorkloadRef};
use crate::settings::Settings;
use crate::stranded::Looks;
use crate::told::Told;
use crate::world::{Versioned, World};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::mpsc::UnboundedSender;

/// What every part of the operator shares.
pub struct Context {
    /// The API.
    pub client: Client,
    /// What was told at the start.
    pub settings: Settings,
    /// What was seen.
    pub world: World,
    /// Names and seals.
    pub key: OperatorKey,
    /// What pods are told; changes when a CA is added.
    pub pods: RwLock<PodContext>,
    /// Figures.
    pub metrics: Metrics,
    /// Held while hosts are given out, so that none is given out twice.
    pub placing: tokio::sync::Mutex<()>,
    /// Workloads that wait for room on a host. Whose turn it is, the world knows.
    waiting: Mutex<HashSet<WorkloadRef>>,
    /// Where work for a workload is announced. Nobody listens where this replica does not lead.
    work: Mutex<Option<UnboundedSender<WorkloadRef>>>,
    /// What was applied last: nothing is sent twice.
    pub applied: Applied,
    /// What was said last of each model.
    pub told: Told,
    /// Which designers have been looked at.
    pub looks: Looks,
    /// Announced when the namespaces with pods may have changed.
    pub spaces_changed: tokio::sync::Notify,
    /// Announced when there may be orphans.
    pub orphans: tokio::sync::Notify,
    /// Records whose models may be gone.
    pub doubts: Doubts,
    /// Announced with a host's namespace when its use changed.
    pub hosts_changed: tokio::sync::Notify,
}

impl Context {
    /// A context that has seen nothing yet.
    pub fn new(
        client: Client,
        settings: Settings,
        metrics: Metrics,
        key: OperatorKey,
        pods: PodContext,
    ) -> Self {
        Self {
            client,
            settings,
            world: World::default(),
            key,
            pods: RwLock::new(pods),
            metrics,
            placing: tokio::sync::Mutex::new(()),
            waiting: Mutex::default(),
            work: Mutex::default(),
            applied: Applied::default(),
            told: Told::default(),
            looks: Looks::default(),
            spaces_changed: tokio::sync::Notify::new(),
            orphans: tokio::sync::Notify::new(),
            doubts: Doubts::default(),
            hosts_changed: tokio::sync::Notify::new(),
        }
    }

    /// What pods are told.
    pub fn pod_context(&self) -> PodContext {
        self.pods.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on, work goes here.
    pub fn listen(&self, to: UnboundedSender<WorkloadRef>) {
        *self.work.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
    }

    /// There may be something to do for a workload.
    pub fn wake(&self, workload: WorkloadRef) {
        if let Some(work) = &*self.work.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = work.send(workload);
        }
    }

    /// A workload waits for room on a host.
    pub fn waits(&self, workload: &WorkloadRef, waits: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waits {
            waiting.insert(workload.clone());
        } else {
            waiting.remove(workload);
        }
    }

    /// Room became free: all that wait for some look again.
    pub fn wake_waiting(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waiting.into_iter().for_each(|workload| self.wake(workload));
    }

    /// Every workload that has a record looks again.
    pub fn records_wake(&self) {
        self.world.records().iter().for_each(|record| self.wake(record.workload.clone()));
    }

    /// A record was read, written, or is gone. Whoever is concerned looks again. Gives whether it changed.
    pub fn keep(&self, uid: &str, record: Option<Versioned>) -> bool {
        let effects = self.world.record(uid, record);
        effects.wake.into_iter().for_each(|workload| self.wake(workload));
        if effects.spaces {
            self.spaces_changed.notify_one();
        }
        effects.changed
    }

    /// The model of this record may be gone.
    pub fn doubt(&self, uid: &str) {
        self.doubts.add(uid);
        self.orphans.notify_one();
    }

    /// The model of any record may be gone.
    pub fn doubt_all(&self) {
        self.doubts.add_all();
        self.orphans.notify_one();
    }

    /// ConfigMaps of the platform's namespace.
    pub fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.settings.namespace)
    }

    /// Writes a record, if nobody wrote it since it was read; keeps what was written.
    ///
    /// # Errors
    /// Somebody did (409), or the API does not answer.
    pub async fn write_record(
        &self,
        record: &Record,
        version: Option<&str>,
    ) -> Result<Versioned, kube::Error> {
        let name = record.workload.record_name();
        let mut map = record_map(record, &self.settings.namespace)?;
        let written = match version {
            Some(version) => {
                map.metadata.resource_version = Some(version.to_owned());
                self.maps().replace(&name, &PostParams::default(), &map).await
            }
            None => self.maps().create(&PostParams::default(), &map).await,
        };
        if let Err(kube::Error::Api(status)) = &written
            && (status.is_conflict() || status.is_already_exists() || status.is_not_found())
        {
            // What is known is old: take what is there, so that the next try begins from it.
            self.refresh_record(&record.workload.uid).await?;
        }
        let written = written?;
        if version.is_none() {
            // The model may have been deleted while its first record was under way.
            self.doubt(&record.workload.uid);
        }
        let version = written.metadata.resource_version.unwrap_or_default();
        let versioned = Versioned { record: Arc::new(record.clone()), version };
        self.keep(&record.workload.uid, Some(versioned.clone()));
        Ok(versioned)
    }

    /// Reads a record anew, past the watch.
    ///
    /// # Errors
    /// The API does not answer.
    pub async fn refresh_record(&self, uid: &str) -> Result<(), kube::Error> {
        let name = format!("run-{uid}");
        let found = self.maps().get_opt(&name).await?;
        self.keep(uid, found.as_ref().and_then(read_record));
        Ok(())
    }

    /// Removes a record, and with it registrations and claims, which it owns.
    ///
    /// # Errors
    /// The API does not answer, or somebody wrote it since.
    pub async fn delete_record(&self, record: &Record, version: &str) -> Result<(), kube::Error> {
        let only = Preconditions { resource_version: Some(version.to_owned()), uid: None };
        let params = DeleteParams { preconditions: Some(only), ..DeleteParams::background() };
        let deleted = self.maps().delete(&record.workload.record_name(), &params).await;
        gone(deleted.map(drop))?;
        self.keep(&record.workload.uid, None);
        Ok(())
    }
}

/// What is gone already needs no deletion.
pub fn gone(result: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match result {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other,
    }
}

/// The ConfigMap of a record.
fn record_map(record: &Record, namespace: &str) -> Result<ConfigMap, kube::Error> {
    let text = serde_json::to_string(record).map_err(kube::Error::SerdeError)?;
    let own = [
        (labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned()),
        (labels::RECORD.to_owned(), "run".to_owned()),
        (labels::WORKLOAD.to_owned(), record.workload.uid.clone()),
    ];
    Ok(ConfigMap {
        metadata: ObjectMeta {
            name: Some(record.workload.record_name()),
            namespace: Some(namespace.to_owned()),
            labels: Some(own.into()),
            ..Default::default()
        },
        data: Some([("record.json".to_owned(), text)].into()),
        ..Default::default()
    })
}

/// The record in a ConfigMap, if it is one.
pub fn read_record(map: &ConfigMap) -> Option<Versioned> {
    let text = map.data.as_ref()?.get("record.json")?;
    let record = serde_json::from_str(text);
    let record = record.inspect_err(|error| {
        let name = map.metadata.name.as_deref().unwrap_or_default();
        tracing::error!(name, %error, "a record cannot be read; its pods are left alone");
    });
    let version = map.metadata.resource_version.clone().unwrap_or_default();
    Some(Versioned { record: Arc::new(record.ok()?), version })
}
