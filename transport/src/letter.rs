//! Letters on their way out: one request each.

use crate::link::{LETTERS, connect};
use crate::{Authority, Counters, Limits};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mixnn_protocol::letter::Letter;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How often a letter is offered to a peer that cannot be reached.
const ATTEMPTS: u32 = 4;

/// Sends letters, a bounded number to each peer at a time; others wait. Lives in one `LocalRuntime` or `LocalSet`.
#[derive(Clone)]
pub struct LetterPost(Rc<Inner>);

struct Inner {
    limits: Limits,
    counters: Arc<Counters>,
    /// Waiting ones among them.
    under_way: Cell<usize>,
    peers: RefCell<HashMap<Authority, Weak<Peer>>>,
}

/// Letters for one peer.
struct Peer {
    /// Closed once no connection could be made: those that wait are lost then.
    turns: Semaphore,
    letters: Cell<usize>,
}

/// What became of a letter.
#[derive(PartialEq, Eq)]
enum Fate {
    Delivered,
    /// The peer did not take it, or not in time.
    Refused,
    /// No connection could be made.
    Unreachable,
}

impl LetterPost {
    /// No letter under way.
    pub fn new(limits: Limits, counters: Arc<Counters>) -> Self {
        Self(Rc::new(Inner {
            limits,
            counters,
            under_way: Cell::new(0),
            peers: RefCell::default(),
        }))
    }

    /// Sends a letter in the background; `lost` is called if the peer cannot be reached or does not take
    /// it. Where too many are under way already it is counted as `letters_full`, and says nothing of
    /// the peer.
    ///
    /// # Panics
    /// Outside of a `LocalRuntime` or `LocalSet`.
    pub fn send(&self, peer: Authority, letter: Box<Letter>, lost: impl FnOnce() + 'static) {
        let own = self.peer(&peer);
        let (all, waiting) = (self.0.under_way.get(), own.letters.get());
        if all >= self.0.limits.letters || waiting >= self.0.limits.letters / 2 {
            tracing::warn!("a letter is dropped: too many are under way");
            return self.0.counters.count("letters_full");
        }
        self.0.under_way.set(all + 1);
        own.letters.set(waiting + 1);
        let post = self.clone();
        tokio::task::spawn_local(async move {
            let fate = post.in_turn(&own, &peer, letter).await;
            post.0.under_way.set(post.0.under_way.get() - 1);
            own.letters.set(own.letters.get() - 1);
            if fate == Fate::Delivered {
                post.0.counters.letters_out.inc();
            } else {
                post.0.counters.count("letter_undelivered");
                lost();
            }
        });
    }

    /// Whether no letter is under way.
    pub fn is_idle(&self) -> bool {
        self.0.under_way.get() == 0
    }

    fn peer(&self, at: &Authority) -> Rc<Peer> {
        let mut peers = self.0.peers.borrow_mut();
        let open = peers.get(at).and_then(Weak::upgrade).filter(|peer| !peer.turns.is_closed());
        open.unwrap_or_else(|| {
            peers.retain(|_, peer| peer.strong_count() > 0);
            let turns = Semaphore::new(self.0.limits.letters_per_peer);
            let new = Rc::new(Peer { turns, letters: Cell::new(0) });
            peers.insert(at.clone(), Rc::downgrade(&new));
            new
        })
    }

    async fn in_turn(&self, peer: &Peer, at: &Authority, letter: Box<Letter>) -> Fate {
        let Ok(_turn) = peer.turns.acquire().await else { return Fate::Unreachable };
        let fate = self.deliver(at, letter).await;
        if fate == Fate::Unreachable {
            peer.turns.close();
        }
        fate
    }

    async fn deliver(&self, peer: &Authority, letter: Box<Letter>) -> Fate {
        let letter = Bytes::from_owner(letter as Box<[u8]>);
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
            }
            // Only a failed connection is tried again: a relay spends a letter's token once.
            if let Ok(stream) = connect(peer, self.0.limits.connect).await {
                let posting = post(stream, peer, letter);
                return match tokio::time::timeout(self.0.limits.connect, posting).await {
                    Ok(true) => Fate::Delivered,
                    Ok(false) | Err(_) => Fate::Refused,
                };
            }
        }
        Fate::Unreachable
    }
}

async fn post(stream: tokio::net::TcpStream, peer: &Authority, letter: Bytes) -> bool {
    let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await else {
        return false;
    };
    let request = http::Request::post(LETTERS)
        .header(HOST, peer.as_str())
        .header(CONTENT_TYPE, "application/octet-stream")
        .body(Full::new(letter));
    let Ok(request) = request else { return false };
    let answer = sender.send_request(request);
    tokio::pin!(connection);
    tokio::select! {
        answer = answer => answer.is_ok_and(|a| a.status() == http::StatusCode::ACCEPTED),
        _ = &mut connection => false,
    }
}
