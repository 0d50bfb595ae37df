//! Puts what arrives out of order back in order, within bounds of number and time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Holds items that came before their turn.
///
/// Sans-IO: time comes in as `now`. After each [`insert`](Self::insert) and at
/// [`deadline`](Self::deadline), call [`pop`](Self::pop) until it gives nothing.
#[derive(Debug)]
pub struct Resequencer<T> {
    next: u64,
    held: BTreeMap<u64, T>,
    capacity: usize,
    patience: Duration,
    waiting_since: Option<Instant>,
}

impl<T> Resequencer<T> {
    /// Awaits number 0 first; holds at most `capacity` items, and waits at most `patience` for one
    /// that is missing.
    pub const fn new(capacity: usize, patience: Duration) -> Self {
        Self { next: 0, held: BTreeMap::new(), capacity, patience, waiting_since: None }
    }

    /// Whether `number` is the one awaited and nothing is held: the caller may skip the queue and
    /// call [`skip_queue`](Self::skip_queue).
    pub fn is_next(&self, number: u64) -> bool {
        self.held.is_empty() && number == self.next
    }

    /// Counts a number that went past the queue.
    pub const fn skip_queue(&mut self) {
        self.next += 1;
    }

    /// Takes an item. Gives it back when its place has been given up, or was taken.
    ///
    /// # Errors
    /// The item, if it is too late.
    pub fn insert(&mut self, now: Instant, number: u64, item: T) -> Result<(), T> {
        if number < self.next || self.held.contains_key(&number) {
            return Err(item);
        }
        self.held.insert(number, item);
        self.waiting_since.get_or_insert(now);
        Ok(())
    }

    /// The next item in order; or, once `patience` or `capacity` is used up, the first one held.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        let (&first, _) = self.held.first_key_value()?;
        let overdue = self.deadline().is_some_and(|d| now >= d);
        if first != self.next && !overdue && self.held.len() <= self.capacity {
            return None;
        }
        self.next = first + 1;
        let item = self.held.remove(&first);
        // Patience is for one gap; what lies behind the next one starts its own wait.
        let gap_ahead = self.held.first_key_value().is_some_and(|(&n, _)| n != self.next);
        if self.held.is_empty() {
            self.waiting_since = None;
        } else if gap_ahead {
            self.waiting_since = Some(now);
        }
        item
    }

    /// When [`pop`](Self::pop) should be called even if nothing arrives.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting_since.map(|t| t + self.patience)
    }
}
