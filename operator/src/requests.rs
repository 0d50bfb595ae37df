//! Counts requests to the API server: what an operator costs.

use crate::metrics::{Metrics, Outcome};
use kube::client::Body;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// Counts what passes through it.
#[derive(Clone)]
pub struct Counted(Family<Outcome, Counter>);

impl Counted {
    /// Into these figures.
    pub fn new(metrics: &Metrics) -> Self {
        Self(metrics.requests.clone())
    }
}

impl<S> Layer<S> for Counted {
    type Service = CountedService<S>;

    fn layer(&self, inner: S) -> CountedService<S> {
        CountedService { inner, counted: self.clone() }
    }
}

/// What sends requests.
#[derive(Clone)]
pub struct CountedService<S> {
    inner: S,
    counted: Counted,
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for CountedService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> S::Future {
        Metrics::count(&self.counted.0, &request.method().as_str().to_ascii_lowercase());
        self.inner.call(request)
    }
}
