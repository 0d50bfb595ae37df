//! A client that lets so many writes through and then hangs for ever: an operator that dies there.

use kube::client::Body;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::Notify;
use tower::{Layer, Service};

/// Lives for a number of writes.
#[derive(Clone)]
pub struct Mortal {
    left: Arc<AtomicI64>,
    /// Only records that are written again after a pod was made count.
    after_pods: bool,
    pods: Arc<AtomicBool>,
    dead: Arc<Notify>,
}

impl Mortal {
    /// Dies with the write after `writes`.
    pub fn new(writes: i64) -> Self {
        Self {
            left: Arc::new(AtomicI64::new(writes)),
            after_pods: false,
            pods: Arc::default(),
            dead: Arc::new(Notify::new()),
        }
    }

    /// Dies when it has made pods and is about to write that it did.
    pub fn before_it_says_so() -> Self {
        Self { after_pods: true, ..Self::new(0) }
    }

    fn counts(&self, request: &http::Request<Body>) -> bool {
        let (method, path) = (request.method(), request.uri().path());
        if method == http::Method::POST && path.ends_with("/pods") {
            self.pods.store(true, Ordering::SeqCst);
        }
        if self.after_pods {
            let again = method == http::Method::PUT && path.contains("/configmaps/run-");
            return again && self.pods.load(Ordering::SeqCst);
        }
        // The Lease and the operator's own Secrets are not what these tests are about.
        method != http::Method::GET && !path.contains("/leases") && !path.contains("/secrets")
    }

    /// Waits for its death.
    pub fn dead(&self) -> impl Future<Output = ()> + use<> {
        let dead = self.dead.clone();
        async move { dead.notified().await }
    }
}

impl<S> Layer<S> for Mortal {
    type Service = MortalService<S>;

    fn layer(&self, inner: S) -> MortalService<S> {
        MortalService { inner, mortal: self.clone() }
    }
}

/// What sends requests.
#[derive(Clone)]
pub struct MortalService<S> {
    inner: S,
    mortal: Mortal,
}

impl<S, R> Service<http::Request<Body>> for MortalService<S>
where
    S: Service<http::Request<Body>, Response = R>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: 'static,
{
    type Response = R;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<R, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let counted = self.mortal.counts(&request);
        let alive = !counted || self.mortal.left.fetch_sub(1, Ordering::SeqCst) > 0;
        if alive {
            return Box::pin(self.inner.call(request));
        }
        self.mortal.dead.notify_one();
        Box::pin(std::future::pending())
    }
}
