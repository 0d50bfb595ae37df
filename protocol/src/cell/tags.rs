//! One-time link tags, and the table in which a receiver awaits the next ones.

use crate::Secret;
use crate::sizes::LINK_TAG;
use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

/// A one-time tag: says to its receiver, and to nobody else, which lane and number a cell has.
pub type LinkTag = [u8; LINK_TAG];

/// The key of a link's tags: `tag(n) = AES-256(key, n as 16 big-endian bytes)`.
///
/// AES on distinct blocks is a pseudo-random permutation; over 2^48 cells its distance from a
/// pseudo-random function stays below 2^-32.
pub struct TagKey(Aes256);

impl TagKey {
    /// The tag key of this secret.
    pub fn new(secret: &Secret) -> Self {
        Self(Aes256::new(secret.expose().into()))
    }

    /// The tag of the link's `number`-th cell.
    pub fn tag(&self, number: u64) -> LinkTag {
        let mut block = u128::from(number).to_be_bytes().into();
        self.0.encrypt_block(&mut block);
        block.into()
    }
}

/// The tags that a node awaits, over all lanes that enter it.
///
/// For each lane the table holds the numbers `high - width .. high + width` that have not come yet,
/// where `high` follows the highest accepted number; and beyond them the next [`Self::BEACONS`] multiples
/// of [`Self::STRIDE`]. So a lane that loses more than `width` cells in a row, to a relay that has no CPU
/// or one that learns of the lane late, hears again at the next of these.
pub struct TagTable<L> {
    awaited: HashMap<LinkTag, (L, u64), BuildHasherDefault<TagHasher>>,
    windows: HashMap<L, Window>,
}

struct Window {
    key: TagKey,
    high: u64,
    width: u64,
}

impl Window {
    fn near(&self) -> Range<u64> {
        self.high.saturating_sub(self.width)..self.high + self.width
    }

    /// Numbers that are awaited beyond the near ones.
    fn beacons(&self) -> impl Iterator<Item = u64> + use<> {
        let first = (self.high + self.width).next_multiple_of(STRIDE);
        (0..BEACONS).map(move |n| first + n * STRIDE)
    }
}

const STRIDE: u64 = 256;
const BEACONS: u64 = 256;

impl<L: Copy + Eq + std::hash::Hash> Default for TagTable<L> {
    fn default() -> Self {
        Self { awaited: HashMap::default(), windows: HashMap::new() }
    }
}

impl<L: Copy + Eq + std::hash::Hash> TagTable<L> {
    /// The least window, for lanes with a small quota.
    pub const MIN_WIDTH: u64 = 64;
    /// Beyond the window every number is awaited that this divides.
    pub const STRIDE: u64 = STRIDE;
    /// So many of them.
    pub const BEACONS: u64 = BEACONS;

    /// Starts to await the cells of `lane`, at least `quota` of them at any time.
    pub fn insert(&mut self, lane: L, key: TagKey, quota: u32) {
        self.remove(lane);
        let width = u64::from(quota).max(Self::MIN_WIDTH);
        let window = Window { key, high: 0, width };
        for number in window.near().chain(window.beacons()) {
            self.awaited.insert(window.key.tag(number), (lane, number));
        }
        self.windows.insert(lane, window);
    }

    /// Forgets a lane and all its tags.
    pub fn remove(&mut self, lane: L) {
        if let Some(w) = self.windows.remove(&lane) {
            for number in w.near().chain(w.beacons()) {
                self.awaited.remove(&w.key.tag(number));
            }
        }
    }

    /// The lane and number that this tag stands for, if it is awaited.
    pub fn look_up(&self, tag: &LinkTag) -> Option<(L, u64)> {
        self.awaited.get(tag).copied()
    }

    /// Spends a number of a lane. Call it only once the cell's AEAD has opened.
    pub fn spend(&mut self, lane: L, number: u64) {
        let Some(w) = self.windows.get_mut(&lane) else { return };
        self.awaited.remove(&w.key.tag(number));
        if number < w.high {
            return;
        }
        let (near, beacons) = (w.near(), w.beacons());
        w.high = number + 1;
        let now = w.near();
        // None of the numbers that enter has come before, but the one that is being spent.
        for n in (near.end.max(now.start)..now.end).filter(|n| *n != number) {
            self.awaited.insert(w.key.tag(n), (lane, n));
        }
        if near.end.next_multiple_of(STRIDE) != now.end.next_multiple_of(STRIDE) {
            for n in w.beacons() {
                self.awaited.insert(w.key.tag(n), (lane, n));
            }
            for n in beacons.take_while(|n| *n < now.start) {
                self.awaited.remove(&w.key.tag(n));
            }
        }
        for n in near.start..near.end.min(now.start) {
            self.awaited.remove(&w.key.tag(n));
        }
    }

    /// How many tags are awaited, over all lanes.
    pub fn len(&self) -> usize {
        self.awaited.len()
    }

    /// Whether no lane is awaited.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }
}

/// A tag is an AES block, so its own bytes hash it: even who draws a lane's keys can steer a tag
/// only by trying keys, one tag's bits at a time.
#[derive(Default)]
struct TagHasher(u64);

impl Hasher for TagHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut head = [0; 8];
        let n = bytes.len().min(8);
        head[..n].copy_from_slice(&bytes[..n]);
        self.0 ^= u64::from_ne_bytes(head);
    }

    fn write_usize(&mut self, _length_prefix: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const WIDTH: u64 = TagTable::<u8>::MIN_WIDTH;

    fn key(lane: u8) -> TagKey {
        TagKey::new(&Secret::from_bytes([lane; 32]))
    }

    fn table() -> TagTable<u8> {
        let mut table = TagTable::default();
        table.insert(1, key(1), 1);
        table
    }

    fn awaits(table: &TagTable<u8>, number: u64) -> bool {
        let found = table.look_up(&key(1).tag(number));
        assert!(found.is_none_or(|f| f == (1, number)));
        found.is_some()
    }

    #[test]
    fn a_tag_is_awaited_until_it_is_spent() {
        let mut table = table();
        assert!(awaits(&table, 0) && awaits(&table, WIDTH - 1) && !awaits(&table, WIDTH));
        table.spend(1, 3);
        assert!(!awaits(&table, 3) && awaits(&table, 2) && awaits(&table, 4));
        table.spend(1, 3);
        assert!(!awaits(&table, 3), "spending twice changes nothing");
    }

    #[test]
    fn the_window_follows_the_highest_number() {
        let mut table = table();
        table.spend(1, WIDTH - 1);
        assert!(awaits(&table, 0), "late ones are awaited for one width");
        assert!(awaits(&table, 2 * WIDTH - 1) && !awaits(&table, 2 * WIDTH));
        table.spend(1, WIDTH);
        assert!(!awaits(&table, 0) && awaits(&table, 1), "the oldest is given up");
    }

    #[test]
    fn the_table_stays_bounded() {
        let mut table = table();
        for number in 0..10 * WIDTH {
            if number % 3 != 0 {
                table.spend(1, number);
            }
            assert!(table.len() as u64 <= 2 * WIDTH + BEACONS);
        }
        table.remove(1);
        assert_eq!(table.len(), 0);
        assert!(table.is_empty());
    }

    #[test]
    fn a_lane_hears_again_at_the_next_beacon_after_any_loss() {
        for lost in [WIDTH, 1000, STRIDE * BEACONS - 300] {
            let mut table = table();
            table.spend(1, 10);
            let back = (lost + 11).next_multiple_of(STRIDE);
            assert!(!awaits(&table, back - 1) && awaits(&table, back) && !awaits(&table, back + 1));
            table.spend(1, back);
            assert!(!awaits(&table, back), "spent once");
            assert!(awaits(&table, back - 1) && awaits(&table, back + 1));
            assert!(!awaits(&table, 11) && !awaits(&table, back - 2 * WIDTH), "given up");
            assert!(table.len() as u64 <= 2 * WIDTH + BEACONS);
            let next = (back + 2 * WIDTH).next_multiple_of(STRIDE);
            assert!(awaits(&table, next) && awaits(&table, next + (BEACONS - 2) * STRIDE));
        }
    }

    #[test]
    fn lanes_do_not_touch_each_other() {
        let mut table = table();
        table.insert(2, key(2), 100);
        assert_eq!(
            table.len() as u64,
            WIDTH + 100 + 2 * BEACONS,
            "a large quota widens the window"
        );
        table.spend(1, 0);
        assert_eq!(table.look_up(&key(2).tag(0)), Some((2, 0)));
        table.remove(2);
        assert_eq!(table.look_up(&key(2).tag(0)), None);
        assert!(awaits(&table, 1));
    }

    #[test]
    fn a_lane_put_in_again_starts_anew_under_its_new_key() {
        let mut table = table();
        table.spend(1, 0);
        table.insert(1, key(9), 1);
        assert_eq!(table.look_up(&key(1).tag(1)), None);
        assert_eq!(table.look_up(&key(9).tag(0)), Some((1, 0)));
        assert_eq!(table.len() as u64, WIDTH + BEACONS);
    }

    #[test]
    fn spending_on_a_lane_that_is_gone_does_nothing() {
        let mut table = table();
        table.remove(1);
        table.spend(1, 0);
        assert_eq!(table.len(), 0);
    }
}
