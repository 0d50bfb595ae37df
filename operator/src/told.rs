//! What was said last in each model's status. A watch brings back what was written a moment later; until it does,
//! what was written is newer than what was seen, and saying it twice would be for nothing.

use kube::ResourceExt;
use mixnn_crds::{MixNNModel, MixNNModelStatus};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For so long a change of mere numbers has to last before it is said.
const PATIENCE: Duration = Duration::from_secs(1);

/// Statuses as they were written, by the models' uids.
#[derive(Default)]
pub struct Told(Mutex<HashMap<String, Last>>);

#[derive(Default)]
struct Last {
    status: MixNNModelStatus,
    /// resourceVersion of the model with this status.
    version: u64,
    /// Since when there are other numbers to be said.
    since: Option<Instant>,
}

fn version(model: &MixNNModel) -> u64 {
    model.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0)
}

impl Told {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest status that is known of a model.
    pub fn newest(&self, model: &MixNNModel) -> MixNNModelStatus {
        let all = self.lock();
        let written =
            model.uid().and_then(|uid| all.get(&uid).filter(|w| w.version > version(model)));
        let seen = || model.status.clone().unwrap_or_default();
        written.map_or_else(seen, |written| written.status.clone())
    }

    /// A status was written; the API server gave the model with it.
    pub fn put(&self, model: &MixNNModel) {
        let status = model.status.clone().unwrap_or_default();
        // Only what the operator says is ever compared.
        let status = MixNNModelStatus { training: None, serving: None, ..status };
        let last = Last { status, version: version(model), since: None };
        self.lock().insert(model.uid().unwrap_or_default(), last);
    }

    /// There is nothing to be said.
    pub fn settled(&self, model: &MixNNModel) {
        let uid = model.uid().unwrap_or_default();
        self.lock().get_mut(&uid).into_iter().for_each(|last| last.since = None);
    }

    /// There are other numbers to be said. For how long yet they may change again before they are.
    pub fn pause(&self, model: &MixNNModel, now: Instant) -> Option<Duration> {
        let mut all = self.lock();
        let since =
            *all.entry(model.uid().unwrap_or_default()).or_default().since.get_or_insert(now);
        PATIENCE.checked_sub(now.duration_since(since)).filter(|left| !left.is_zero())
    }

    /// The model is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn model(version: &str, reason: &str) -> MixNNModel {
        serde_json::from_value(json!({
            "apiVersion": "mixnn.dev/v1alpha1", "kind": "MixNNModel",
            "metadata": {"name": "net", "uid": "u", "resourceVersion": version},
            "spec": {
                "podClasses": {"standard": {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}},
                "layers": [{"name": "a", "ops": [{"relu": {}}]}],
                "training": {
                    "dataset": {"digits": {"train": 1, "test": 1}}, "batchSize": 1, "epochs": 1, "optimizer": {"sgd": {"lr": 0.1}}, 
                },
            },
            "status": {"conditions": [], "reason": reason},
        }))
        .unwrap()
    }

    #[test]
    fn what_was_written_is_known_until_something_newer_is_seen() {
        let told = Told::default();
        let reason = |m: &MixNNModel| told.newest(m).reason.unwrap();
        let old = model("7", "old");
        assert_eq!(reason(&old), "old");
        told.put(&model("9", "written"));
        assert_eq!(reason(&old), "written", "the watch lags behind");
        assert_eq!(reason(&model("10", "newer")), "newer");
        told.forget("u");
        assert_eq!(reason(&old), "old");
    }

    #[test]
    fn numbers_are_said_once_they_stay_for_a_while() {
        let (told, now, net) = (Told::default(), Instant::now(), model("1", "x"));
        assert_eq!(told.pause(&net, now), Some(PATIENCE));
        assert_eq!(told.pause(&net, now + PATIENCE / 2), Some(PATIENCE / 2));
        assert_eq!(told.pause(&net, now + PATIENCE), None);
        told.settled(&net);
        assert_eq!(told.pause(&net, now + PATIENCE), Some(PATIENCE), "something else to be said");
    }
}
