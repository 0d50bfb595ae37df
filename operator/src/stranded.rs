//! Designers on nodes that do not answer. A StatefulSet makes no other pod until the node's kubelet has said
//! that the last one ended; here nobody waits for that. The designer's term keeps a living one from doing harm.

use crate::context::Context;
use crate::world::now;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::SignedDuration;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, ResourceExt};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks at a designer that is not ready.
const LOOK: Duration = Duration::from_secs(5);

/// Which designers have been looked at, and when they are to be looked at again by themselves: a change of
/// their StatefulSet is a reason to look at once, and one that is well is left alone.
#[derive(Default)]
pub struct Looks(Mutex<HashMap<String, Option<Instant>>>);

impl Looks {
    /// Something about this workload's designer may have changed.
    pub fn changed(&self, workload: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(workload);
    }

    /// Whether to look now; takes down that it is being done. Else for how long not.
    fn begin(&self, workload: &str, now: Instant) -> Result<(), Option<Duration>> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match looks.get(workload) {
            Some(None) => return Err(None),
            Some(Some(next)) if *next > now => return Err(Some(*next - now)),
            _ => looks.insert(workload.to_owned(), None),
        };
        Ok(())
    }

    /// When to look again. Not taken down if there was a change meanwhile.
    fn next(&self, workload: &str, pause: Option<Duration>) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = looks.get_mut(workload) {
            *next = pause.map(|pause| Instant::now() + pause);
        }
    }
}

/// Looks at a designer's pod if there is reason to, and removes it by force if it was to end and its node has been
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
    let looked = look(context, namespace, stateful_set).await;
    match &looked {
        Ok(pause) => context.looks.next(workload, *pause),
        Err(_) => context.looks.changed(workload),
    }
    looked
}

async fn look(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_designer_that_is_well_is_left_alone_until_something_changes() {
        let (looks, now) = (Looks::default(), Instant::now());
        assert_eq!(looks.begin("uid", now), Ok(()));
        looks.next("uid", None);
        assert_eq!(looks.begin("uid", now + LOOK), Err(None));
        looks.changed("uid");
        assert_eq!(looks.begin("uid", now), Ok(()));
        looks.next("uid", Some(LOOK));
        assert!(looks.begin("uid", now).is_err_and(|pause| pause.is_some()));
        assert_eq!(looks.begin("uid", now + 2 * LOOK), Ok(()));
    }

    #[test]
    fn a_change_while_it_is_looked_at_is_a_reason_to_look_again() {
        let looks = Looks::default();
        assert_eq!(looks.begin("uid", Instant::now()), Ok(()));
        looks.changed("uid");
        looks.next("uid", None);
        assert_eq!(looks.begin("uid", Instant::now()), Ok(()));
    }
}
