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

    /// Whether more items are held than may be, so that no gap is waited for.
    pub fn is_full(&self) -> bool {
        self.held.len() > self.capacity
    }

    /// When [`pop`](Self::pop) should be called even if nothing arrives.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting_since.map(|t| t + self.patience)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    fn fresh(capacity: usize) -> (Resequencer<u64>, Instant) {
        (Resequencer::new(capacity, PATIENCE), Instant::now())
    }

    fn drain(order: &mut Resequencer<u64>, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| order.pop(now)).collect()
    }

    #[test]
    fn items_wait_for_those_before_them() {
        let (mut order, now) = fresh(8);
        for number in [2, 1, 4] {
            order.insert(now, number, number).unwrap();
            assert!(drain(&mut order, now).is_empty());
        }
        order.insert(now, 0, 0).unwrap();
        assert_eq!(drain(&mut order, now), [0, 1, 2]);
        order.insert(now, 3, 3).unwrap();
        assert_eq!(drain(&mut order, now), [3, 4]);
        assert_eq!(order.deadline(), None);
    }

    #[test]
    fn the_queue_is_skipped_only_when_nothing_waits() {
        let (mut order, now) = fresh(8);
        assert!(order.is_next(0) && !order.is_next(1));
        order.skip_queue();
        order.insert(now, 2, 2).unwrap();
        assert!(!order.is_next(1), "2 waits: 1 must go through the queue");
    }

    #[test]
    fn a_number_is_taken_once_and_never_after_its_turn() {
        let (mut order, now) = fresh(8);
        order.insert(now, 1, 1).unwrap();
        assert_eq!(order.insert(now, 1, 9), Err(9), "held");
        order.insert(now, 0, 0).unwrap();
        assert_eq!(drain(&mut order, now), [0, 1]);
        assert_eq!(order.insert(now, 0, 9), Err(9), "gone");
        assert_eq!(order.insert(now, 1, 9), Err(9), "gone");
    }

    #[test]
    fn patience_is_for_one_gap() {
        let (mut order, start) = fresh(8);
        order.insert(start, 1, 1).unwrap();
        order.insert(start, 3, 3).unwrap();
        assert_eq!(order.deadline(), Some(start + PATIENCE));
        let now = start + PATIENCE;
        assert_eq!(drain(&mut order, now), [1], "the gap before 3 starts its own wait");
        assert_eq!(order.deadline(), Some(now + PATIENCE));
        assert_eq!(order.insert(now, 0, 0), Err(0), "its place was given up");
        assert_eq!(drain(&mut order, now + PATIENCE), [3]);
    }

    #[test]
    fn what_closes_a_gap_does_not_shorten_the_wait_for_the_next() {
        let (mut order, start) = fresh(8);
        order.insert(start, 1, 1).unwrap();
        order.insert(start, 3, 3).unwrap();
        let later = start + PATIENCE / 2;
        order.insert(later, 0, 0).unwrap();
        assert_eq!(drain(&mut order, later), [0, 1]);
        assert_eq!(order.deadline(), Some(later + PATIENCE));
    }

    #[test]
    fn no_more_than_the_capacity_is_held() {
        let (mut order, now) = fresh(3);
        for number in 1..=3 {
            order.insert(now, number, number).unwrap();
            assert!(drain(&mut order, now).is_empty());
        }
        order.insert(now, 4, 4).unwrap();
        assert_eq!(drain(&mut order, now), [1, 2, 3, 4], "0 was given up to make room");
    }
}
