//! What a relay takes on: memory for lanes, time for letters.

use mixnn_protocol::Cover;
use mixnn_protocol::cell::TagTable;
use mixnn_protocol::sizes::CELL;
use std::time::{Duration, Instant};

/// Memory for lanes, and cells a second for covered ones. A lane is admitted only if all that it may
/// ever hold or emit fits.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: usize,
    cells_per_second: f64,
}

/// Cells a second that covered lanes may take from one relay: at 15 us each, a third of a core.
const CELLS_PER_SECOND: f64 = 25_000.0;

/// Keys, table entries and bookkeeping of a lane, generously.
const LANE: usize = 8 << 10;
/// One awaited link tag in the table.
const TAG: usize = 64;

impl Budget {
    /// A budget of this many bytes.
    pub const fn new(limit: usize) -> Self {
        Self { limit, used: 0, cells_per_second: CELLS_PER_SECOND }
    }

    /// Takes a covered lane's cells a second, if they are left.
    pub fn take_rate(&mut self, cover: &Cover) -> bool {
        let rate = cover.crossing_period().as_secs_f64().recip();
        let fits = rate <= self.cells_per_second;
        if fits {
            self.cells_per_second -= rate;
        }
        fits
    }

    /// Gives them back.
    pub fn give_back_rate(&mut self, cover: &Cover) {
        self.cells_per_second += cover.crossing_period().as_secs_f64().recip();
    }

    /// What a lane of this quota may hold: cells waiting to leave, cells held for order, tags.
    pub fn lane(quota: u32) -> usize {
        let width = (quota as usize).max(TagTable::<u64>::MIN_WIDTH as usize);
        let tags = 2 * width + TagTable::<u64>::BEACONS as usize;
        LANE + 2 * CELL * quota as usize + TAG * tags
    }

    /// Whether this many bytes are left.
    pub const fn has(&self, bytes: usize) -> bool {
        self.limit - self.used >= bytes
    }

    /// Takes this many bytes, if they are left.
    pub const fn take(&mut self, bytes: usize) -> bool {
        if !self.has(bytes) {
            return false;
        }
        self.used += bytes;
        true
    }

    /// Gives them back.
    pub const fn give_back(&mut self, bytes: usize) {
        self.used -= bytes;
    }
}

/// Bounds how many letters are opened: one costs some 0.4 ms of CPU, as much as thirty cells.
#[derive(Debug)]
pub struct LetterRate {
    tokens: f64,
    last: Option<Instant>,
}

impl LetterRate {
    const PER_SECOND: f64 = 500.0;
    const BURST: f64 = 2000.0;

    /// Full.
    pub const fn new() -> Self {
        Self { tokens: Self::BURST, last: None }
    }

    /// Whether a letter may be opened now.
    pub fn admit(&mut self, now: Instant) -> bool {
        let passed = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last = Some(now);
        self.tokens = (self.tokens + passed.as_secs_f64() * Self::PER_SECOND).min(Self::BURST);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

impl Default for LetterRate {
    fn default() -> Self {
        Self::new()
    }
}
