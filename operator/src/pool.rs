//! The shared pool of relays: a workload like a model's, without layers or designer.

use crate::context::Context;
use crate::drive::drive;
use crate::metrics::Metrics;
use crate::plan::{Stand, Wants};
use crate::record::{Pin, WorkloadRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// After an error.
const AGAIN: Duration = Duration::from_secs(5);
/// The pool is not in a hurry, and other gangs shall not wait for it.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Drives the pool whenever it is told to, for as long as this replica leads.
pub async fn run(context: Arc<Context>, told: Arc<Notify>) {
    if context.settings.shared_relays == 0 {
        return;
    }
    let wants = wants(&context);
    let mut said = None;
    loop {
        let pause = match drive(&context, &wants, None).await {
            Ok(driven) => {
                for (_, loss) in &driven.lost {
                    Metrics::count(&context.metrics.lost, loss.text());
                }
                tracing::debug!(stand = ?driven.stand, "the shared relays");
                let trouble = trouble(&driven.stand);
                if let Some(trouble) = trouble.as_ref().filter(|t| said.as_ref() != Some(*t)) {
                    tracing::warn!(
                        trouble,
                        "the shared relays run where a MixNNHost admits the operator's own namespace"
                    );
                }
                said = trouble;
                driven.wait
            }
            Err(error) => {
                tracing::warn!(%error, "the shared relays could not be seen to");
                Some(AGAIN)
            }
        };
        match pause {
            Some(pause) => drop(tokio::time::timeout(pause, told.notified()).await),
            None => told.notified().await,
        }
    }
}

/// Why there are too few of them. No model's status tells it.
fn trouble(stand: &Stand) -> Option<String> {
    match stand {
        Stand::NoHosts(_, message) | Stand::Short(_, message) | Stand::Refused(_, message) => {
            Some(message.clone())
        }
        _ => None,
    }
}

fn wants(context: &Context) -> Wants {
    let settings = &context.settings;
    Wants {
        workload: WorkloadRef::shared(&settings.namespace),
        layers: BTreeMap::new(),
        spares: 0,
        relays: settings.shared_relays,
        max_layers_per_host: 0,
        timeout: TIMEOUT,
        suspend: false,
        serving: false,
        pin: Pin {
            layer_image: settings.pods.layer_image.clone(),
            relay_image: settings.pods.relay_image.clone(),
            designer_image: settings.pods.designer_image.clone(),
            suite: settings.shared_suite,
            classes: BTreeMap::new(),
            relay_class: settings.relay_class(),
            protocol_version: mixnn_protocol::VERSION,
        },
    }
}
