//! Who is connected: a bounded number, from which the idle make room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Open connections.
pub(crate) struct Connections {
    most: usize,
    start: Instant,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
}

/// One open connection.
pub(crate) struct Connection {
    /// Requests whose answers have not begun.
    busy: AtomicUsize,
    /// Milliseconds since the server's start at which it was last busy.
    idle_since: AtomicU64,
    /// Ends it at once.
    pub(crate) close: CancellationToken,
}

/// A place among the open connections; free again when dropped.
pub(crate) struct Place {
    id: u64,
    pub(crate) connection: Arc<Connection>,
    of: Arc<Connections>,
}

/// While a request of a connection is under way.
pub(crate) struct Busy {
    connection: Arc<Connection>,
    of: Arc<Connections>,
}

impl Connections {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let (open, next) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { most, start: Instant::now(), open, next })
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more. If all are taken, the connection that has been idle for longest is ended;
    /// `None` if every one is at work. The number tells how many were ended.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<(Place, usize)> {
        let mut open = self.locked();
        let mut ended = 0;
        if open.len() >= self.most {
            let idle = open.iter().filter(|(_, c)| c.busy.load(Ordering::Acquire) == 0);
            let oldest = idle.min_by_key(|(_, c)| c.idle_since.load(Ordering::Relaxed));
            let id = oldest.map(|(id, _)| *id)?;
            if let Some(connection) = open.remove(&id) {
                connection.close.cancel();
                ended = 1;
            }
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(Connection {
            busy: AtomicUsize::new(0),
            idle_since: AtomicU64::new(self.now()),
            close: CancellationToken::new(),
        });
        open.insert(id, connection.clone());
        Some((Place { id, connection, of: self.clone() }, ended))
    }

    /// A request of this connection begins.
    pub(crate) fn busy(self: &Arc<Self>, connection: &Arc<Connection>) -> Busy {
        connection.busy.fetch_add(1, Ordering::AcqRel);
        Busy { connection: connection.clone(), of: self.clone() }
    }

    /// Ends connections that have been idle for too long.
    pub(crate) fn sweep(&self, longest: Duration) {
        let oldest = self.now().saturating_sub(longest.as_millis() as u64);
        let is_over = |c: &Connection| {
            c.busy.load(Ordering::Acquire) == 0 && c.idle_since.load(Ordering::Relaxed) < oldest
        };
        self.locked().values().filter(|c| is_over(c)).for_each(|c| c.close.cancel());
    }

    /// Ends all of them.
    pub(crate) fn close_all(&self) {
        self.locked().values().for_each(|c| c.close.cancel());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.locked().remove(&self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.connection.idle_since.store(self.of.now(), Ordering::Relaxed);
        self.connection.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_longest_idle_makes_room_and_the_busy_stay() {
        let all = Connections::new(2);
        let (first, _) = all.enter().unwrap();
        let (second, _) = all.enter().unwrap();
        let busy = all.busy(&first.connection);
        let (third, ended) = all.enter().unwrap();
        assert_eq!(ended, 1);
        assert!(second.connection.close.is_cancelled() && !first.connection.close.is_cancelled());
        let also = all.busy(&third.connection);
        assert!(all.enter().is_none());
        drop((busy, also, first, second, third));
        assert!(all.locked().is_empty());
    }
}
