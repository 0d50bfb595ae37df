//! What serving counts. No label names a client.

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    protocol: &'static str,
    result: &'static str,
}

/// Counts and times of one server, as Prometheus text.
pub struct Metrics {
    requests: Family<Outcome, Counter>,
    batch_size: Histogram,
    waited: Histogram,
    took: Histogram,
    pub(crate) connections: Gauge,
    pub(crate) evicted: Counter,
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("mixnn_serving");
        let requests = Family::<Outcome, Counter>::default();
        let batch_size = Histogram::new(exponential_buckets(1.0, 2.0, 10));
        // From a tenth of a millisecond to three seconds.
        let seconds = || Histogram::new(exponential_buckets(1e-4, 2.0, 15));
        let (waited, took) = (seconds(), seconds());
        let (connections, evicted) = (Gauge::default(), Counter::default());
        registry.register("requests", "Inference requests by result", requests.clone());
        registry.register("batch_samples", "Samples of a batch", batch_size.clone());
        let unit = Unit::Seconds;
        let help = "From a request's arrival to its batch's leaving";
        registry.register_with_unit("queue", help, unit.clone(), waited.clone());
        registry.register_with_unit(
            "request",
            "From a whole request to its answer",
            unit,
            took.clone(),
        );
        registry.register("connections", "Open connections", connections.clone());
        let help = "Idle connections closed to let others in";
        registry.register("connections_evicted", help, evicted.clone());
        Self { requests, batch_size, waited, took, connections, evicted, registry }
    }
}

impl Metrics {
    /// Counts a request, by protocol (`rest`, `grpc`) and how it ended.
    pub fn request(&self, protocol: &'static str, result: &'static str, took: Duration) {
        self.requests.get_or_create(&Outcome { protocol, result }).inc();
        self.took.observe(took.as_secs_f64());
    }

    pub(crate) fn batch(&self, samples: usize) {
        self.batch_size.observe(samples as f64);
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.waited.observe(time.as_secs_f64());
    }

    /// All counts in Prometheus' text format.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
