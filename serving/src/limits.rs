//! Bounds on what strangers may cost: every one of them holds before memory is spent.

use std::num::NonZeroU32;
use std::time::Duration;

/// Bounds of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest body of a request, in bytes, before and after decompression.
    pub body: usize,
    /// All bodies that are held at once, in bytes.
    pub buffered: usize,
    /// Open connections; beyond them, the one that has been idle for longest makes room.
    pub connections: usize,
    /// How long a connection may stay open without a request.
    pub idle: Duration,
    /// From a request's head to its answer.
    pub request: Duration,
    /// How often one client may ask; without bound if not set.
    pub rate: Option<Rate>,
}

/// A rate of requests for each client: a token's name, or an address where there are no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second in the long run.
    pub per_second: NonZeroU32,
    /// Requests at once after a pause.
    pub burst: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 << 20,
            buffered: 256 << 20,
            connections: 1024,
            idle: Duration::from_secs(60),
            request: Duration::from_secs(60),
            rate: None,
        }
    }
}

/// The longest head of a request, in bytes.
pub(crate) const HEAD: usize = 64 << 10;
/// For the head of a request to come in whole, once it has begun, and for a TLS handshake.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(10);
/// Requests at once on one HTTP/2 connection.
pub(crate) const STREAMS: u32 = 256;
