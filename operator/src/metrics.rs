//! Figures of the operator, for Prometheus. None names a model, an owner or a host.

use crate::record::{Phase, Record};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// An outcome, as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// In one word.
    pub outcome: String,
}

/// Figures of the operator.
pub struct Metrics {
    /// Reconciliations by outcome.
    pub reconciliations: Family<Outcome, Counter>,
    /// Seconds that a reconciliation took.
    pub duration: Histogram,
    /// Requests to the registration service by outcome.
    pub registrations: Family<Outcome, Counter>,
    /// Pods that were lost, by how.
    pub lost: Family<Outcome, Counter>,
    /// Models by how far they are.
    pub models: Family<Outcome, Gauge>,
    /// Requests to the API server by verb: get, list, watch, post, put, patch, delete.
    pub requests: Family<Outcome, Counter>,
    /// Whether this replica leads.
    pub leader: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            reconciliations: Family::default(),
            duration: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            registrations: Family::default(),
            lost: Family::default(),
            models: Family::default(),
            requests: Family::default(),
            leader: Gauge::default(),
        }
    }
}

impl Metrics {
    /// All of them in Prometheus' text format. What has labels is there once it was counted.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut out, &self.registry());
        out
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("mixnn_operator");
        registry.register(
            "reconciliations",
            "Reconciliations by outcome",
            self.reconciliations.clone(),
        );
        registry.register(
            "reconcile_duration_seconds",
            "Time of a reconciliation",
            self.duration.clone(),
        );
        registry.register(
            "registrations",
            "Requests to the registration service by outcome",
            self.registrations.clone(),
        );
        registry.register("pods_lost", "Pods that were lost, by how", self.lost.clone());
        registry.register("models", "Models by how far they are", self.models.clone());
        registry.register(
            "api_requests",
            "Requests to the API server by verb",
            self.requests.clone(),
        );
        registry.register("leader", "1 if this replica leads", self.leader.clone());
        registry
    }

    /// Counts models by how far they are.
    pub fn count_models(&self, records: &[Arc<Record>]) {
        let state = |r: &Record| match r.phase {
            _ if r.suspended => "suspended",
            _ if r.finished => "finished",
            Phase::Admitting => "waiting",
            Phase::Lifted { .. } => "scheduling",
            Phase::Running => "running",
        };
        for outcome in ["suspended", "finished", "waiting", "scheduling", "running"] {
            let models = records.iter().filter(|r| !r.workload.is_shared() && state(r) == outcome);
            let gauge = self.models.get_or_create(&Outcome { outcome: outcome.to_owned() });
            gauge.set(models.count() as i64);
        }
    }

    /// One more of an outcome.
    pub fn count(family: &Family<Outcome, Counter>, outcome: &str) {
        family.get_or_create(&Outcome { outcome: outcome.to_owned() }).inc();
    }
}
