//! What an operator tells of itself over OTLP: a real process sends, a collector decodes OpenTelemetry's own protobuf.

use super::common::{World, until};
use super::{Operator, free_port};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode as Outcome};
use prost::Message;
use std::process::Command;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

const SECRET: &str = "token-that-is-nobodys";

/// What a collector was sent.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    refused: bool,
    headers: HeaderMap,
    bodies: Vec<u8>,
    services: Vec<String>,
    spans: Vec<Span>,
}

/// A collector that is busy at first.
async fn take(State(all): State<Collected>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut all = all.0.lock().unwrap();
    if !std::mem::replace(&mut all.refused, true) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body.clone()) else {
        return StatusCode::BAD_REQUEST;
    };
    all.headers = headers;
    all.bodies.extend_from_slice(&body);
    for of in request.resource_spans {
        all.services.extend(text(&of.resource.unwrap().attributes, "service.name"));
        all.spans.extend(of.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
    StatusCode::OK
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

impl Collected {
    /// Waits for a span.
    async fn span(&self, what: &str, is: impl Fn(&Span) -> bool) -> Span {
        until(what, || async { self.0.lock().unwrap().spans.iter().find(|s| is(s)).cloned() }).await
    }
}

/// An operator finds models that others made, is called by somebody, and ends.
pub async fn a_traced_operator(world: &World) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let all = Collected::default();
    let routes = Router::new().route("/v1/traces", post(take)).with_state(all.clone());
    let collector = tokio::spawn(async move { axum::serve(listener, routes).await });
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20of-a-test".to_owned()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
    ];
    let mut operator = Operator::start(world, &["--registration-listen", &listen], &environment);
    operator.leads().await;
    call(port, "head").await;

    let of_a_model = |s: &Span| s.name == "patch serviceaccounts" && !s.parent_span_id.is_empty();
    let request = all.span("what is asked for a model", of_a_model).await;
    let reconcile = all.span("its reconciliation", |s| s.span_id == request.parent_span_id).await;
    assert_eq!((reconcile.name.as_str(), &reconcile.trace_id), ("reconcile", &request.trace_id));
    assert_eq!(text(&reconcile.attributes, "outcome").as_deref(), Some("ok"));
    assert_eq!(text(&reconcile.attributes, "model.namespace").as_deref(), Some("owner"));
    assert!(text(&reconcile.attributes, "model.name").unwrap().starts_with("net-"));
    let called = all.span("who called", |s| s.name == "registration head").await;
    assert_eq!(text(&called.attributes, "outcome").as_deref(), Some("unauthorized"));
    assert!(reconcile.status.is_none_or(|status| status.code() != Outcome::Error));

    // What it did last is told before it ends.
    call(port, "claims").await;
    let pid = operator.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || operator.child.wait().map(|s| (s, operator)));
    let (ended, _operator) = ended.await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
    all.span("the last call", |s| s.name == "registration claims").await;

    let all = all.0.lock().unwrap();
    assert_eq!(all.headers["authorization"], "Bearer of-a-test");
    assert_eq!(all.headers["content-type"], "application/x-protobuf");
    assert!(all.services.iter().all(|name| name == "mixnn-operator"));
    let said = String::from_utf8_lossy(&all.bodies);
    for word in [SECRET, &world.operator_token, "host-0"] {
        assert!(!said.contains(word), "spans tell of {word}");
    }
    collector.abort();
}

/// A caller with a token that is not good.
async fn call(port: u16, what: &str) {
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
    let url = format!("https://127.0.0.1:{port}/v1/{what}");
    let request = if what == "head" { http.get(url) } else { http.post(url) };
    assert_eq!(request.bearer_auth(SECRET).send().await.unwrap().status().as_u16(), 401);
}
