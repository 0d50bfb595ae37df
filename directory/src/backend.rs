//! Where registrations are kept.

use crate::{Identity, Refused, Registry};
use mixnn_protocol::Claim;
use mixnn_protocol::registration::{
    Advance, Directory, Head, LONG_POLL_SECONDS, Registered, Registration, Reviewed,
};
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Keeps registrations and claims: in memory on one machine, in the API server on a cluster.
pub trait Backend: Send + Sync + 'static {
    /// Registers a node's key: the first one only. The same request again gets the same answer.
    fn register(
        &self,
        identity: &Identity,
        registration: Registration,
    ) -> impl Future<Output = Result<Registered, Refused>> + Send;

    /// What the caller may see; with `after`, once its version is another, or after
    /// [`LONG_POLL_SECONDS`].
    fn directory(
        &self,
        identity: &Identity,
        after: Option<u64>,
    ) -> impl Future<Output = Result<Directory, Refused>> + Send;

    /// Puts claims into the stock of the designer's model.
    fn publish(
        &self,
        identity: &Identity,
        claims: Vec<Claim>,
    ) -> impl Future<Output = Result<(), Refused>> + Send;

    /// How far the designer's model has come.
    fn head(&self, identity: &Identity) -> impl Future<Output = Result<Head, Refused>> + Send;

    /// Compare-and-swap of the head of the designer's model. Who raises the term takes over.
    fn advance(
        &self,
        identity: &Identity,
        advance: &Advance,
    ) -> impl Future<Output = Result<Head, Refused>> + Send;

    /// Whether the caller is a designer that may still speak for its model.
    fn driver(&self, identity: &Identity) -> impl Future<Output = Result<(), Refused>> + Send;

    /// Whose a client's token is, and whether that client may ask the designer's model.
    fn review(
        &self,
        _identity: &Identity,
        _token: &str,
    ) -> impl Future<Output = Result<Reviewed, Refused>> + Send {
        std::future::ready(Err(Refused::Forbidden("reviews of clients: there is no Kubernetes")))
    }

    /// Called with the outcome of every request, `accepted` or the reason of its refusal, to be counted.
    fn answered(&self, _outcome: &'static str) {}
}

/// The registry in memory.
pub struct InMemory(Mutex<Registry>);

impl InMemory {
    pub(crate) const fn new(registry: Registry) -> Self {
        Self(Mutex::new(registry))
    }

    /// The registry. Hold it for a moment only.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for InMemory {
    async fn register(
        &self,
        identity: &Identity,
        registration: Registration,
    ) -> Result<Registered, Refused> {
        self.lock().register(identity, registration)
    }

    async fn directory(
        &self,
        identity: &Identity,
        after: Option<u64>,
    ) -> Result<Directory, Refused> {
        if let Some(after) = after {
            let mut versions = self.lock().versions();
            let newer = versions.wait_for(|version| *version != after);
            let _ = tokio::time::timeout(Duration::from_secs(LONG_POLL_SECONDS), newer).await;
        }
        self.lock().directory(identity)
    }

    async fn head(&self, identity: &Identity) -> Result<Head, Refused> {
        Registry::designer(identity).map(|model| self.lock().head(model))
    }

    async fn advance(&self, identity: &Identity, advance: &Advance) -> Result<Head, Refused> {
        self.lock().advance(identity, advance)
    }

    async fn driver(&self, identity: &Identity) -> Result<(), Refused> {
        self.lock().driver(identity).map(drop)
    }

    async fn publish(&self, identity: &Identity, claims: Vec<Claim>) -> Result<(), Refused> {
        self.lock().publish(identity, claims)
    }
}
