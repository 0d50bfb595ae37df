//! Why a request was refused, and how each protocol says it.

use crate::BackendError;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use std::time::Duration;

/// Why a request was refused or could not be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferError {
    /// The request is wrong: what, where, what would be right.
    #[error("{0}")]
    Invalid(String),
    /// There is no such model, version or path.
    #[error("{0}")]
    NotFound(String),
    /// The path is there, the method is not.
    #[error("{0}")]
    Method(String),
    /// No token, or one that is not known.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// It is known who asks, and that they may not.
    #[error("{0}")]
    Forbidden(String),
    /// More than the limit.
    #[error("{0}")]
    TooLarge(String),
    /// The client sent too many requests.
    #[error("too many requests: at most {per_second} a second for one client")]
    RateLimited {
        /// The limit.
        per_second: u32,
        /// When the next one would be taken.
        retry_after: Duration,
    },
    /// The request did not come in whole in time.
    #[error("the request did not come in whole within {0} s")]
    Slow(u64),
    /// Not now; another try is worth it.
    #[error("{message}")]
    Unavailable {
        /// What is missing.
        message: String,
        /// When another try is worth it.
        retry_after: Duration,
    },
    /// The computation failed.
    #[error("{0}")]
    Failed(String),
}

impl InferError {
    /// The server has more to do than it may hold.
    pub(crate) fn busy(what: &str) -> Self {
        Self::Unavailable { message: what.to_owned(), retry_after: Duration::from_secs(1) }
    }

    /// A short stable name, for metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::NotFound(_) => "not_found",
            Self::Method(_) => "method",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::TooLarge(_) => "too_large",
            Self::RateLimited { .. } => "rate_limited",
            Self::Slow(_) => "slow",
            Self::Unavailable { .. } => "unavailable",
            Self::Failed(_) => "failed",
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn code(&self) -> tonic::Code {
        match self {
            Self::Invalid(_) => tonic::Code::InvalidArgument,
            Self::NotFound(_) => tonic::Code::NotFound,
            Self::Method(_) => tonic::Code::Unimplemented,
            Self::Unauthenticated(_) => tonic::Code::Unauthenticated,
            Self::Forbidden(_) => tonic::Code::PermissionDenied,
            Self::TooLarge(_) | Self::RateLimited { .. } => tonic::Code::ResourceExhausted,
            Self::Slow(_) => tonic::Code::DeadlineExceeded,
            Self::Unavailable { .. } => tonic::Code::Unavailable,
            Self::Failed(_) => tonic::Code::Internal,
        }
    }

    /// Whole seconds for a Retry-After header, at least one.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Unavailable { retry_after, .. } | Self::RateLimited { retry_after, .. } => {
                Some(retry_after.as_secs_f64().ceil().max(1.0) as u64)
            }
            _ => None,
        }
    }
}

impl From<BackendError> for InferError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Unavailable { message, retry_after } => {
                Self::Unavailable { message, retry_after }
            }
            BackendError::Failed(message) => Self::Failed(message),
        }
    }
}

impl From<InferError> for tonic::Status {
    fn from(error: InferError) -> Self {
        let mut status = Self::new(error.code(), error.to_string());
        if let Some(value) = error.retry_after().and_then(|s| s.to_string().parse().ok()) {
            status.metadata_mut().insert("retry-after", value);
        }
        status
    }
}

/// The protocol's error body: `{"error": ".."}`.
impl IntoResponse for InferError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.to_string() });
        let mut response = (self.status(), axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self, Self::Unauthenticated(_)) {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
