//! The server on a thread of its own, so that requests do not wait for the ring, nor the ring for them.

use crate::DesignerError;
use mixnn_serving::{Authenticator, Backend, FrontArgs, Server, Tls};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A running server.
pub(super) struct Front {
    /// Where clients find it.
    pub(super) url: String,
    /// Cancelled, it makes the server drain.
    pub(super) enough: CancellationToken,
    ended: Arc<AtomicBool>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// What of a front is not told by flags.
#[derive(Default)]
pub(super) struct Wall {
    pub(super) tls: Option<Tls>,
    pub(super) authenticator: Option<Arc<dyn Authenticator>>,
    /// Where clients find it, if not where it listens.
    pub(super) url: Option<String>,
}

impl Front {
    /// Opens what the flags name and listens. SIGTERM and SIGINT make it drain.
    pub(super) fn start(
        args: &FrontArgs,
        wall: Wall,
        backend: Arc<dyn Backend>,
    ) -> Result<Self, DesignerError> {
        let mut config = args.open(backend).map_err(DesignerError::Serving)?;
        config.tls = wall.tls.or(config.tls);
        config.authenticator = wall.authenticator.or(config.authenticator);
        let notice = Duration::from_secs(args.drain_notice);
        let ended = Arc::new(AtomicBool::new(false));
        let stop = CancellationToken::new();
        let (tell, started) = mpsc::channel();
        let enough = CancellationToken::new();
        let (flag, until, told) = (ended.clone(), stop.clone(), enough.clone());
        let body = move || {
            let run = async {
                let server = match Server::start(config) {
                    Ok(server) => server,
                    Err(error) => return drop(tell.send(Err(error.to_string()))),
                };
                let _ = tell.send(Ok(server.address()));
                tokio::select! {
                    () = mixnn_node::shutdown_signal() => server.drain(notice).await,
                    () = told.cancelled() => server.drain(notice).await,
                    // The model is gone: nobody would be answered.
                    () = until.cancelled() => {}
                }
            };
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(run),
                Err(error) => tracing::error!(%error, "no runtime for the server"),
            }
            flag.store(true, Ordering::Release);
        };
        let thread = std::thread::Builder::new().name("front".into()).spawn(body);
        let thread = thread.map_err(|e| DesignerError::Serving(e.to_string()))?;
        let address = started
            .recv()
            .unwrap_or_else(|_| Err("the server ended at once".into()))
            .map_err(DesignerError::Serving)?;
        let url = wall.url.unwrap_or_else(|| format!("{}://{address}", args.scheme()));
        Ok(Self { url, enough, ended, stop, thread: Some(thread) })
    }

    /// Whether every request has been answered, and none comes any more.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
