//! Batches of normalised samples, prepared ahead on a thread of their own.

use crate::Dataset;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

/// Batches prepared ahead.
const AHEAD: usize = 2;

/// How pixels become numbers: `(p / 255 - mean) / std`, in f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// Mean of the pixels, as 0 to 1.
    pub mean: f32,
    /// Their standard deviation.
    pub std: f32,
}

impl Normalisation {
    fn apply(self, pixel: u8) -> f32 {
        (f32::from(pixel) / 255.0 - self.mean) / self.std
    }
}

/// Samples with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `labels.len()` samples, one after the other.
    pub images: Vec<f32>,
    /// The class of each.
    pub labels: Vec<i64>,
}

/// The batches of one pass over the data, in order. Ends its thread when dropped.
pub struct Batches {
    receive: Option<Receiver<Batch>>,
    thread: Option<JoinHandle<()>>,
}

impl Batches {
    /// Batches of `size` samples in this order; the last one may be smaller.
    ///
    /// # Panics
    /// `size` is 0, or no thread can be made.
    pub fn new(data: Arc<Dataset>, order: Vec<u32>, size: usize, norm: Normalisation) -> Self {
        assert!(size > 0, "a batch has at least one sample");
        let (send, receive) = sync_channel(AHEAD);
        let prepare = move || {
            for part in order.chunks(size) {
                // The consumer has gone away: nothing is left to do.
                if send.send(gather(&data, part, norm)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("batches".into()).spawn(prepare);
        let thread = thread.expect("a thread can be made");
        Self { receive: Some(receive), thread: Some(thread) }
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.receive.as_ref()?.recv().ok()
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.receive = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn gather(data: &Dataset, order: &[u32], norm: Normalisation) -> Batch {
    let size = data.sample_len();
    let mut images = Vec::with_capacity(order.len() * size);
    for &i in order {
        let pixels = &data.pixels[i as usize * size..(i as usize + 1) * size];
        images.extend(pixels.iter().map(|&p| norm.apply(p)));
    }
    let labels = order.iter().map(|&i| i64::from(data.labels[i as usize])).collect();
    Batch { images, labels }
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
