//! The REST side of the protocol.

mod compression;
mod infer;
mod json;
mod openapi;

use crate::InferError;
use crate::body::Reservation;
use crate::service::{EXTENSIONS, NAME, Service};
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use http_body_util::BodyExt;
use json::{IndexEntry, IndexRequest, ModelMetadata, ServerMetadata, TensorMetadata};
use std::sync::Arc;
use std::time::Instant;

type Shared = State<Arc<Service>>;
type Reserved = Extension<Arc<Reservation>>;

/// All paths.
pub(crate) fn routes(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(|| async { StatusCode::OK }))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{model}", get(metadata))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/infer", post(infer))
        .route("/v2/models/{model}/versions/{version}", get(version_metadata))
        .route("/v2/models/{model}/versions/{version}/ready", get(version_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(version_infer))
        .route("/v2/repository/index", post(index))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi))
        .method_not_allowed_fallback(method)
        .fallback(nowhere)
        .with_state(service)
}

async fn nowhere(uri: Uri) -> InferError {
    let path = crate::request::shortened(uri.path());
    InferError::NotFound(format!("no path '{path}'; /openapi.json lists them"))
}

async fn method() -> InferError {
    InferError::Method("this path has no such method; /openapi.json lists them".into())
}

async fn server() -> Json<ServerMetadata> {
    let version = env!("CARGO_PKG_VERSION");
    Json(ServerMetadata { name: NAME, version, extensions: &EXTENSIONS })
}

fn not_ready(reason: &str) -> InferError {
    InferError::busy(reason)
}

async fn ready(State(service): Shared) -> Result<StatusCode, InferError> {
    if service.ready() { Ok(StatusCode::OK) } else { Err(not_ready("the model is not ready")) }
}

async fn model_ready(
    State(service): Shared,
    Path(model): Path<String>,
) -> Result<StatusCode, InferError> {
    service.model(&model)?;
    ready(State(service)).await
}

async fn version_ready(
    State(service): Shared,
    Path((model, version)): Path<(String, String)>,
) -> Result<StatusCode, InferError> {
    service.model(&model)?;
    let version = service.version(Some(&version))?;
    if version.ready { ready(State(service)).await } else { Err(not_ready(&version.reason)) }
}

async fn metadata(
    State(service): Shared,
    Path(model): Path<String>,
) -> Result<Response, InferError> {
    describe(&service, &model)
}

async fn version_metadata(
    State(service): Shared,
    Path((model, version)): Path<(String, String)>,
) -> Result<Response, InferError> {
    service.model(&model)?;
    service.version(Some(&version))?;
    describe(&service, &model)
}

fn describe(service: &Service, model: &str) -> Result<Response, InferError> {
    let model = service.model(model)?;
    let body = ModelMetadata {
        name: &model.name,
        versions: service.versions().into_iter().map(|v| v.name).collect(),
        platform: &model.platform,
        inputs: model.inputs.iter().map(TensorMetadata::of).collect(),
        outputs: model.outputs.iter().map(TensorMetadata::of).collect(),
    };
    Ok(Json(body).into_response())
}

async fn infer(
    State(service): Shared,
    Path(model): Path<String>,
    Extension(reservation): Reserved,
    headers: HeaderMap,
    body: Body,
) -> Response {
    infer_any(&service, &model, None, &reservation, &headers, body).await
}

async fn version_infer(
    State(service): Shared,
    Path((model, version)): Path<(String, String)>,
    Extension(reservation): Reserved,
    headers: HeaderMap,
    body: Body,
) -> Response {
    infer_any(&service, &model, Some(&version), &reservation, &headers, body).await
}

async fn infer_any(
    service: &Service,
    model: &str,
    version: Option<&str>,
    reservation: &Reservation,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    let mut since = Instant::now();
    let result = async {
        let body = whole(body).await?;
        since = Instant::now();
        let body = compression::decompress(headers, body, reservation)?;
        infer::infer(service, model, version, headers, body).await
    }
    .await;
    service.done("rest", since, &result);
    match result {
        Ok(response) => compression::compress(headers, response).await,
        Err(error) => error.into_response(),
    }
}

/// The whole body; its bounds are the guard's.
async fn whole(body: Body) -> Result<Bytes, InferError> {
    let collected = body.collect().await.map_err(|error| {
        let inner = error.into_inner();
        match inner.downcast::<InferError>() {
            Ok(error) => *error,
            Err(other) => InferError::Invalid(format!("the body cannot be read: {other}")),
        }
    })?;
    Ok(collected.to_bytes())
}

async fn index(State(service): Shared, body: Body) -> Result<Json<Vec<IndexEntry>>, InferError> {
    let body = whole(body).await?;
    let asked: IndexRequest = if body.is_empty() {
        IndexRequest::default()
    } else {
        serde_json::from_slice(&body).map_err(|e| InferError::Invalid(format!("request: {e}")))?
    };
    let name = service.model_name();
    let entry = |v: crate::Version| IndexEntry {
        name: name.to_owned(),
        version: v.name,
        state: if v.ready { "READY" } else { "UNAVAILABLE" },
        reason: v.reason,
    };
    let wanted = |v: &crate::Version| v.ready || !asked.ready;
    Ok(Json(service.versions().into_iter().filter(wanted).map(entry).collect()))
}

async fn metrics(State(service): Shared) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let kind = HeaderValue::from_static(kind);
    ([(header::CONTENT_TYPE, kind)], service.metrics.encode()).into_response()
}

async fn openapi(State(service): Shared) -> Result<Json<serde_json::Value>, InferError> {
    openapi::document(&service).map(Json)
}
