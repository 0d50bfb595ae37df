//! The requests, as routes.

use crate::core::Refused;
use crate::serve::Service;
use crate::{Authenticator, Backend, Identity};
use axum::extract::{DefaultBodyLimit, FromRequestParts, RawQuery, Request, State};
use axum::http::header::{AUTHORIZATION, CONNECTION, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use mixnn_protocol::registration::{
    Advance, Bytes, Claims, Directory, Head, MAX_REVIEWED, MAX_TOKENS, Refusal, Registered,
    Registration, Review, Reviewed, TIME_HEADER, Tokens, TokensRequest,
};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::field::Empty;
use tracing::{Instrument, Span};
use zeroize::Zeroizing;

/// The longest request body: a full request for tokens.
const MAX_BODY: usize = 256 << 10;

pub(crate) fn router<A: Authenticator, B: Backend>(
    service: Arc<Service<A, B>>,
    within: Duration,
) -> Router {
    Router::new()
        .route("/v1/register", post(register::<A, B>))
        .route("/v1/directory", get(directory::<A, B>))
        .route("/v1/head", get(head::<A, B>).post(advance::<A, B>))
        .route("/v1/claims", post(claims::<A, B>))
        .route("/v1/tokens", post(tokens::<A, B>))
        .route("/v1/review", post(review::<A, B>))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state((service.clone(), within), bounded::<A, B>))
        .with_state(service)
}

/// Bounds a request in time, and counts it under its reason if it is refused.
async fn bounded<A: Authenticator, B: Backend>(
    State((service, within)): State<(Arc<Service<A, B>>, Duration)>,
    request: Request,
    next: Next,
) -> Response {
    let span = span(&request);
    let answer = tokio::time::timeout(within, next.run(request).instrument(span.clone())).await;
    let mut answer = answer.unwrap_or_else(|_| {
        let message = format!("the request was not complete after {} s", within.as_secs());
        let mut answer = refuse(StatusCode::REQUEST_TIMEOUT, "slow-request", &message);
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        answer
    });
    let outcome = if answer.status().is_success() { "accepted" } else { reason(&answer) };
    if !answer.status().is_success() {
        service.counters().count(outcome);
    }
    service.backend.answered(outcome);
    span.record("outcome", outcome);
    span.record("http.response.status_code", answer.status().as_u16());
    tell_time(&mut answer);
    answer
}

/// A span of a request, by what is asked: who asks is told by his token, which is in no span. None of polls of the
/// directory, most of whose time is waiting.
fn span(request: &Request) -> Span {
    let what = match request.uri().path() {
        "/v1/directory" => return Span::none(),
        "/v1/register" => "register",
        "/v1/head" => "head",
        "/v1/claims" => "claims",
        "/v1/tokens" => "tokens",
        "/v1/review" => "review",
        _ => "other",
    };
    tracing::debug_span!(
        "registration",
        otel.name = format!("registration {what}"),
        otel.kind = "server",
        outcome = Empty,
        http.response.status_code = Empty,
    )
}

/// What the platform's clock says: the nodes' own may say anything.
fn tell_time(answer: &mut Response) {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
    answer.headers_mut().insert(TIME_HEADER, HeaderValue::from(millis));
}

/// Why a request was refused: by our rules, or by the reader of requests before them.
fn reason(answer: &Response) -> &'static str {
    if let Some(Reason(reason)) = answer.extensions().get() {
        return reason;
    }
    match answer.status() {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => "no-such-request",
        StatusCode::PAYLOAD_TOO_LARGE => "too-large",
        _ => "malformed",
    }
}

/// A refusal's reason, carried beside its answer.
#[derive(Clone, Copy)]
struct Reason(&'static str);

/// A caller whose token is good.
struct Caller(Identity);

impl<A: Authenticator, B: Backend> FromRequestParts<Arc<Service<A, B>>> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(
        parts: &mut Parts,
        service: &Arc<Service<A, B>>,
    ) -> Result<Self, Refused> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|h| h.to_str().ok());
        let token = header.and_then(|h| h.strip_prefix("Bearer "));
        let token = token.ok_or(Refused::Unauthorized)?;
        service.auth.authenticate(token).await.map(Self)
    }
}

async fn register<A: Authenticator, B: Backend>(
    State(service): State<Arc<Service<A, B>>>,
    Caller(identity): Caller,
    Json(registration): Json<Registration>,
) -> Result<Json<Registered>, Refused> {
    service.backend.register(&identity, registration).await.map(Json)
}

async fn directory<A: Authenticator, B: Backend>(
    State(service): State<Arc<Service<A, B>>>,
    Caller(identity): Caller,
    RawQuery(query): RawQuery,
) -> Result<Json<Directory>, Refused> {
    let after = query.as_deref().and_then(|q| q.strip_prefix("after=")?.parse::<u64>().ok());
    service.backend.directory(&identity, after).await.map(Json)
}

async fn head<A: Authenticator, B: Backend>(
    State(service): State<Arc<Service<A, B>>>,
    Caller(identity): Caller,
) -> Result<Json<Head>, Refused> {
    service.backend.head(&identity).await.map(Json)
}

async fn advance<A: Authenticator, B: Backend>(
    State(service): State<Arc<Service<A, B>>>,
    Caller(identity): Caller,
    Json(request): Json<Advance>,
) -> Result<Json<Head>, Refused> {
    service.backend.advance(&identity, &request).await.map(Json)
}

async fn claims<A: Authenticator, B: Backend>(
    State(service): State<Arc<Service<A, B>>>,
    Caller(identity): Caller,
    Json(claims): Json<Claims>,
) -> Result<StatusCode, Refused> {
    service.backend.publish(&identity, claims.claims).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn tokens<A: Authenticator, B: Backend>(
    State(service): State<Arc<Service<A, B>>>,
    Caller(identity): Caller,
    Json(request): Json<TokensRequest>,
) -> Result<Json<Tokens>, Refused> {
    service.backend.driver(&identity).await?;
    if request.blinded.len() > MAX_TOKENS {
        return Err(Refused::Bad(format!("more than {MAX_TOKENS} tokens in one request")));
    }
    let _place = service.waiting.try_acquire().map_err(|_| Refused::Busy)?;
    let _turn = service.signing.acquire().await;
    let signer = service.clone();
    let sign = move || {
        let one = |blinded: &Bytes| signer.issuer.sign(&blinded.0).map(Bytes);
        request.blinded.iter().map(one).collect::<Result<Vec<_>, _>>()
    };
    match tokio::task::spawn_blocking(sign).await {
        Ok(Ok(signatures)) => Ok(Json(Tokens { signatures })),
        Ok(Err(error)) => Err(Refused::Bad(error.to_string())),
        Err(_) => Err(Refused::Bad("signing was cut off; try again".into())),
    }
}

async fn review<A: Authenticator, B: Backend>(
    State(service): State<Arc<Service<A, B>>>,
    Caller(identity): Caller,
    Json(review): Json<Review>,
) -> Result<Json<Reviewed>, Refused> {
    let token = Zeroizing::new(review.token);
    if token.len() > MAX_REVIEWED {
        return Err(Refused::Bad(format!("a token of more than {MAX_REVIEWED} bytes")));
    }
    service.backend.review(&identity, &token).await.map(Json)
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Conflict | Self::HeadMoved => StatusCode::CONFLICT,
            Self::Superseded => StatusCode::GONE,
            Self::NoClaim | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooMany(_) | Self::Busy => StatusCode::TOO_MANY_REQUESTS,
        };
        let mut response = refuse(status, self.reason(), &self.to_string());
        let seconds = match &self {
            Self::NoClaim | Self::Unavailable(_) | Self::Busy => "1",
            // Until nodes have gone, or claims are borne.
            Self::TooMany(_) => "30",
            _ => return response,
        };
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        response
    }
}

fn refuse(status: StatusCode, reason: &'static str, message: &str) -> Response {
    let refusal = Refusal { reason: reason.to_owned(), message: message.to_owned() };
    let mut answer = (status, Json(refusal)).into_response();
    answer.extensions_mut().insert(Reason(reason));
    answer
}
