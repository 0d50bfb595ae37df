//! One outgoing link: connects, streams, reconnects.

use crate::body::CellBody;
use crate::outbox::Outbox;
use crate::{Authority, Counters, Limits};
use http::header::{CONTENT_TYPE, HOST};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mixnn_protocol::rand_core::Rng;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Path that takes cells.
pub(crate) const CELLS: &str = "/v1/cells";
/// Path that takes letters.
pub(crate) const LETTERS: &str = "/v1/letters";

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why a connection ended.
#[derive(Debug)]
enum Ended {
    /// No lane is left.
    Closed,
    Unreachable,
    Broken,
    Stalled,
}

/// Runs the link until no lane is left. `down` is told each time the peer cannot be reached.
pub(crate) async fn run(
    peer: Authority,
    outbox: Rc<RefCell<Outbox>>,
    limits: Limits,
    counters: Arc<Counters>,
    down: impl Fn(),
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let ended = once(&peer, &outbox, &limits, &counters).await;
        match ended {
            Ended::Closed => return,
            Ended::Broken => {
                counters.count("link_broken");
                pause = FIRST_PAUSE;
            }
            Ended::Stalled => counters.count("link_stalled"),
            Ended::Unreachable => counters.count("link_unreachable"),
        }
        if outbox.borrow().is_closed() {
            return;
        }
        down();
        tokio::time::sleep(jittered(pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn once(
    peer: &Authority,
    outbox: &Rc<RefCell<Outbox>>,
    limits: &Limits,
    counters: &Arc<Counters>,
) -> Ended {
    let Ok(stream) = connect(peer, limits.connect).await else { return Ended::Unreachable };
    let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await else {
        return Ended::Broken;
    };
    let body = CellBody { outbox: outbox.clone(), counters: counters.clone() };
    let request = http::Request::post(CELLS)
        .header(HOST, peer.as_str())
        .header(CONTENT_TYPE, "application/octet-stream")
        .body(body);
    let Ok(request) = request else { return Ended::Unreachable };
    let answer = sender.send_request(request);
    tokio::select! {
        _ = connection => {}
        // An answer before the body's end means that the peer refuses the link.
        _ = answer => {}
        () = stalled(outbox, limits.stall) => return Ended::Stalled,
    }
    if outbox.borrow().is_closed() { Ended::Closed } else { Ended::Broken }
}

pub(crate) async fn connect(peer: &Authority, within: Duration) -> std::io::Result<TcpStream> {
    let stream = tokio::time::timeout(within, TcpStream::connect(peer.as_str())).await??;
    // Without it Nagle's algorithm costs 5 to 37 ms a step.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Ends when bytes have waited for `limit` and the peer took none of them.
async fn stalled(outbox: &Rc<RefCell<Outbox>>, limit: Duration) {
    loop {
        tokio::time::sleep(limit / 4).await;
        let since = outbox.borrow().waiting_since;
        if since.is_some_and(|t| t.elapsed() >= limit) {
            return;
        }
    }
}

/// Between half of it and all of it, so that peers of a relay that restarts do not come at once.
fn jittered(pause: Duration) -> Duration {
    let share = f64::from(mixnn_protocol::SystemRng.next_u32()) / f64::from(u32::MAX);
    pause.mul_f64(0.5 + share / 2.0)
}
