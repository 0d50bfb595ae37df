//! Bounds on what a peer can make this process hold or wait for.

use std::time::Duration;

/// Bounds of a listener and of outgoing links.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at the same time.
    pub connections: usize,
    /// Of these, from one address.
    pub connections_per_peer: usize,
    /// For a request's header, for a letter, and for the rest of a cell that has begun.
    pub read: Duration,
    /// For a connection to a peer.
    pub connect: Duration,
    /// For a peer to take any byte while there are bytes for it.
    pub stall: Duration,
    /// Letters that wait or are on their way out at the same time, 16 KiB each; half of them for one peer.
    pub letters: usize,
    /// Of these, on their way to one peer: each takes a connection there.
    pub letters_per_peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_peer: 256,
            read: Duration::from_secs(10),
            connect: Duration::from_secs(5),
            stall: Duration::from_secs(30),
            letters: 1024,
            letters_per_peer: 8,
        }
    }
}
