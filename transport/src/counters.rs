//! What a process counts. No label names a lane, a peer or a model.

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Counts of one process, also as Prometheus text.
pub struct Counters {
    /// Cells that came in whole.
    pub cells_in: Counter,
    /// Cells handed to a connection.
    pub cells_out: Counter,
    /// Letters that came in whole.
    pub letters_in: Counter,
    /// Letters that a peer took.
    pub letters_out: Counter,
    /// Open incoming connections.
    pub connections: Gauge,
    drops: Family<Reason, Counter>,
    registry: Mutex<Registry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Default for Counters {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("mixnn");
        let drops = Family::<Reason, Counter>::default();
        let counter = |registry: &mut Registry, name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let connections = Gauge::default();
        registry.register("connections", "Open incoming connections", connections.clone());
        registry.register("drops", "What was refused or lost, by reason", drops.clone());
        Self {
            cells_in: counter(&mut registry, "cells_in", "Cells received"),
            cells_out: counter(&mut registry, "cells_out", "Cells handed to a connection"),
            letters_in: counter(&mut registry, "letters_in", "Letters received"),
            letters_out: counter(&mut registry, "letters_out", "Letters delivered"),
            connections,
            drops,
            registry: Mutex::new(registry),
        }
    }
}

impl Counters {
    /// Counts something refused or lost.
    pub fn count(&self, reason: &'static str) {
        self.count_many(reason, 1);
    }

    /// Counts several.
    pub fn count_many(&self, reason: &'static str, n: u64) {
        self.drops.get_or_create(&Reason { reason }).inc_by(n);
    }

    /// How many were refused or lost for this reason.
    pub fn dropped(&self, reason: &'static str) -> u64 {
        self.drops.get_or_create(&Reason { reason }).get()
    }

    /// Adds a metric of the caller's own.
    pub fn with_registry<T>(&self, f: impl FnOnce(&mut Registry) -> T) -> T {
        f(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All counts in Prometheus' text format.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.with_registry(|registry| text::encode(&mut out, registry));
        out
    }
}

/// Answers every request on `listener` with the counts. Serve it where only the platform's scraper
/// comes: it is no part of the mix network.
pub async fn serve_metrics(listener: tokio::net::TcpListener, counters: Arc<Counters>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let body = counters.encode();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let exchange = async {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        };
        // One scraper at a time, two seconds each: nobody can hold more than this one buffer.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), exchange).await;
    }
}
