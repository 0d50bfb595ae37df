//! Dynamic batching: requests that wait at the same time go through the model together.
//!
//! A batch leaves when a place in the backend is free and it is full, or its oldest request has waited
//! for `max_delay`. So with a delay of zero nobody waits for company, and batches still form while all
//! places are taken: load makes them larger.

use crate::{Answer, Backend, InferError, Metrics, Tensor};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// How requests are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// The most samples of a batch, and so of one request.
    pub max_size: usize,
    /// How long a request may wait for others to fill its batch.
    pub max_delay: Duration,
    /// Batches in the backend at once.
    pub in_flight: usize,
    /// Put requests together at all. Without it each request is a batch of its own, and its answer has
    /// the bits of the same batch anywhere else.
    pub merge: bool,
    /// The most requests that wait; one more is told to come again.
    pub queue: usize,
    /// The most bytes of inputs that wait or are in the backend, those of clients that have gone away
    /// included; a request that would be more is told to come again.
    pub bytes: usize,
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            max_size: 32,
            max_delay: Duration::ZERO,
            in_flight: 4,
            merge: true,
            queue: 1024,
            bytes: 256 << 20,
        }
    }
}

struct Pending {
    inputs: Vec<Tensor>,
    samples: usize,
    since: Instant,
    reply: oneshot::Sender<Result<Answer, InferError>>,
    /// Its share of [`Batching::bytes`].
    _bytes: OwnedSemaphorePermit,
}

/// Bytes of a permit: a semaphore counts to 2^29 on small machines.
const PERMIT: usize = 1 << 10;

/// The way into the backend.
#[derive(Clone)]
pub(crate) struct Batcher {
    queue: mpsc::Sender<Pending>,
    bytes: Arc<Semaphore>,
}

impl Batcher {
    /// Starts the task that forms batches. It ends when the last handle is dropped.
    pub(crate) fn start(backend: Arc<dyn Backend>, how: Batching, metrics: Arc<Metrics>) -> Self {
        let (queue, waiting) = mpsc::channel(how.queue.max(1));
        let places = Arc::new(Semaphore::new(how.in_flight.max(1)));
        let bytes = Arc::new(Semaphore::new(how.bytes.div_ceil(PERMIT)));
        let former = Former { waiting, over: VecDeque::new(), how, places, backend, metrics };
        tokio::spawn(former.run());
        Self { queue, bytes }
    }

    /// Takes a request's inputs through the backend, in whatever company.
    pub(crate) async fn infer(&self, inputs: Vec<Tensor>) -> Result<Answer, InferError> {
        let (reply, answer) = oneshot::channel();
        let samples = inputs.first().map_or(0, Tensor::samples);
        let full = || InferError::busy("too many requests are waiting");
        let size: usize = inputs.iter().map(|input| input.data.len()).sum();
        let permits = u32::try_from(size.div_ceil(PERMIT)).map_err(|_| full())?;
        let bytes = self.bytes.clone().try_acquire_many_owned(permits).map_err(|_| full())?;
        let pending = Pending { inputs, samples, since: Instant::now(), reply, _bytes: bytes };
        self.queue.try_send(pending).map_err(|_| full())?;
        answer.await.unwrap_or_else(|_| Err(InferError::busy("the server is ending")))
    }
}

struct Former {
    waiting: mpsc::Receiver<Pending>,
    /// A request that did not fit into the last batch.
    over: VecDeque<Pending>,
    how: Batching,
    places: Arc<Semaphore>,
    backend: Arc<dyn Backend>,
    metrics: Arc<Metrics>,
}

impl Former {
    async fn run(mut self) {
        while let Some(first) = self.next().await {
            // Others come in while this waits.
            let Ok(place) = self.places.clone().acquire_owned().await else { return };
            let batch = self.gather(first).await;
            if batch.is_empty() {
                continue;
            }
            self.metrics.batch(batch.iter().map(|p| p.samples).sum());
            let waited = batch.iter().map(|p| p.since.elapsed());
            waited.for_each(|w| self.metrics.waited(w));
            tokio::spawn(go(self.backend.clone(), batch, place));
        }
    }

    async fn next(&mut self) -> Option<Pending> {
        match self.over.pop_front() {
            Some(pending) => Some(pending),
            None => self.waiting.recv().await,
        }
    }

    /// Fills a batch up; requests whose clients have gone away are left out.
    async fn gather(&mut self, first: Pending) -> Vec<Pending> {
        let leaves = first.since + self.how.max_delay;
        let mut samples = 0;
        let mut batch: Vec<Pending> = Vec::new();
        let mut next = Some(first);
        while let Some(pending) = next {
            if !pending.reply.is_closed() {
                if samples + pending.samples > self.how.max_size && !batch.is_empty() {
                    self.over.push_back(pending);
                    break;
                }
                samples += pending.samples;
                batch.push(pending);
            }
            if samples >= self.how.max_size || !self.how.merge && !batch.is_empty() {
                break;
            }
            // Who is here already comes along, however late it is.
            next = tokio::select! {
                biased;
                pending = self.waiting.recv() => pending,
                () = sleep_until(leaves) => None,
            };
        }
        batch
    }
}

async fn go(backend: Arc<dyn Backend>, batch: Vec<Pending>, place: OwnedSemaphorePermit) {
    let sizes: Vec<usize> = batch.iter().map(|p| p.samples).collect();
    let result = match joined(&batch) {
        Some(inputs) => backend.infer(inputs).await.map_err(InferError::from),
        None => Err(InferError::Failed("inputs of one batch do not fit together".into())),
    };
    drop(place);
    let parts = result.and_then(|answer| split(&answer, &sizes));
    match parts {
        Ok(parts) => {
            batch.into_iter().zip(parts).for_each(|(p, part)| drop(p.reply.send(Ok(part))));
        }
        Err(error) => batch.into_iter().for_each(|p| drop(p.reply.send(Err(error.clone())))),
    }
}

fn joined(batch: &[Pending]) -> Option<Vec<Tensor>> {
    let inputs = batch.first()?.inputs.len();
    let input = |i: usize| {
        let parts: Vec<Tensor> = batch.iter().map(|p| p.inputs[i].clone()).collect();
        Tensor::concat(&parts)
    };
    (0..inputs).map(input).collect()
}

/// Each request's own part of what the batch gave.
fn split(answer: &Answer, sizes: &[usize]) -> Result<Vec<Answer>, InferError> {
    let wrong =
        || InferError::Failed("the model gave another number of samples than it got".into());
    let outputs: Vec<Vec<Tensor>> =
        answer.outputs.iter().map(|t| t.split(sizes)).collect::<Option<_>>().ok_or_else(wrong)?;
    let part = |i: usize| Answer {
        version: answer.version.clone(),
        outputs: outputs.iter().map(|of| of[i].clone()).collect(),
    };
    Ok((0..sizes.len()).map(part).collect())
}
