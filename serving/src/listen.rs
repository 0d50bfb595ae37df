//! From a listening socket to requests: connections, TLS, HTTP/1.1 and HTTP/2 on one port.

use crate::connections::{Connections, Place};
use crate::guard::Peer;
use crate::limits::{HEAD, HEAD_TIME, STREAMS};
use crate::{Limits, Metrics, Tls};
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// After the system gave no connection: no descriptors, most likely.
const PAUSE: Duration = Duration::from_millis(50);
/// How often idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// What it takes to serve.
pub(crate) struct Listen {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Tls>,
    pub(crate) app: Router,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
}

/// What all connections share.
struct Shared {
    app: Router,
    connections: Arc<Connections>,
    http: Builder<TokioExecutor>,
    metrics: Arc<Metrics>,
}

/// Serves something else than a model, with the same bounds on connections.
pub async fn serve_app(
    listener: TcpListener,
    app: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let within = limits.request;
    let metrics = Arc::new(Metrics::default());
    serve(Listen { listener, tls: None, app, limits, metrics }, stop, within).await;
}

/// Serves until `stop`; then lets requests finish, at most as long as `within`.
pub(crate) async fn serve(listen: Listen, stop: CancellationToken, within: Duration) {
    let Listen { listener, tls, app, limits, metrics } = listen;
    let connections = Connections::new(limits.connections);
    let shared = Arc::new(Shared { app, connections: connections.clone(), http: http(), metrics });
    let graceful = GracefulShutdown::new();
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            _ = sweep.tick() => {
                connections.sweep(limits.idle);
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "no connection could be taken");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        // Every place is at work: this one is let go.
        let Some((place, ended)) = connections.enter() else { continue };
        shared.metrics.evicted.inc_by(ended as u64);
        let tls = tls.as_ref().map(Tls::config);
        tokio::spawn(shared.clone().connection(stream, tls, place, graceful.watcher()));
    }
    drop(listener);
    if tokio::time::timeout(within, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests were not finished in time");
    }
    connections.close_all();
}

fn http() -> Builder<TokioExecutor> {
    let mut http = Builder::new(TokioExecutor::new());
    // A client that has sent its whole request may close its half and still gets the answer.
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).half_close(true);
    http.http1().max_buf_size(HEAD);
    http.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
    http.http2().max_header_list_size(HEAD as u32).max_send_buf_size(256 << 10);
    http.http2().initial_stream_window_size(1 << 20).initial_connection_window_size(2 << 20);
    http.http2().keep_alive_interval(Duration::from_secs(30)).keep_alive_timeout(HEAD_TIME);
    http
}

impl Shared {
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        tls: Option<Arc<rustls::ServerConfig>>,
        place: Place,
        watcher: Watcher,
    ) {
        let close = place.connection.close.clone();
        self.metrics.connections.inc();
        tokio::select! {
            () = close.cancelled() => {}
            () = self.clone().talk(stream, tls, &place, watcher) => {}
        }
        self.metrics.connections.dec();
    }

    async fn talk(
        self: Arc<Self>,
        stream: TcpStream,
        tls: Option<Arc<rustls::ServerConfig>>,
        place: &Place,
        watcher: Watcher,
    ) {
        // Small answers must not wait for more to come.
        let _ = stream.set_nodelay(true);
        let Ok(address) = stream.peer_addr() else { return };
        let peer = Peer(address.ip());
        let Some(tls) = tls else { return self.http(stream, peer, place, watcher).await };
        let handshake = tokio_rustls::TlsAcceptor::from(tls).accept(stream);
        match tokio::time::timeout(HEAD_TIME, handshake).await {
            Ok(Ok(stream)) => self.http(stream, peer, place, watcher).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    async fn http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
        place: &Place,
        watcher: Watcher,
    ) {
        let answer = |mut request: hyper::Request<Incoming>| {
            let busy = self.connections.busy(&place.connection);
            request.extensions_mut().insert(peer);
            let response = self.app.clone().oneshot(request.map(Body::new));
            async move {
                let response = response.await;
                drop(busy);
                response
            }
        };
        let service = hyper::service::service_fn(answer);
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection ended");
        }
    }
}
