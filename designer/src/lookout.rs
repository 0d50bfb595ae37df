//! Watches the directory on a thread of its own: who is there, and who no longer is.

use crate::DesignerError;
use mixnn_node::{NodeArgs, NodeError, RegistryClient};
use mixnn_protocol::registration::{Directory, Refusal};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Between requests that fail.
const PAUSE: Duration = Duration::from_millis(300);

/// The newest directory.
#[derive(Default)]
struct Seen {
    /// Rises with every directory that comes.
    number: AtomicU64,
    latest: Mutex<Directory>,
    /// This designer is no longer the one that drives its model.
    superseded: AtomicBool,
    stop: AtomicBool,
}

/// Watches the directory until it is dropped.
pub(crate) struct Lookout(Arc<Seen>);

impl Lookout {
    pub(crate) fn start(args: &NodeArgs) -> Result<Self, DesignerError> {
        let stopped = |e: std::io::Error| DesignerError::Stopped(e.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(stopped)?;
        let registry = RegistryClient::new(args)?;
        let seen = Arc::new(Seen::default());
        let theirs = seen.clone();
        let watch = move || runtime.block_on(watch(&registry, &theirs));
        std::thread::Builder::new().name("lookout".into()).spawn(watch).map_err(stopped)?;
        Ok(Self(seen))
    }

    /// Rises with every directory that comes; 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.0.number.load(Ordering::Acquire)
    }

    pub(crate) fn latest(&self) -> Directory {
        self.0.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refuses to go on once another designer has taken over.
    pub(crate) fn check(&self) -> Result<(), DesignerError> {
        if self.0.superseded.load(Ordering::Acquire) {
            return Err(DesignerError::Superseded);
        }
        Ok(())
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        // The thread ends with the request that it is waiting for, or with the process.
        self.0.stop.store(true, Ordering::Release);
    }
}

async fn watch(registry: &RegistryClient, seen: &Seen) {
    let mut version = 0;
    while !seen.stop.load(Ordering::Acquire) {
        match registry.directory_after(version).await {
            Ok(directory) if directory.version != version => {
                version = directory.version;
                *seen.latest.lock().unwrap_or_else(PoisonError::into_inner) = directory;
                seen.number.fetch_add(1, Ordering::AcqRel);
            }
            Ok(_) => {}
            Err(NodeError::Refused { reason, message }) if is_final(&reason) => {
                tracing::warn!(message, "this designer has been replaced");
                return seen.superseded.store(true, Ordering::Release);
            }
            Err(error) => {
                tracing::warn!(%error, "the directory cannot be read; training goes on");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_final(reason: &str) -> bool {
    reason == Refusal::SUPERSEDED || reason == "unauthorized"
}
