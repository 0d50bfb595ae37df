//! Batches on their way through the ring.
//!
//! A batch waits here from the moment it is handed in until its answer has come, so that it can be sent
//! again after a fault. While the ring is being repaired, or takes up another version, the gate is shut
//! and batches wait. An answer is taken only of the attempt that the batch was sent in last: the mailbox
//! drops those of earlier ones.

use super::catalogue::Catalogue;
use super::convert::{from_wire, to_wire};
use futures_util::future::BoxFuture;
use mixnn_protocol::{Kind, Message, MessageHeader};
use mixnn_serving::{Answer, Backend, BackendError, ModelInfo, Tensor, Version};
use mixnn_transport::{Endpoint, LaneId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A batch that was lost so often is given back: it may be what breaks the ring.
const SENT_MOST: u32 = 4;
/// When a batch that could not be computed is worth another try.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The way into the ring, in one attempt.
pub(super) struct Way {
    pub(super) endpoint: Endpoint,
    pub(super) lane: LaneId,
    pub(super) term: u32,
    pub(super) attempt: u32,
}

type Reply = oneshot::Sender<Result<Answer, BackendError>>;

struct Pending {
    payload: Vec<u8>,
    samples: usize,
    /// When it was sent last; not yet, if not set.
    sent: Option<Instant>,
    /// How often it was sent.
    times: u32,
    reply: Reply,
}

#[derive(Default)]
struct State {
    way: Option<Way>,
    pending: BTreeMap<u64, Pending>,
    next: u64,
    /// Nothing more will be answered.
    ended: bool,
}

/// Where batches wait.
pub(super) struct Gate {
    model: ModelInfo,
    catalogue: Catalogue,
    state: Mutex<State>,
}

impl Gate {
    pub(super) fn new(model: ModelInfo, catalogue: Catalogue) -> Arc<Self> {
        Arc::new(Self { model, catalogue, state: Mutex::default() })
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Batches go through from now on: first those that wait, in their order.
    pub(super) fn open(&self, way: Way) {
        let mut state = self.locked();
        for (number, pending) in &mut state.pending {
            pending.send(&way, *number);
        }
        state.way = Some(way);
    }

    /// Batches wait from now on. What is on its way may still come.
    pub(super) fn shut(&self) {
        self.locked().way = None;
    }

    /// What is on its way will not come: it is sent again once the gate opens, unless that was done
    /// often enough.
    pub(super) fn lose(&self) {
        let mut state = self.locked();
        state.way = None;
        let given_up: Vec<u64> =
            state.pending.iter().filter(|(_, p)| p.times >= SENT_MOST).map(|(n, _)| *n).collect();
        for number in given_up {
            if let Some(pending) = state.pending.remove(&number) {
                let message = format!("the batch was lost {SENT_MOST} times on its way");
                pending.refuse(BackendError::Unavailable { message, retry_after: RETRY_AFTER });
            }
        }
        state.pending.values_mut().for_each(|p| p.sent = None);
    }

    /// Nothing more will be answered.
    pub(super) fn end(&self) {
        let mut state = self.locked();
        state.way = None;
        state.ended = true;
        state.pending.clear();
    }

    /// How long the batch that was sent first has been on its way; `None` if none is.
    pub(super) fn oldest(&self) -> Option<Duration> {
        let state = self.locked();
        state.pending.values().filter_map(|p| p.sent).min().map(|sent| sent.elapsed())
    }

    /// Hands an output of the last layer to who waits for it.
    ///
    /// # Errors
    /// It is no tensor, or not of the batch's size: a layer computes wrongly.
    pub(super) fn answer(&self, version: &Arc<str>, message: Message) -> Result<(), String> {
        let Some(pending) = self.locked().pending.remove(&message.header.step) else {
            return Ok(());
        };
        match self.output(&pending, message.payload) {
            Ok(output) => {
                let answer = Answer { version: version.clone(), outputs: vec![output] };
                // The client may have gone away.
                let _ = pending.reply.send(Ok(answer));
                Ok(())
            }
            Err(problem) => {
                pending.refuse(BackendError::Failed("the model failed".into()));
                Err(problem)
            }
        }
    }

    fn output(&self, pending: &Pending, payload: Vec<u8>) -> Result<Tensor, String> {
        let tensor = from_wire(payload)?;
        let expected = &self.model.outputs[0];
        let fits = tensor.samples() == pending.samples
            && tensor.sample_shape() == expected.sample
            && tensor.datatype == expected.datatype;
        if fits {
            return Ok(tensor);
        }
        Err(format!("{tensor:?} came out for a batch of {} samples", pending.samples))
    }

    fn put(&self, payload: Vec<u8>, samples: usize, reply: Reply) {
        let mut state = self.locked();
        if state.ended {
            return;
        }
        let number = state.next;
        state.next += 1;
        let mut pending = Pending { payload, samples, sent: None, times: 0, reply };
        if let Some(way) = &state.way {
            pending.send(way, number);
        }
        state.pending.insert(number, pending);
    }
}

impl Pending {
    fn send(&mut self, way: &Way, number: u64) {
        let header = MessageHeader {
            kind: Kind::Evaluation,
            term: way.term,
            attempt: way.attempt,
            step: number,
            micro_batch: 0,
        };
        way.endpoint.send(way.lane, header, self.payload.clone());
        self.sent = Some(Instant::now());
        self.times += 1;
    }

    fn refuse(self, error: BackendError) {
        // The client may have gone away.
        let _ = self.reply.send(Err(error));
    }
}

/// What is said when nobody is left to answer.
pub(super) fn gone() -> BackendError {
    BackendError::Unavailable {
        message: "the model is no longer served here".into(),
        retry_after: RETRY_AFTER,
    }
}

/// Batches into the ring, as the server sees it.
pub(super) struct RingBackend(pub(super) Arc<Gate>);

impl Backend for RingBackend {
    fn model(&self) -> &ModelInfo {
        &self.0.model
    }

    fn versions(&self) -> Vec<Version> {
        self.0.catalogue.list()
    }

    fn infer(&self, inputs: Vec<Tensor>) -> BoxFuture<'static, Result<Answer, BackendError>> {
        let (reply, answer) = oneshot::channel();
        let batch = inputs.first().and_then(|input| Some((to_wire(input)?, input.samples())));
        let travels = batch.is_some();
        if let Some((payload, samples)) = batch {
            self.0.put(payload, samples, reply);
        }
        Box::pin(async move {
            if !travels {
                return Err(BackendError::Failed("an input that cannot travel".into()));
            }
            answer.await.unwrap_or_else(|_| Err(gone()))
        })
    }
}
