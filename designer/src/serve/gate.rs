//! Batches on their way through the ring.
//!
//! A batch waits here from the moment it is handed in until its answer has come, so that it can be sent
//! again after a fault. While the ring is being repaired, or takes up another version, the gate is shut
//! and batches wait.

use super::convert::{from_wire, to_wire};
use super::versions::Catalogue;
use futures_util::future::BoxFuture;
use mixnn_protocol::{Kind, Message, MessageHeader};
use mixnn_serving::{Answer, Backend, BackendError, ModelInfo, Tensor, Version};
use mixnn_transport::{Endpoint, LaneId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The way into the ring, in one attempt and with one version.
pub(super) struct Way {
    pub(super) endpoint: Endpoint,
    pub(super) lane: LaneId,
    pub(super) term: u32,
    pub(super) attempt: u32,
    pub(super) version: Arc<str>,
}

struct Pending {
    payload: Vec<u8>,
    samples: usize,
    /// When it was sent last; not yet, if not set.
    sent: Option<Instant>,
    reply: oneshot::Sender<Result<Answer, BackendError>>,
}

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
        let state = State { way: None, pending: BTreeMap::new(), next: 0, ended: false };
        Arc::new(Self { model, catalogue, state: Mutex::new(state) })
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Batches go through from now on: first those that wait, in their order.
    pub(super) fn open(&self, way: Way) {
        let mut state = self.locked();
        for (number, pending) in &mut state.pending {
            pending.sent = Some(Instant::now());
            way.send(*number, pending.payload.clone());
        }
        state.way = Some(way);
    }

    /// Batches wait from now on. What is on its way may still come.
    pub(super) fn shut(&self) {
        self.locked().way = None;
    }

    /// What is on its way will not come: it will be sent again.
    pub(super) fn lose(&self) {
        let mut state = self.locked();
        state.way = None;
        state.pending.values_mut().for_each(|p| p.sent = None);
    }

    /// Nothing more will be answered.
    pub(super) fn end(&self) {
        let mut state = self.locked();
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
        let Some(pending) = self.locked().pending.remove(&message.header.step) else { return Ok(()) };
        let output = from_wire(message.payload).and_then(|tensor| {
            let (found, expected) = (&tensor, &self.model.outputs[0]);
            let fits = found.samples() == pending.samples
                && found.sample_shape() == expected.sample
                && found.datatype == expected.datatype;
            if fits { Ok(tensor) } else { Err(format!("an output {found:?} for {} samples", pending.samples)) }
        });
        match output {
            Ok(output) => {
                let answer = Answer { version: version.clone(), outputs: vec![output] };
                // The client may have gone away.
                let _ = pending.reply.send(Ok(answer));
                Ok(())
            }
            Err(problem) => {
                let _ = pending.reply.send(Err(BackendError::Failed("the model failed".into())));
                Err(problem)
            }
        }
    }

    fn put(&self, payload: Vec<u8>, samples: usize) -> oneshot::Receiver<Result<Answer, BackendError>> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.locked();
        if state.ended {
            return answer;
        }
        let number = state.next;
        state.next += 1;
        let sent = state.way.as_ref().map(|way| {
            way.send(number, payload.clone());
            Instant::now()
        });
        state.pending.insert(number, Pending { payload, samples, sent, reply });
        answer
    }
}

impl Way {
    fn send(&self, number: u64, payload: Vec<u8>) {
        let header = MessageHeader {
            kind: Kind::Evaluation,
            term: self.term,
            attempt: self.attempt,
            step: number,
            micro_batch: 0,
        };
        self.endpoint.send(self.lane, header, payload);
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
        let batch = inputs.first().and_then(|input| Some((to_wire(input)?, input.samples())));
        let waiting = batch.map(|(payload, samples)| self.0.put(payload, samples));
        Box::pin(async move {
            let Some(waiting) = waiting else {
                return Err(BackendError::Failed("an input that cannot travel".into()));
            };
            let gone = || BackendError::Unavailable {
                message: "the model is no longer served here".into(),
                retry_after: Duration::from_secs(5),
            };
            waiting.await.unwrap_or_else(|_| Err(gone()))
        })
    }
}
