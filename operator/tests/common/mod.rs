//! A real control plane on loopback: etcd, kube-apiserver, kube-controller-manager, kube-scheduler.
//!
//! Nothing is faked but kubelets: nodes are API objects without machines, and [`Kubelet`] writes the
//! status of pods that the scheduler bound to them, as a kubelet would.

#![allow(clippy::unwrap_used, dead_code, unused_imports)]

pub mod cluster;
pub mod kubelet;
pub mod machine;
pub mod mortal;
pub mod objects;
pub mod team;

pub use cluster::Cluster;
pub use team::World;

use std::future::Future;
use std::time::{Duration, Instant};

/// Generous: the machine may be slow and busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until the answer is something.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let start = Instant::now();
    tracing::info!(what, "waiting");
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "gave up waiting: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
