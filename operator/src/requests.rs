//! Counts and traces requests to the API server: what an operator costs.

use crate::metrics::{Metrics, Outcome};
use kube::client::Body;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span};

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

impl<S, B> Service<http::Request<Body>> for CountedService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let about = About::of(request.method(), request.uri());
        Metrics::count(&self.counted.0, about.verb);
        let span = about.span();
        let answer = self.inner.call(request);
        let traced = async move {
            let answer = answer.await;
            let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            Span::current().record("http.response.status_code", status);
            if !(100..500).contains(&status) {
                Span::current().record("otel.status_code", "ERROR");
            }
            answer
        };
        Box::pin(traced.instrument(span))
    }
}

/// What a request is about, without the names in it.
#[derive(Debug, PartialEq, Eq)]
struct About<'a> {
    /// As RBAC names it, but for `post`, `put`, which are `create`, `update` there.
    verb: &'static str,
    resource: &'a str,
    /// As `status`, if the request is about a part of an object.
    part: Option<&'a str>,
}

impl<'a> About<'a> {
    fn of(method: &http::Method, uri: &'a http::Uri) -> Self {
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let rest = match parts.as_slice() {
            ["api", _, rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => &[],
        };
        let rest = match rest {
            ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
            rest => rest,
        };
        let (resource, all, part) = match rest {
            [] => ("other", false, None),
            [resource] => (*resource, true, None),
            [resource, _] => (*resource, false, None),
            [resource, _, part, ..] => (*resource, false, Some(*part)),
        };
        let watch = uri.query().is_some_and(|q| q.split('&').any(|q| q == "watch=true"));
        let verb = match method.as_str() {
            "GET" if watch => "watch",
            "GET" if all => "list",
            "GET" => "get",
            "POST" => "post",
            "PUT" => "put",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "other",
        };
        Self { verb, resource, part }
    }

    /// A span until the head of the answer: of a watch that is its beginning.
    fn span(&self) -> Span {
        let Self { verb, resource, part } = self;
        let slash = if part.is_some() { "/" } else { "" };
        tracing::debug_span!(
            "request",
            otel.name = format!("{verb} {resource}{slash}{}", part.unwrap_or_default()),
            otel.kind = "client",
            otel.status_code = Empty,
            http.response.status_code = Empty,
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::About;
    use http::{Method, Uri};

    #[test]
    fn what_a_request_is_about_is_told_without_names() {
        let models = "/apis/mixnn.dev/v1alpha1";
        for (method, path, about) in [
            (Method::GET, "/api/v1/namespaces?watch=true&timeoutSeconds=290", "watch namespaces"),
            (Method::GET, "/api/v1/namespaces", "list namespaces"),
            (Method::GET, "/api/v1/namespaces/team-a", "get namespaces"),
            (Method::GET, "/api/v1/namespaces/team-a/pods?labelSelector=a", "list pods"),
            (Method::DELETE, "/api/v1/namespaces/team-a/pods/q3", "delete pods"),
            (Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews", "post tokenreviews"),
            (Method::GET, &format!("{models}/mixnnmodels"), "list mixnnmodels"),
            (
                Method::PATCH,
                &format!("{models}/namespaces/v/mixnnmodels/n/status"),
                "patch mixnnmodels/status",
            ),
            (Method::GET, "/version", "get other"),
            (Method::GET, "/", "get other"),
        ] {
            let uri: Uri = path.parse().unwrap();
            let About { verb, resource, part } = About::of(&method, &uri);
            let part = part.map(|part| format!("/{part}")).unwrap_or_default();
            assert_eq!(format!("{verb} {resource}{part}"), about, "{path}");
        }
    }
}
