//! Designers on nodes that do not answer. A StatefulSet makes no other pod until the node's kubelet has said
//! that the last one ended; here nobody waits for that. The designer's term keeps a living one from doing harm.

use crate::context::Context;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks at a designer that is not ready.
const LOOK: Duration = Duration::from_secs(5);

/// Which designers are to be looked at, and when: those whose StatefulSet is not as it is to be, as long as it is
/// not.
#[derive(Default)]
pub struct Looks(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// When to look, by workload.
    due: HashMap<String, Instant>,
    /// Workloads whose StatefulSet has no pod that is ready.
    gone: HashSet<String>,
    /// Uids of pods that are to end, and since when that is known, by workload.
    ending: HashMap<String, (String, Instant)>,
}

impl Looks {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The StatefulSet of this workload's designer was seen. Gives whether there may be something to do.
    pub fn seen(&self, workload: &str, set: &StatefulSet) -> bool {
        let (well, gone) = (is_well(set), ready(set) == 0);
        let mut seen = self.lock();
        if well {
            seen.due.remove(workload);
            seen.ending.remove(workload);
        } else {
            seen.due.entry(workload.to_owned()).or_insert_with(|| Instant::now() + LOOK);
        }
        if gone {
            seen.gone.insert(workload.to_owned());
        } else {
            seen.gone.remove(workload);
        }
        gone || !well
    }

    /// Whether no pod of the designer is ready.
    pub fn is_gone(&self, workload: &str) -> bool {
        self.lock().gone.contains(workload)
    }

    /// There is no such workload any more.
    pub fn forget(&self, workload: &str) {
        let mut seen = self.lock();
        seen.due.remove(workload);
        seen.gone.remove(workload);
        seen.ending.remove(workload);
    }

    /// For how long it is known that this pod of a workload's designer is to end.
    fn ending(&self, workload: &str, pod: &str, now: Instant) -> Duration {
        let mut seen = self.lock();
        let known = seen.ending.entry(workload.to_owned()).or_insert_with(|| (pod.to_owned(), now));
        if known.0 != pod {
            *known = (pod.to_owned(), now);
        }
        now.duration_since(known.1)
    }

    /// Whether to look now; the next look is then due in a while. Else for how long not.
    fn begin(&self, workload: &str, now: Instant) -> Result<(), Option<Duration>> {
        let mut seen = self.lock();
        let Some(next) = seen.due.get_mut(workload) else { return Err(None) };
        if *next > now {
            return Err(Some(*next - now));
        }
        *next = now + LOOK;
        Ok(())
    }
}

/// Whether a StatefulSet has the pods that it is to have, and all of them are ready.
fn is_well(set: &StatefulSet) -> bool {
    let wanted = set.spec.as_ref().and_then(|s| s.replicas);
    let Some(status) = &set.status else { return false };
    let known = status.observed_generation == set.metadata.generation;
    known && Some(status.replicas) == wanted && ready(set) == status.replicas
}

fn ready(set: &StatefulSet) -> i32 {
    set.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0)
}

/// Looks at a designer's pod if that is due, and removes it by force if it was to end and its node has been
/// silent too long. Gives when to look again.
///
/// # Errors
/// What the API said.
pub async fn release(
    context: &Context,
    workload: &str,
    namespace: &str,
    stateful_set: &str,
) -> Result<Option<Duration>, kube::Error> {
    if let Err(pause) = context.looks.begin(workload, Instant::now()) {
        return Ok(pause);
    }
    look(context, workload, namespace, stateful_set).await?;
    Ok(Some(LOOK))
}

async fn look(
    context: &Context,
    workload: &str,
    namespace: &str,
    stateful_set: &str,
) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let name = format!("{stateful_set}-0");
    let Some(pod) = api.get_opt(&name).await? else { return Ok(()) };
    if pod.metadata.deletion_timestamp.is_none() {
        return Ok(());
    }
    // From when it was seen first: this operator's clock may differ from the API server's.
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
    let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
    let since = context.looks.ending(workload, &pod.uid().unwrap_or_default(), Instant::now());
    if since >= context.settings.pods.lost_after.saturating_add(grace) {
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
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn set(wanted: i32, there: i32, ready: i32) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"generation": 2}, "spec": {"replicas": wanted, "selector": {}, "serviceName": "", "template": {}},
            "status": {"observedGeneration": 2, "replicas": there, "readyReplicas": ready},
        }))
        .unwrap()
    }

    #[test]
    fn only_a_designer_that_is_not_well_is_looked_at_again_and_again() {
        let (looks, now) = (Looks::default(), Instant::now());
        assert_eq!(looks.begin("uid", now), Err(None), "none was seen");
        assert!(looks.seen("uid", &set(1, 0, 0)));
        assert!(looks.begin("uid", now).is_err_and(|pause| pause.is_some()), "it may only start");
        let later = now + 2 * LOOK;
        assert_eq!(looks.begin("uid", later), Ok(()));
        assert!(looks.seen("uid", &set(1, 1, 0)), "what changes meanwhile makes it no later");
        assert_eq!(looks.begin("uid", later), Err(Some(LOOK)));
        assert_eq!(looks.begin("uid", later + LOOK), Ok(()));
        assert!(looks.is_gone("uid"));
        assert!(!looks.seen("uid", &set(1, 1, 1)));
        assert!(!looks.is_gone("uid"));
        assert_eq!(looks.begin("uid", later + 9 * LOOK), Err(None));
    }

    #[test]
    fn a_pod_that_is_to_end_is_given_its_time_from_when_that_was_seen() {
        let (looks, now) = (Looks::default(), Instant::now());
        assert_eq!(looks.ending("uid", "pod", now), Duration::ZERO);
        assert_eq!(looks.ending("uid", "pod", now + LOOK), LOOK);
        assert_eq!(looks.ending("uid", "next", now + LOOK), Duration::ZERO);
    }

    #[test]
    fn a_set_is_well_if_all_that_it_is_to_have_is_ready() {
        for (wanted, there, ready) in [(1, 1, 0), (1, 0, 0), (0, 1, 1), (0, 1, 0)] {
            assert!(!is_well(&set(wanted, there, ready)), "{wanted} {there} {ready}");
        }
        assert!(is_well(&set(1, 1, 1)) && is_well(&set(0, 0, 0)));
        let mut unseen = set(1, 1, 1);
        unseen.metadata.generation = Some(3);
        assert!(!is_well(&unseen), "its controller has not seen its newest spec");
    }
}
