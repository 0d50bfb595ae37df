//! HTTPS around the registry.

use crate::http::router;
use crate::{Authenticator, Registry};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mixnn_protocol::admission::Issuer;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// For a handshake, and for the header of a request.
const READ: Duration = Duration::from_secs(10);
/// Connections open at the same time.
const CONNECTIONS: usize = 4096;

/// The registry with what it needs to answer requests.
pub struct Service<A> {
    pub(crate) auth: A,
    pub(crate) issuer: Issuer,
    pub(crate) signing: Semaphore,
    registry: Mutex<Registry>,
}

impl<A: Authenticator> Service<A> {
    /// A service of these parts. `registry` must hold `issuer`'s public key.
    pub fn new(auth: A, issuer: Issuer, registry: Registry) -> Arc<Self> {
        Arc::new(Self { auth, issuer, signing: Semaphore::new(1), registry: Mutex::new(registry) })
    }

    /// The registry. Hold it for a moment only.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves until the future is dropped.
pub async fn serve<A: Authenticator>(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    service: Arc<Service<A>>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let router = router(service);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let (acceptor, router) = (acceptor.clone(), router.clone());
        connections.spawn(async move {
            let _place = place;
            let Ok(Ok(stream)) = tokio::time::timeout(READ, acceptor.accept(stream)).await else {
                return;
            };
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection ended badly");
            }
        });
    }
}
