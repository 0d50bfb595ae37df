//! The server on a thread of its own, so that requests do not wait for the ring, nor the ring for them.

use crate::DesignerError;
use mixnn_serving::{Backend, FrontArgs, Server};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A running server.
pub(super) struct Front {
    /// Where it listens.
    pub(super) url: String,
    ended: Arc<AtomicBool>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    /// Opens what the flags name and listens. SIGTERM and SIGINT make it drain.
    pub(super) fn start(
        args: &FrontArgs,
        backend: Arc<dyn Backend>,
    ) -> Result<Self, DesignerError> {
        let config = args.open(backend).map_err(DesignerError::Serving)?;
        let notice = Duration::from_secs(args.drain_notice);
        let ended = Arc::new(AtomicBool::new(false));
        let stop = CancellationToken::new();
        let (tell, started) = mpsc::channel();
        let (flag, until) = (ended.clone(), stop.clone());
        let body = move || {
            let run = async {
                let server = match Server::start(config) {
                    Ok(server) => server,
                    Err(error) => return drop(tell.send(Err(error.to_string()))),
                };
                let _ = tell.send(Ok(server.address()));
                tokio::select! {
                    () = mixnn_node::shutdown_signal() => server.drain(notice).await,
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
        let url = format!("{}://{address}", args.scheme());
        Ok(Self { url, ended, stop, thread: Some(thread) })
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
