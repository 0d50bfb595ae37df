//! Shuffling: the same order on every machine, from the owner's key.
//!
//! Data that do not fit into memory cannot be shuffled whole and still be read in long pieces. So
//! the *blocks* of a data set are shuffled; then as many of them as fill a *window* of memory are
//! taken, and the samples of the window are shuffled. A data set within one window is thus shuffled
//! whole. Both draws come from one ChaCha20 stream, with the owner's key as seed and the epoch as stream.

use crate::block::BlockSize;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Bytes of samples that are in memory at once, twice: 32 MiB (one window used, one read ahead).
pub const WINDOW: u64 = 32 << 20;

/// The key and the epoch of a shuffled pass.
#[derive(Clone, Copy)]
pub struct Shuffle {
    /// The owner's key for this.
    pub key: [u8; 32],
    /// The epoch, from 1.
    pub epoch: u32,
}

/// A sample in a window: which of its blocks, which row of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Place in [`Window::blocks`].
    pub slot: u32,
    /// Row in the block.
    pub row: u32,
}

/// Blocks that are in memory together, and the order of their samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The blocks.
    pub blocks: Vec<usize>,
    /// The samples.
    pub picks: Vec<Pick>,
}

/// The windows of one pass. `rows` gives those rows of a block that belong to it.
pub struct Windows<R> {
    rng: Option<ChaCha20Rng>,
    blocks: Vec<u32>,
    sizes: Vec<BlockSize>,
    next: usize,
    rows: R,
}

impl<R: Fn(usize) -> Vec<u32>> Windows<R> {
    /// In the order of the shuffle, or that of the data.
    pub fn new(sizes: &[BlockSize], shuffle: Option<Shuffle>, rows: R) -> Self {
        let mut blocks: Vec<u32> = (0..sizes.len() as u32).collect();
        let mut rng = shuffle.map(|s| {
            let mut rng = ChaCha20Rng::from_seed(s.key);
            rng.set_stream(u64::from(s.epoch));
            rng
        });
        if let Some(rng) = &mut rng {
            permute(rng, &mut blocks);
        }
        Self { rng, blocks, sizes: sizes.to_vec(), next: 0, rows }
    }
}

impl<R: Fn(usize) -> Vec<u32>> Iterator for Windows<R> {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        let (mut bytes, from) = (0, self.next);
        while self.next < self.blocks.len() && (bytes < WINDOW || self.next == from) {
            bytes += self.sizes[self.blocks[self.next] as usize].bytes;
            self.next += 1;
        }
        let blocks: Vec<usize> =
            self.blocks[from..self.next].iter().map(|&block| block as usize).collect();
        if blocks.is_empty() {
            return None;
        }
        let of = |(slot, &block): (usize, &usize)| {
            (self.rows)(block).into_iter().map(move |row| Pick { slot: slot as u32, row })
        };
        let mut picks: Vec<Pick> = blocks.iter().enumerate().flat_map(of).collect();
        if let Some(rng) = &mut self.rng {
            permute(rng, &mut picks);
        }
        Some(Window { blocks, picks })
    }
}

/// Fisher-Yates.
fn permute<T>(rng: &mut impl Rng, items: &mut [T]) {
    for i in (1..items.len()).rev() {
        items.swap(i, below(rng, i as u64 + 1) as usize);
    }
}

/// A uniform number below `bound`, by rejection: no modulo bias.
pub(crate) fn below(rng: &mut impl Rng, bound: u64) -> u64 {
    let zone = u64::MAX - u64::MAX % bound;
    loop {
        let x = rng.next_u64();
        if x < zone {
            return x % bound;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockSize, Shuffle, WINDOW, Window, Windows};
    use proptest::prelude::*;

    fn order(sizes: &[BlockSize], shuffle: Option<Shuffle>) -> Vec<Window> {
        Windows::new(sizes, shuffle, |b| (0..sizes[b].samples).collect()).collect()
    }

    fn flat(windows: &[Window]) -> Vec<(usize, u32)> {
        let of = |w: &Window| -> Vec<(usize, u32)> {
            w.picks.iter().map(|p| (w.blocks[p.slot as usize], p.row)).collect()
        };
        windows.iter().flat_map(of).collect()
    }

    proptest! {
        #[test]
        fn every_sample_comes_once_and_no_window_is_too_large(
            blocks in prop::collection::vec((1..9_u32, 1..WINDOW), 0..40), epoch in 1..4_u32,
        ) {
            let sizes: Vec<_> =
                blocks.iter().map(|&(samples, bytes)| BlockSize { samples, bytes }).collect();
            let shuffle = Some(Shuffle { key: [3; 32], epoch });
            let windows = order(&sizes, shuffle);
            for window in &windows {
                let bytes: u64 = window.blocks.iter().map(|&b| sizes[b].bytes).sum();
                prop_assert!(bytes < 2 * WINDOW);
            }
            let mut seen = flat(&windows);
            prop_assert_eq!(&seen, &flat(&order(&sizes, shuffle)));
            seen.sort_unstable();
            prop_assert_eq!(seen, flat(&order(&sizes, None)));
        }
    }

    #[test]
    fn keys_and_epochs_give_other_orders() {
        let sizes = [BlockSize { samples: 50, bytes: 1 }, BlockSize { samples: 50, bytes: 1 }];
        let of = |key: u8, epoch| flat(&order(&sizes, Some(Shuffle { key: [key; 32], epoch })));
        assert_eq!(of(1, 1), of(1, 1));
        assert_ne!(of(1, 1), of(1, 2));
        assert_ne!(of(1, 1), of(2, 1));
        // Within one window, samples of both blocks mix.
        assert!(of(1, 1)[..20].iter().any(|p| p.0 == 0) && of(1, 1)[..20].iter().any(|p| p.0 == 1));
    }
}
