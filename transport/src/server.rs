//! The listener: takes cells and letters, and bounds everything else.

use crate::link::{CELLS, LETTERS};
use crate::{Counters, Limits};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mixnn_protocol::Cell;
use mixnn_protocol::letter::Letter;
use mixnn_protocol::sizes::CELL;
use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::{TcpListener, TcpStream};

/// What a node does with what comes in. Called on the listener's thread.
pub trait Receiver {
    /// A whole cell.
    fn cell(&self, now: Instant, cell: &Cell);
    /// A whole letter.
    fn letter(&self, letter: Box<Letter>);
}

/// Buffer of a connection: a chunk of cells fits in.
const BUFFER: usize = 512 << 10;
/// More than any client of this protocol sends.
const HEADERS: usize = 32;

/// Serves until the future is dropped. Runs in a `LocalRuntime` or `LocalSet`.
pub async fn serve<R: Receiver + 'static>(
    listener: TcpListener,
    receiver: Rc<R>,
    limits: Limits,
    counters: Arc<Counters>,
) {
    let shared = Rc::new(Shared { receiver, limits, counters, peers: RefCell::default() });
    // Dropped with this future, and every connection with it.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok((stream, address)) => (stream, address.ip()),
            Err(error) => {
                // Out of file descriptors, most likely: wait for connections to end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        if let Some(place) = Place::take(&shared, peer) {
            connections.spawn_local(connection(stream, shared.clone(), place));
        } else {
            shared.counters.count("connections_full");
        }
    }
}

struct Shared<R> {
    receiver: Rc<R>,
    limits: Limits,
    counters: Arc<Counters>,
    peers: RefCell<HashMap<IpAddr, usize>>,
}

/// A connection's place among the bounded number; given back when dropped.
struct Place<R> {
    shared: Rc<Shared<R>>,
    peer: IpAddr,
}

impl<R> Place<R> {
    fn take(shared: &Rc<Shared<R>>, peer: IpAddr) -> Option<Self> {
        let mut peers = shared.peers.borrow_mut();
        let total: usize = peers.values().sum();
        let own = peers.entry(peer).or_default();
        if total >= shared.limits.connections || *own >= shared.limits.connections_per_peer {
            return None;
        }
        *own += 1;
        shared.counters.connections.inc();
        Some(Self { shared: shared.clone(), peer })
    }
}

impl<R> Drop for Place<R> {
    fn drop(&mut self) {
        self.shared.counters.connections.dec();
        let mut peers = self.shared.peers.borrow_mut();
        if let Some(own) = peers.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

async fn connection<R: Receiver + 'static>(
    stream: TcpStream,
    shared: Rc<Shared<R>>,
    _place: Place<R>,
) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(|request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.read)
        .max_headers(HEADERS)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if served.is_err() {
        shared.counters.count("bad_http");
    }
}

async fn answer<R: Receiver>(
    shared: &Shared<R>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let status = match (request.method(), request.uri().path()) {
        (&Method::POST, CELLS) => cells(shared, request.into_body()).await,
        (&Method::POST, LETTERS) => letter(shared, request.into_body()).await,
        (&Method::GET, "/healthz" | "/readyz") => StatusCode::OK,
        _ => {
            shared.counters.count("bad_request");
            StatusCode::NOT_FOUND
        }
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if status != StatusCode::OK && status != StatusCode::ACCEPTED {
        response
            .headers_mut()
            .insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    }
    response
}

/// Takes cells until the body ends. Whole cells go to the receiver straight from hyper's buffer.
async fn cells<R: Receiver>(shared: &Shared<R>, mut body: Incoming) -> StatusCode {
    let mut begun: Vec<u8> = Vec::new();
    loop {
        let next = if begun.is_empty() {
            body.frame().await
        } else if let Ok(next) = tokio::time::timeout(shared.limits.read, body.frame()).await {
            next
        } else {
            shared.counters.count("slow_cell");
            return StatusCode::REQUEST_TIMEOUT;
        };
        match next {
            None if begun.is_empty() => return StatusCode::ACCEPTED,
            None => {
                shared.counters.count("truncated_cell");
                return StatusCode::BAD_REQUEST;
            }
            Some(Err(_)) => {
                shared.counters.count("link_lost");
                return StatusCode::BAD_REQUEST;
            }
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    take(shared, &data, &mut begun);
                }
            }
        }
    }
}

fn take<R: Receiver>(shared: &Shared<R>, mut data: &[u8], begun: &mut Vec<u8>) {
    let now = Instant::now();
    if !begun.is_empty() {
        let (rest, more) = data.split_at(data.len().min(CELL - begun.len()));
        begun.extend_from_slice(rest);
        data = more;
        if let Ok(cell) = <&Cell>::try_from(begun.as_slice()) {
            shared.counters.cells_in.inc();
            shared.receiver.cell(now, cell);
            begun.clear();
        }
    }
    let (whole, rest) = data.as_chunks::<CELL>();
    shared.counters.cells_in.inc_by(whole.len() as u64);
    whole.iter().for_each(|cell| shared.receiver.cell(now, cell));
    begun.extend_from_slice(rest);
}

/// Takes one letter. The answer to anything of the right size is the same.
async fn letter<R: Receiver>(shared: &Shared<R>, body: Incoming) -> StatusCode {
    let whole = http_body_util::Limited::new(body, CELL).collect();
    let Ok(whole) = tokio::time::timeout(shared.limits.read, whole).await else {
        shared.counters.count("slow_letter");
        return StatusCode::REQUEST_TIMEOUT;
    };
    let letter = whole.ok().map(|w| w.to_bytes().to_vec().into_boxed_slice());
    let Some(letter) = letter.and_then(|bytes| bytes.try_into().ok()) else {
        shared.counters.count("letter_size");
        return StatusCode::BAD_REQUEST;
    };
    shared.counters.letters_in.inc();
    shared.receiver.letter(letter);
    StatusCode::ACCEPTED
}
