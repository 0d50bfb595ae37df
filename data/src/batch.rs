//! Batches, read and prepared ahead on threads of their own.

use crate::block::{Block, Source};
use crate::shuffle::{Shuffle, Window, Windows};
use crate::transform::Draw;
use crate::{DataError, Dataset};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Batches prepared ahead.
const AHEAD: usize = 2;

/// Numbers of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Pictures, measured values.
    F32(Vec<f32>),
    /// Classes, tokens.
    I64(Vec<i64>),
}

impl Values {
    /// How many numbers there are.
    pub const fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::I64(v) => v.len(),
        }
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Part of them.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        match self {
            Self::F32(v) => Self::F32(v[range].to_vec()),
            Self::I64(v) => Self::I64(v[range].to_vec()),
        }
    }

    pub(crate) fn empty_like(&self) -> Self {
        match self {
            Self::F32(_) => Self::F32(Vec::new()),
            Self::I64(_) => Self::I64(Vec::new()),
        }
    }
}

/// Samples with their targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// How many there are.
    pub len: usize,
    /// The samples, one after the other.
    pub samples: Values,
    /// The target of each.
    pub targets: Values,
}

/// One pass over a data set.
#[derive(Clone)]
pub struct Pass {
    /// Order and augmentation of an epoch; none takes the data as they are.
    pub epoch: Option<Epoch>,
    /// Samples of a batch, at least 1.
    pub batch: usize,
    /// The last batch is left out if it has fewer samples than this.
    pub least: usize,
    /// Batches that are left out at the beginning, without reading what only they need: an epoch is
    /// taken up again where it was left.
    pub skip: u64,
}

/// What an epoch is drawn from.
#[derive(Clone, Copy)]
pub struct Epoch {
    /// Number of the epoch, from 1.
    pub number: u32,
    /// The owner's key of the order.
    pub shuffle_key: [u8; 32],
    /// The owner's key of the augmentation.
    pub augment_key: [u8; 32],
}

/// The batches of a pass, in order. After an error there is nothing more. Ends its threads when dropped.
pub struct Batches {
    receive: Option<Receiver<Result<Batch, DataError>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Batches {
    /// Begins to read.
    ///
    /// # Panics
    /// `pass.batch` is 0, or no thread can be made.
    pub fn new(data: Arc<Dataset>, pass: Pass) -> Self {
        assert!(pass.batch > 0, "a batch has at least one sample");
        // One window is used while the next one is read; none lies between.
        let (send_windows, windows) = sync_channel(0);
        let (send, receive) = sync_channel(AHEAD);
        let skip = pass.skip.saturating_mul(pass.batch as u64);
        let (reader, shuffle) = (Arc::clone(&data), pass.epoch.map(Epoch::shuffle));
        let threads = vec![
            spawn("data-reader", move || read(&reader, shuffle, skip, &send_windows)),
            spawn("batches", move || assemble(&data, &pass, &windows, &send)),
        ];
        Self { receive: Some(receive), threads }
    }
}

impl Epoch {
    const fn shuffle(self) -> Shuffle {
        Shuffle { key: self.shuffle_key, epoch: self.number }
    }

    const fn draw(self) -> Draw {
        Draw { key: self.augment_key, epoch: self.number }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread.expect("a thread can be made")
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.receive.as_ref()?.recv().ok()?;
        if next.is_err() {
            self.receive = None;
        }
        Some(next)
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.receive = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A window with its blocks in memory.
struct Loaded {
    window: Window,
    blocks: Vec<Arc<Block>>,
}

/// Reads window after window. Those that are skipped whole are not read.
fn read(
    data: &Dataset,
    shuffle: Option<Shuffle>,
    mut skip: u64,
    send: &SyncSender<Result<Loaded, DataError>>,
) {
    let source = data.source();
    for mut window in Windows::new(source.blocks(), shuffle, |block| data.rows(block)) {
        let left_out = skip.min(window.picks.len() as u64);
        skip -= left_out;
        window.picks.drain(..left_out as usize);
        if window.picks.is_empty() {
            continue;
        }
        let loaded = load(source, &window.blocks).map(|blocks| Loaded { window, blocks });
        let failed = loaded.is_err();
        // The consumer has gone away: nothing is left to do.
        if send.send(loaded).is_err() || failed {
            return;
        }
    }
}

/// Reads blocks, several at once where that helps. The error is that of the first block that has one.
fn load(source: &dyn Source, blocks: &[usize]) -> Result<Vec<Arc<Block>>, DataError> {
    let readers = source.readers().min(blocks.len());
    if readers <= 1 {
        return blocks.iter().map(|&block| source.load(block)).collect();
    }
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(blocks.len())));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(&block) = blocks.get(at) else { return };
            let read = source.load(block);
            if read.is_err() {
                next.store(blocks.len(), Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, read));
        }
    };
    std::thread::scope(|scope| (0..readers).for_each(|_| drop(scope.spawn(work))));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, read)| read).collect()
}

fn assemble(
    data: &Dataset,
    pass: &Pass,
    windows: &Receiver<Result<Loaded, DataError>>,
    send: &SyncSender<Result<Batch, DataError>>,
) {
    let draw = pass.epoch.map(Epoch::draw);
    let mut batch = data.empty_batch();
    while let Ok(loaded) = windows.recv() {
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                let _ = send.send(Err(error));
                return;
            }
        };
        for pick in &loaded.window.picks {
            let block = loaded.window.blocks[pick.slot as usize];
            let content = &loaded.blocks[pick.slot as usize];
            data.push(content, block, pick.row, draw, &mut batch);
            if batch.len == pass.batch {
                let full = std::mem::replace(&mut batch, data.empty_batch());
                if send.send(Ok(full)).is_err() {
                    return;
                }
            }
        }
    }
    if batch.len >= pass.least.max(1) {
        let _ = send.send(Ok(batch));
    }
}

/// Cuts `samples` into at most `parts` ranges whose sizes differ by one at the most, larger first.
///
/// ```
/// assert_eq!(mixnn_data::micro_batches(10, 4), [0..3, 3..6, 6..8, 8..10]);
/// assert_eq!(mixnn_data::micro_batches(2, 4), [0..1, 1..2]);
/// ```
pub fn micro_batches(samples: usize, parts: usize) -> Vec<Range<usize>> {
    let parts = parts.clamp(1, samples.max(1));
    let (least, larger) = (samples / parts, samples % parts);
    let mut start = 0;
    let range = |i: usize| {
        let end = start + least + usize::from(i < larger);
        let range = start..end;
        start = end;
        range
    };
    (0..parts).map(range).collect()
}
