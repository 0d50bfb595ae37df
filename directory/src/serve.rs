//! HTTPS around the registry.

use crate::http::router;
use crate::{Authenticator, Backend, InMemory, Registry};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mixnn_protocol::admission::Issuer;
use mixnn_transport::Counters;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Connections open at the same time.
const CONNECTIONS: usize = 4096;

/// Requests for tokens that wait or are served at the same time.
const WAITING: usize = 256;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a handshake, and for the header of a request.
    pub read: Duration,
    /// For a request in all, its body and the wait for a turn to sign included.
    pub request: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { read: Duration::from_secs(10), request: Duration::from_secs(30) }
    }
}

/// The registry with what it needs to answer requests.
pub struct Service<A, B = InMemory> {
    pub(crate) auth: A,
    pub(crate) issuer: Issuer,
    /// Turns to sign.
    pub(crate) signing: Semaphore,
    /// Requests for tokens that may wait for their turn.
    pub(crate) waiting: Semaphore,
    counters: Arc<Counters>,
    pub(crate) backend: B,
}

impl<A: Authenticator> Service<A> {
    /// A service that keeps registrations in memory. `registry` must hold `issuer`'s public key.
    pub fn new(auth: A, issuer: Issuer, registry: Registry) -> Arc<Self> {
        Self::signing(cores(), auth, issuer, InMemory::new(registry))
    }

    /// The registry. Hold it for a moment only.
    pub fn registry(&self) -> MutexGuard<'_, Registry> {
        self.backend.lock()
    }
}

impl<A: Authenticator, B: Backend> Service<A, B> {
    /// A service of these parts. `backend` must answer with `issuer`'s public key. Owners cannot fill more
    /// than half of the cores with RSA, which is slow.
    pub fn with_backend(auth: A, issuer: Issuer, backend: B) -> Arc<Self> {
        Self::signing(cores().div_ceil(2), auth, issuer, backend)
    }

    fn signing(at_once: usize, auth: A, issuer: Issuer, backend: B) -> Arc<Self> {
        let (signing, waiting) = (Semaphore::new(at_once), Semaphore::new(WAITING));
        Arc::new(Self { auth, issuer, signing, waiting, counters: Arc::default(), backend })
    }

    /// What was refused, by reason.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

/// Serves until the future is dropped.
pub async fn serve<A: Authenticator, B: Backend>(
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    service: Arc<Service<A, B>>,
    patience: Patience,
) {
    let acceptor = TlsAcceptor::from(tls);
    let counters = service.counters.clone();
    let router = router(service, patience.request);
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
        let connection = connection(stream, acceptor.clone(), router.clone(), patience.read);
        let counters = counters.clone();
        connections.spawn(async move {
            let _place = place;
            if let Err(reason) = connection.await {
                counters.count(reason);
            }
        });
    }
}

/// Serves one connection. The error is the reason to count it under.
async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    router: Router,
    read: Duration,
) -> Result<(), &'static str> {
    let handshake = tokio::time::timeout(read, acceptor.accept(stream)).await;
    let stream = handshake.map_err(|_| "slow-handshake")?.map_err(|_| "bad-tls")?;
    let service = TowerToHyperService::new(router);
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(read)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(|_| "bad-http")
}
