//! Where registrations are kept.

use crate::{Identity, Refused, Registry};
use mixnn_protocol::Claim;
use mixnn_protocol::registration::{Directory, Registered, Registration};
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps registrations and claims: in memory on one machine, in the API server on a cluster.
pub trait Backend: Send + Sync + 'static {
    /// Registers a node's key: the first one only. The same request again gets the same answer.
    fn register(
        &self,
        identity: &Identity,
        registration: Registration,
    ) -> impl Future<Output = Result<Registered, Refused>> + Send;

    /// What the caller may see.
    fn directory(
        &self,
        identity: &Identity,
    ) -> impl Future<Output = Result<Directory, Refused>> + Send;

    /// Puts claims into the stock of the designer's model.
    fn publish(
        &self,
        identity: &Identity,
        claims: Vec<Claim>,
    ) -> impl Future<Output = Result<(), Refused>> + Send;

    /// Called with the outcome of every request, `accepted` or the reason of its refusal, to be counted.
    fn answered(&self, _outcome: &'static str) {}
}

/// The registry in memory.
pub struct InMemory(Mutex<Registry>);

impl InMemory {
    pub(crate) const fn new(registry: Registry) -> Self {
        Self(Mutex::new(registry))
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
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

    async fn directory(&self, identity: &Identity) -> Result<Directory, Refused> {
        Ok(self.lock().directory(identity))
    }

    async fn publish(&self, identity: &Identity, claims: Vec<Claim>) -> Result<(), Refused> {
        self.lock().publish(identity, claims)
    }
}
