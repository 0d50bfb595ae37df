//! The whole model in one process: what the distributed run is held against.

use crate::digest::{layer_digest, model_digest};
use crate::error::Context;
use crate::network::Network;
use crate::ops::Mode;
use crate::state::{State, merge_exports};
use crate::{LayerKey, NnError, OwnerSecret, loss, optimizer};
use mixnn_model::{Model, OptimizerSpec};
use tch::Tensor;

/// Part of a batch.
pub struct MicroBatch {
    /// Samples, f32, batch first.
    pub images: Tensor,
    /// Their labels, i64.
    pub labels: Tensor,
}

/// What a step or a test gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepReport {
    /// Mean loss over the samples.
    pub loss: f64,
    /// Right answers.
    pub correct: u32,
}

/// A model that runs in one process, in one autograd graph from input to loss.
pub struct Reference {
    parts: Vec<Part>,
    optimizer: OptimizerSpec,
    owner: OwnerSecret,
}

struct Part {
    name: String,
    network: Network,
    key: LayerKey,
    state: State,
}

impl Reference {
    /// The model before its first step.
    ///
    /// # Errors
    /// Out of memory, most likely.
    pub fn new(model: &Model, owner: &OwnerSecret) -> Result<Self, NnError> {
        let part = |layer: &mixnn_model::Layer| {
            let name = layer.spec.name.clone();
            let (network, key) = (Network::new(&layer.spec.ops), owner.layer_key(&name));
            let state = State { parameters: network.init(&key)?, ..State::default() };
            Ok(Part { name, network, key, state })
        };
        let parts = model.layers().iter().map(part).collect::<Result<_, NnError>>()?;
        Ok(Self { parts, optimizer: model.training().optimizer.clone(), owner: owner.clone() })
    }

    /// One optimizer step over the micro-batches of one batch.
    ///
    /// # Errors
    /// Shapes do not fit, or the loss is not finite.
    pub fn train(&mut self, micro_batches: &[MicroBatch]) -> Result<StepReport, NnError> {
        let batch = micro_batches.iter().map(|m| m.labels.size()[0] as usize).sum();
        let mut report = StepReport::default();
        for (micro_batch, m) in micro_batches.iter().enumerate() {
            let logits = self.forward(&m.images, Some(micro_batch as u32))?;
            let (loss, correct) = loss::weighted(&logits, &m.labels, batch)?;
            report.loss += loss::finite(&loss)?;
            report.correct += correct;
            loss.f_backward().context("backward")?;
        }
        for part in &mut self.parts {
            part.state = optimizer::step(&self.optimizer, &part.state)?;
        }
        Ok(report)
    }

    /// Logits in evaluation.
    ///
    /// # Errors
    /// Shapes do not fit.
    pub fn evaluate(&self, images: &Tensor) -> Result<Tensor, NnError> {
        tch::no_grad(|| self.forward(images, None))
    }

    fn forward(&self, images: &Tensor, micro_batch: Option<u32>) -> Result<Tensor, NnError> {
        let x = images.shallow_clone();
        self.parts.iter().try_fold(x, |x, part| {
            let step = part.state.step + 1;
            let mode = micro_batch.map_or(Mode::Eval, |micro_batch| Mode::Train {
                key: &part.key,
                step,
                micro_batch,
            });
            part.network.forward(&x, &part.state.parameters, mode)
        })
    }

    /// Keyed digest of all weights.
    ///
    /// # Errors
    /// libtorch refuses.
    pub fn digest(&self) -> Result<[u8; 32], NnError> {
        let of = |p: &Part| layer_digest(&p.key, &p.network.names(), &p.state.parameters);
        let layers = self.parts.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        Ok(model_digest(&self.owner, &layers))
    }

    /// All weights as one safetensors file with PyTorch's names.
    ///
    /// # Errors
    /// libtorch refuses.
    pub fn export(&self) -> Result<Vec<u8>, NnError> {
        let of = |p: &Part| p.state.to_safetensors(&p.network.names());
        let exports = self.parts.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        merge_exports(
            self.parts.iter().map(|p| p.name.as_str()).zip(exports.iter().map(Vec::as_slice)),
        )
    }
}
