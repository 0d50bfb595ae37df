//! Writes the status: at most every five seconds, on a thread of its own, by server-side apply.

use crate::{Cluster, ClusterError, Progress};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::api::{Patch, PatchParams};
use mixnn_crds::{MixNNModel, MixNNModelStatus, ServingStatus, condition};
use mixnn_events::Event;
use serde_json::{Value, json};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two writes.
const SELDOM: Duration = Duration::from_secs(5);
/// Why a designer ends that was replaced.
const SUPERSEDED: &str = "Superseded";
/// After a last word that could not be written.
const AGAIN: Duration = Duration::from_secs(1);
/// For one write.
const WRITE: Duration = Duration::from_secs(10);
/// For the last word to be written.
const LAST_WORD: Duration = Duration::from_secs(30);
/// Who writes, to the API server: nothing of it is the operator's.
const MANAGER: &str = "mixnn-designer";

/// Tells the model's status what the events say.
pub struct Reporter(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    progress: Progress,
    /// Rises with every change.
    version: u64,
    /// What has been written.
    written: u64,
    /// To be written at once.
    urgent: bool,
    /// A trained model keeps its status until its training is taken up again.
    held: Option<Held>,
    /// Nobody is left to write to.
    over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter {
    /// Starts to write the status of the cluster's model. `weights`: where they will be kept, if anywhere.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(cluster: Cluster, weights: Option<String>) -> Result<Self, ClusterError> {
        let generation = cluster.model.metadata.generation;
        let mut progress = Progress::new(generation, weights, Timestamp::now());
        let mut held = None;
        match cluster.ask("reading the model", || cluster.models.get(&cluster.name)) {
            Ok(found) => {
                let old = found.status.unwrap_or_default();
                progress.take_up(old.training.clone(), &old.conditions);
                let trained = old.conditions.iter().any(|c| {
                    c.type_ == condition::TRAINED
                        && c.status == "True"
                        && c.observed_generation == generation
                });
                let starts = ("DesignerStarts", "its designer starts anew");
                let first = old.unserved(starts.0, starts.1, Timestamp::now());
                held = trained.then_some(Held { first });
            }
            // Only figures of earlier come from it.
            Err(error) => tracing::warn!(%error, "the status of earlier is not known"),
        }
        Self::begin(cluster, progress, held)
    }

    /// Starts to write the status of the cluster's model while it is served. `offer`: what clients are told.
    ///
    /// # Errors
    /// What was said of its training cannot be read, or no thread can be started.
    pub fn of_served(cluster: Cluster, offer: ServingStatus) -> Result<Self, ClusterError> {
        let found = cluster.ask("reading the model", || cluster.models.get(&cluster.name))?;
        let status = found.status.unwrap_or_default();
        let generation = found.metadata.generation;
        let before = (status.training, status.conditions.as_slice());
        let progress = Progress::of_served(generation, offer, before, Timestamp::now());
        Self::begin(cluster, progress, None)
    }

    fn begin(
        cluster: Cluster,
        progress: Progress,
        held: Option<Held>,
    ) -> Result<Self, ClusterError> {
        let state = State { progress, version: 1, written: 0, urgent: false, held, over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let theirs = shared.clone();
        let write = move || write_for_ever(&cluster, &theirs);
        std::thread::Builder::new().name("reporter".into()).spawn(write)?;
        Ok(Self(shared))
    }

    /// Takes an event in. Returns at once, but for the last words: what the training came to.
    pub fn tell(&self, event: &Event) {
        let mut state = self.0.lock();
        if matches!(event, Event::Failed(failed) if failed.reason == SUPERSEDED) {
            // The status is another designer's now.
            state.over = true;
            return self.0.changed.notify_all();
        }
        let last = matches!(event, Event::Trained(_) | Event::Failed(_) | Event::ServingEnded(_));
        if !state.progress.event(event, Instant::now(), Timestamp::now()) {
            return;
        }
        state.version += 1;
        if last || matches!(event, Event::Plan(_)) {
            state.held = None;
        }
        state.urgent |= last;
        self.0.changed.notify_all();
        if last {
            let version = state.version;
            let waits = |s: &mut State| s.written < version && !s.over;
            let waited = self.0.changed.wait_timeout_while(state, LAST_WORD, waits);
            if waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
                tracing::warn!("the last status could not be written");
            }
        }
    }
}

fn write_for_ever(cluster: &Cluster, shared: &Shared) {
    let mut last: Option<Last> = None;
    while let Some((version, status)) = next(shared, last) {
        let written = write(cluster, &status);
        last = Some(Last { at: Instant::now(), well: written.is_ok() });
        let mut state = shared.lock();
        match written {
            Ok(()) => {
                if let Some(held) = &mut state.held {
                    held.first = None;
                }
                state.written = version;
                state.urgent &= state.version != version;
            }
            Err(Written::Over) => state.over = true,
            // As long as the next one is not due, the training does not wait for it.
            Err(Written::Failed(error)) => tracing::warn!(error, "the status was not written"),
        }
        drop(state);
        shared.changed.notify_all();
    }
}

/// A status that stays as it is.
struct Held {
    /// To be written first: that the designer before this one served the model is true no more.
    first: Option<MixNNModelStatus>,
}

/// The write before.
#[derive(Clone, Copy)]
struct Last {
    at: Instant,
    well: bool,
}

/// The next status to be written, once it is due. Nothing if there is no more to write to.
fn next(shared: &Shared, last: Option<Last>) -> Option<(u64, Value)> {
    let mut state = shared.lock();
    loop {
        if state.over {
            return None;
        }
        let first = state.held.as_ref().and_then(|held| held.first.as_ref());
        let news = first.is_some() || (state.version > state.written && state.held.is_none());
        let since = last.map_or(SELDOM, |l| l.at.elapsed());
        let pause = match last {
            Some(Last { well: true, .. }) if state.urgent => Duration::ZERO,
            _ if state.urgent || first.is_some() => AGAIN,
            _ => SELDOM,
        };
        if news && since >= pause {
            let first = first.map(|first| (state.written, json!(first)));
            return first.or_else(|| Some((state.version, status(&state.progress))));
        }
        let wait = if news { pause.saturating_sub(since) } else { Duration::from_secs(3600) };
        let waited = shared.changed.wait_timeout(state, wait.max(Duration::from_millis(10)));
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn status(progress: &Progress) -> Value {
    let mut status = json!({"training": progress.training(), "conditions": progress.conditions()});
    if let Some(serving) = progress.serving() {
        status["serving"] = json!(serving);
    }
    status
}

enum Written {
    /// The model is gone, or another one of its name has taken its place.
    Over,
    Failed(String),
}

fn write(cluster: &Cluster, status: &Value) -> Result<(), Written> {
    let patch = json!({
        "apiVersion": MixNNModel::api_version(&()), "kind": MixNNModel::kind(&()),
        "metadata": {"uid": cluster.model.metadata.uid}, "status": status,
    });
    let params = PatchParams::apply(MANAGER);
    let patch = Patch::Apply(patch);
    let write = cluster.models.patch_status(&cluster.name, &params, &patch);
    let written = cluster.runtime.block_on(async { tokio::time::timeout(WRITE, write).await });
    match written {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(kube::Error::Api(s))) if s.is_not_found() => Err(Written::Over),
        Ok(Err(kube::Error::Api(s))) if s.is_conflict() && s.message.contains("uid") => {
            Err(Written::Over)
        }
        Ok(Err(error)) => Err(Written::Failed(error.to_string())),
        Err(_) => Err(Written::Failed(format!("no answer within {} s", WRITE.as_secs()))),
    }
}
