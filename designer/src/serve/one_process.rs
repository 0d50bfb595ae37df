//! The whole model in this process: what serving over the ring is held against, in bits and in time.

use super::catalogue::Catalogue;
use super::convert::{from_wire, to_wire};
use super::gate::gone;
use super::shelf::Loaded;
use crate::DesignerError;
use futures_util::future::BoxFuture;
use mixnn_nn::{Reference, tensor_from_wire, tensor_to_wire};
use mixnn_serving::{Answer, Backend, BackendError, ModelInfo, Tensor, Version};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;
use tokio::sync::oneshot;

/// How soon a newer version is noticed while nobody asks anything.
const LOOK: Duration = Duration::from_millis(200);

/// A batch for the thread that computes.
pub(super) struct Job {
    input: Tensor,
    reply: oneshot::Sender<Result<Answer, BackendError>>,
}

/// The way to the thread that computes.
pub(super) struct OneProcess {
    pub(super) model: ModelInfo,
    pub(super) catalogue: Catalogue,
    pub(super) jobs: Sender<Job>,
}

impl Backend for OneProcess {
    fn model(&self) -> &ModelInfo {
        &self.model
    }

    fn versions(&self) -> Vec<Version> {
        self.catalogue.list()
    }

    fn infer(&self, mut inputs: Vec<Tensor>) -> BoxFuture<'static, Result<Answer, BackendError>> {
        let (reply, answer) = oneshot::channel();
        if let Some(input) = inputs.pop() {
            // A thread that has ended drops the reply, which tells.
            let _ = self.jobs.send(Job { input, reply });
        }
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(gone())) })
    }
}

/// Computes batches until nobody can hand any in. Between two batches, a newer version takes the place
/// of the one that is served.
pub(super) fn compute(
    model: &mut Reference,
    first: &Loaded,
    (jobs, versions): (&Receiver<Job>, &Receiver<Loaded>),
    catalogue: &Catalogue,
    mut served: impl FnMut(&Loaded),
) -> Result<(), DesignerError> {
    let mut take_up = |model: &mut Reference, loaded: &Loaded| {
        model.import(loaded.states.iter().map(|s| s.bytes.as_slice()))?;
        catalogue.serve(loaded.number);
        served(loaded);
        Ok::<_, DesignerError>(loaded.name())
    };
    let mut version = take_up(model, first)?;
    loop {
        if let Ok(loaded) = versions.try_recv() {
            version = take_up(model, &loaded)?;
        }
        let Job { input, reply } = match jobs.recv_timeout(LOOK) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let output = evaluate(model, &input).map_err(|error| {
            tracing::error!(error, "a batch failed");
            BackendError::Failed("the model failed".into())
        });
        let answer = |output| Answer { version: version.clone(), outputs: vec![output] };
        // The client may have gone away.
        let _ = reply.send(output.map(answer));
    }
}

fn evaluate(model: &Reference, input: &Tensor) -> Result<Tensor, String> {
    let wire = to_wire(input).ok_or("an input of an element type that does not travel")?;
    let input = tensor_from_wire(&wire).map_err(|e| e.to_string())?;
    let output =
        model.evaluate(&input).and_then(|o| tensor_to_wire(&o)).map_err(|e| e.to_string())?;
    from_wire(output)
}
