//! What every request passes first: token, rate, size, time. REST and gRPC alike.

use crate::body::{Budget, Metered, Reservation, too_large};
use crate::{Authenticator, Identity, InferError, Limits};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use http::{HeaderMap, header};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use zeroize::Zeroizing;

/// The address at a connection's other end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Clients known to the rate limiter before those who have been quiet are forgotten.
const CLIENTS: usize = 4096;

pub(crate) struct Guard {
    limits: Limits,
    budget: Arc<Budget>,
    authenticator: Option<Arc<dyn Authenticator>>,
    rates: Option<DefaultKeyedRateLimiter<Arc<str>>>,
    since_sweep: AtomicUsize,
}

impl Guard {
    pub(crate) fn new(limits: Limits, authenticator: Option<Arc<dyn Authenticator>>) -> Self {
        let quota = |r: crate::Rate| Quota::per_second(r.per_second).allow_burst(r.burst);
        Self {
            budget: Arc::new(Budget::new(limits.buffered)),
            rates: limits.rate.map(|rate| RateLimiter::keyed(quota(rate))),
            authenticator,
            limits,
            since_sweep: AtomicUsize::new(0),
        }
    }

    async fn admit(&self, asked: Asked) -> Result<(), InferError> {
        if asked.is_open {
            return Ok(());
        }
        let client = match &self.authenticator {
            Some(authenticator) => {
                let token = asked.token?;
                let Identity(name) = authenticator.identify(&token).await?;
                name
            }
            None => asked.peer,
        };
        self.count(client)?;
        if asked.announced.is_some_and(|n| n > self.limits.body as u64) {
            return Err(too_large(self.limits.body));
        }
        Ok(())
    }

    fn count(&self, client: Arc<str>) -> Result<(), InferError> {
        let (Some(rates), Some(rate)) = (&self.rates, self.limits.rate) else { return Ok(()) };
        if self.since_sweep.fetch_add(1, Ordering::Relaxed) >= CLIENTS {
            self.since_sweep.store(0, Ordering::Relaxed);
            rates.retain_recent();
        }
        rates.check_key(&client).map_err(|until| InferError::RateLimited {
            per_second: rate.per_second.get(),
            retry_after: until.wait_time_from(DefaultClock::default().now()),
        })
    }
}

/// Probes and the description of the interface need no token: they tell nothing of the model's owner.
fn is_open(path: &str) -> bool {
    matches!(
        path,
        "/v2/health/live"
            | "/v2/health/ready"
            | "/openapi.json"
            | "/inference.GRPCInferenceService/ServerLive"
            | "/inference.GRPCInferenceService/ServerReady"
    )
}

fn bearer(headers: &HeaderMap) -> Result<&str, InferError> {
    let value = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let (scheme, token) = value
        .and_then(|v| v.split_once(' '))
        .ok_or(InferError::Unauthenticated("send a token: Authorization: Bearer TOKEN"))?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(token.trim());
    }
    Err(InferError::Unauthenticated("only bearer tokens are taken: Authorization: Bearer TOKEN"))
}

/// Who a request is from, by its bearer token.
///
/// # Errors
/// There is none, or nobody's.
pub async fn identify(
    authenticator: &dyn Authenticator,
    headers: &HeaderMap,
) -> Result<Identity, InferError> {
    authenticator.identify(bearer(headers)?).await
}

fn peer(request: &Request) -> Arc<str> {
    let peer = request.extensions().get::<Peer>();
    peer.map_or_else(|| "unknown".into(), |Peer(address)| address.to_string().into())
}

/// What a request's head says, as far as it matters for letting it in.
struct Asked {
    is_open: bool,
    token: Result<Zeroizing<String>, InferError>,
    peer: Arc<str>,
    /// The body's length.
    announced: Option<u64>,
}

impl Asked {
    fn by(request: &Request) -> Self {
        let announced = request.headers().get(header::CONTENT_LENGTH);
        Self {
            is_open: is_open(request.uri().path()),
            token: bearer(request.headers()).map(|token| token.to_owned().into()),
            peer: peer(request),
            announced: announced.and_then(|v| v.to_str().ok()?.parse().ok()),
        }
    }
}

pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    content.is_some_and(|c| c.starts_with("application/grpc"))
}

fn refusal(error: InferError, grpc: bool) -> Response {
    if grpc { tonic::Status::from(error).into_http() } else { error.into_response() }
}

/// The layer around all routes.
pub(crate) async fn guard(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let grpc = is_grpc(request.headers());
    if let Err(error) = guard.admit(Asked::by(&request)).await {
        return refusal(error, grpc);
    }
    let reservation = Reservation::new(guard.budget.clone(), guard.limits.body);
    request.extensions_mut().insert(reservation.clone());
    let request = request.map(|body| Metered::wrap(body, reservation.clone(), grpc));
    match tokio::time::timeout(guard.limits.request, next.run(request)).await {
        Ok(response) => response,
        Err(_) if reservation.is_whole() => {
            refusal(InferError::busy("the model did not answer in time"), grpc)
        }
        Err(_) => refusal(InferError::Slow(guard.limits.request.as_secs()), grpc),
    }
}
