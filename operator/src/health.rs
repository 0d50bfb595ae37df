//! /healthz, /readyz, /metrics.

use crate::context::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;

#[derive(Clone)]
struct Health {
    context: Arc<Context>,
    ready: Arc<AtomicBool>,
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, context: Arc<Context>, ready: Arc<AtomicBool>) {
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Health { context, ready });
    if let Err(error) = axum::serve(listener, routes).await {
        tracing::error!(%error, "health and metrics are not served any more");
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not everything has been listed yet")
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    let metrics = &health.context.metrics;
    metrics.count_models(&health.context.world.records());
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], metrics.encode()).into_response()
}
