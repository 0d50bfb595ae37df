//! The whole model in this process: what serving over the ring is held against, in bits and in time.

use super::convert::{from_wire, to_wire};
use super::versions::{Catalogue, Loaded};
use crate::DesignerError;
use futures_util::future::BoxFuture;
use mixnn_nn::{NnError, Reference, tensor_from_wire, tensor_to_wire};
use mixnn_serving::{Answer, Backend, BackendError, ModelInfo, Tensor, Version};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// For the thread that computes.
pub(super) enum Job {
    /// A batch.
    Batch { input: Tensor, reply: oneshot::Sender<Result<Answer, BackendError>> },
    /// Another version is to be taken into use.
    Version(Loaded),
}

/// The way to the thread that computes.
pub(super) struct OneProcess {
    model: ModelInfo,
    catalogue: Catalogue,
    jobs: Sender<Job>,
}

impl OneProcess {
    pub(super) fn new(model: ModelInfo, catalogue: Catalogue) -> (Self, Sender<Job>, Receiver<Job>) {
        let (jobs, receive) = channel();
        (Self { model, catalogue, jobs: jobs.clone() }, jobs, receive)
    }
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
            let _ = self.jobs.send(Job::Batch { input, reply });
        }
        Box::pin(async move {
            let gone = || BackendError::Unavailable {
                message: "the model is no longer served here".into(),
                retry_after: Duration::from_secs(5),
            };
            answer.await.unwrap_or_else(|_| Err(gone()))
        })
    }
}

/// Computes batches until nobody can hand any in.
///
/// # Errors
/// The first version cannot be taken into use.
pub(super) fn compute(
    mut model: Reference,
    first: &Loaded,
    jobs: &Receiver<Job>,
    catalogue: &Catalogue,
    mut served: impl FnMut(&Loaded),
) -> Result<(), DesignerError> {
    take_up(&mut model, first)?;
    let mut version = first.name();
    catalogue.serve(first.number);
    served(first);
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Version(loaded) => {
                take_up(&mut model, &loaded)?;
                version = loaded.name();
                catalogue.serve(loaded.number);
                served(&loaded);
            }
            Job::Batch { input, reply } => {
                let output = evaluate(&model, &input).map_err(|error| {
                    tracing::error!(%error, "a batch failed");
                    BackendError::Failed("the model failed".into())
                });
                let answer = |output| Answer { version: version.clone(), outputs: vec![output] };
                // The client may have gone away.
                let _ = reply.send(output.map(answer));
            }
        }
    }
    Ok(())
}

fn take_up(model: &mut Reference, loaded: &Loaded) -> Result<(), NnError> {
    model.import(loaded.states.iter().map(|s| s.bytes.as_slice()))
}

fn evaluate(model: &Reference, input: &Tensor) -> Result<Tensor, String> {
    let wire = to_wire(input).ok_or("an input of an element type that does not travel")?;
    let input = tensor_from_wire(&wire).map_err(|e| e.to_string())?;
    let output = model.evaluate(&input).and_then(|o| tensor_to_wire(&o)).map_err(|e| e.to_string())?;
    from_wire(output)
}

