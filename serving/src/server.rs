//! A running server.

use crate::guard::{Guard, guard};
use crate::listen::{Listen, serve};
use crate::service::Service;
use crate::{Authenticator, Backend, Batching, Limits, Metrics, Tls, grpc, rest};
use axum::Router;
use axum::middleware::from_fn_with_state;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a server needs.
pub struct ServerConfig {
    /// Where requests come in, REST and gRPC alike; non-blocking.
    pub listener: std::net::TcpListener,
    /// Plain HTTP if not set.
    pub tls: Option<Tls>,
    /// Everybody is let in if not set.
    pub authenticator: Option<Arc<dyn Authenticator>>,
    /// How requests are put together.
    pub batching: Batching,
    /// Bounds on strangers.
    pub limits: Limits,
    /// What computes.
    pub backend: Arc<dyn Backend>,
    /// How long requests may take to finish once the server drains.
    pub drain: Duration,
}

/// A running server; it ends at once when dropped.
pub struct Server {
    address: SocketAddr,
    service: Arc<Service>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts to serve, in the present tokio runtime.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn start(config: ServerConfig) -> std::io::Result<Self> {
        let ServerConfig { listener, tls, authenticator, batching, limits, backend, drain } =
            config;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let metrics = Arc::new(Metrics::default());
        let service = Arc::new(Service::new(backend, batching, metrics.clone()));
        let app = app(service.clone(), &limits, authenticator);
        let stop = CancellationToken::new();
        let listen = Listen { listener, tls, app, limits, metrics };
        let task = tokio::spawn(serve(listen, stop.clone(), drain));
        Ok(Self { address, service, stop, task })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// No longer ready, takes no connection, finishes what is under way, and ends.
    ///
    /// `notice` is for load balancers: so long it says that it is not ready, and still answers.
    pub async fn drain(mut self, notice: Duration) {
        self.service.end();
        tokio::time::sleep(notice).await;
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn app(
    service: Arc<Service>,
    limits: &Limits,
    authenticator: Option<Arc<dyn Authenticator>>,
) -> Router {
    let guarded = Arc::new(Guard::new(limits.clone(), authenticator));
    rest::routes(service.clone())
        .merge(grpc::routes(service, limits.body))
        .layer(from_fn_with_state(guarded, guard))
}
