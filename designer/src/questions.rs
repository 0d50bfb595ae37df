//! Questions of the owner about single pictures, answered over the ring between two steps of a training.

use crate::Prepared;
use crate::serve::{from_wire, model_info, to_wire};
use futures_util::future::BoxFuture;
use mixnn_serving::{Answer, Backend, BackendError, ModelInfo, Tensor, Version};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// Questions that may wait.
const WAITING: usize = 8;

/// One of them.
pub(crate) struct Question {
    input: Tensor,
    reply: oneshot::Sender<Result<Answer, BackendError>>,
}

impl Question {
    /// The input as it travels on a lane.
    pub(crate) fn payload(&self) -> Option<Vec<u8>> {
        to_wire(&self.input)
    }

    /// Answers it with what came off the last lane after `step` steps.
    pub(crate) fn answer(self, step: u64, output: Vec<u8>) {
        let version = format!("after step {step}").into();
        let answer = from_wire(output)
            .map(|output| Answer { version, outputs: vec![output] })
            .map_err(BackendError::Failed);
        // Who asked may have gone away.
        let _ = self.reply.send(answer);
    }
}

/// Where a training finds them.
pub struct Questions {
    asked: Receiver<Question>,
    waiting: RefCell<VecDeque<Question>>,
}

/// Where they are asked.
pub struct Asking {
    model: ModelInfo,
    asked: SyncSender<Question>,
}

impl Questions {
    /// Both ends, for the model called `name`.
    pub fn new(name: &str, prepared: &Prepared) -> (Asking, Self) {
        let (send, asked) = sync_channel(WAITING);
        let model = model_info(name, &prepared.model);
        (Asking { model, asked: send }, Self { asked, waiting: RefCell::default() })
    }

    /// Whether anybody waits for an answer.
    pub(crate) fn are_waiting(&self) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        waiting.extend(self.asked.try_iter());
        !waiting.is_empty()
    }

    /// The next one.
    pub(crate) fn next(&self) -> Option<Question> {
        self.are_waiting().then(|| self.waiting.borrow_mut().pop_front()).flatten()
    }
}

impl Backend for Asking {
    fn model(&self) -> &ModelInfo {
        &self.model
    }

    fn versions(&self) -> Vec<Version> {
        let (name, reason) = ("0".into(), String::new());
        vec![Version { name, served: true, ready: true, reason }]
    }

    fn infer(&self, mut inputs: Vec<Tensor>) -> BoxFuture<'static, Result<Answer, BackendError>> {
        let (reply, answer) = oneshot::channel();
        let asked = inputs.pop().map(|input| self.asked.try_send(Question { input, reply }));
        let full = matches!(asked, Some(Err(TrySendError::Full(_))));
        Box::pin(async move {
            if full {
                return Err(unavailable("more questions wait than are taken"));
            }
            // A fault loses it, and the end of the training.
            let lost =
                |_| Err(unavailable("the training recovers from a fault, or has ended: ask again"));
            answer.await.unwrap_or_else(lost)
        })
    }
}

fn unavailable(message: &str) -> BackendError {
    BackendError::Unavailable { message: message.into(), retry_after: Duration::from_secs(1) }
}
