//! The whole model in one process: what the distributed run is held against.

use crate::clip::{self, clip_factor};
use crate::digest::model_digest;
use crate::error::Context;
use crate::loss::Tally;
use crate::network::Network;
use crate::ops::Mode;
use crate::state::{State, merge_exports};
use crate::{LayerKey, NnError, OwnerSecret, device, loss, optimizer};
use mixnn_model::{Learning, LossSpec, Model};
use tch::Tensor;

/// Part of a batch.
pub struct MicroBatch {
    /// Samples, batch first: f32, or i64 for tokens.
    pub inputs: Tensor,
    /// Their labels, batch first: i64 for classes and tokens, f32 for numbers and bits.
    pub labels: Tensor,
}

/// What a step gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepReport {
    /// Mean loss over the samples.
    pub loss: f64,
    /// What was right.
    pub tally: Tally,
}

/// A model that runs in one process, in one autograd graph from input to loss.
pub struct Reference {
    parts: Vec<Part>,
    loss: LossSpec,
    clip_norm: Option<f64>,
    owner: OwnerSecret,
}

struct Part {
    name: String,
    network: Network,
    learning: Learning,
    key: LayerKey,
    state: State,
}

impl Reference {
    /// The model before its first step of `total_steps`.
    ///
    /// # Errors
    /// A layer asks for a GPU and there is none, or there is no memory.
    pub fn new(model: &Model, owner: &OwnerSecret, total_steps: u64) -> Result<Self, NnError> {
        let part = |layer: &mixnn_model::Layer| {
            let name = layer.spec.name.clone();
            let learning = model.learning(layer, total_steps);
            let device = device::choose(layer.spec.device)?;
            let network = Network::new(&layer.spec.ops, &learning, device);
            let key = owner.layer_key(&name);
            let state = State::first(&network, &key)?;
            Ok(Part { name, network, learning, key, state })
        };
        let parts = model.layers().iter().map(part).collect::<Result<_, NnError>>()?;
        let training = model.training();
        let (loss, clip_norm) = (training.loss.clone(), training.clip_norm);
        Ok(Self { parts, loss, clip_norm, owner: owner.clone() })
    }

    /// One optimizer step over its micro-batches.
    ///
    /// # Errors
    /// Shapes do not fit, or the loss is not finite.
    pub fn train(&mut self, micro_batches: &[MicroBatch]) -> Result<StepReport, NnError> {
        let samples = micro_batches.iter().map(|m| m.labels.size()[0] as usize).sum();
        let buffers: Vec<Vec<Tensor>> = self.parts.iter().map(|p| p.state.copy_buffers()).collect();
        let mut report = StepReport::default();
        for (micro_batch, m) in micro_batches.iter().enumerate() {
            let outputs = self.forward(&m.inputs, Some((micro_batch as u32, &buffers)))?;
            let (loss, tally) = loss::weighted(&self.loss, &outputs, &m.labels, samples)?;
            report.loss += loss::finite(&loss)?;
            report.tally += tally;
            loss.f_backward().context("backward")?;
        }
        let scale = self.scale()?;
        for (part, buffers) in self.parts.iter_mut().zip(buffers) {
            part.state = State { buffers, ..optimizer::step(&part.learning, &part.state, scale)? };
        }
        Ok(report)
    }

    fn scale(&self) -> Result<Option<f32>, NnError> {
        let Some(max_norm) = self.clip_norm else { return Ok(None) };
        let learning = self.parts.iter().filter(|p| !p.learning.frozen);
        let norms = learning.map(|p| clip::norms(&p.state.parameters));
        let norms: Vec<Vec<f32>> = norms.collect::<Result<_, _>>()?;
        clip_factor(&norms.concat(), max_norm).map(Some)
    }

    /// Outputs in evaluation.
    ///
    /// # Errors
    /// Shapes do not fit.
    pub fn evaluate(&self, inputs: &Tensor) -> Result<Tensor, NnError> {
        tch::no_grad(|| self.forward(inputs, None))
    }

    /// In training: which micro-batch, and the buffers of each layer that it changes.
    fn forward(
        &self,
        inputs: &Tensor,
        training: Option<(u32, &[Vec<Tensor>])>,
    ) -> Result<Tensor, NnError> {
        let mut x = inputs.shallow_clone();
        for (place, part) in self.parts.iter().enumerate() {
            let State { step, parameters, buffers, .. } = &part.state;
            let (mode, buffers) = match training {
                Some((micro_batch, buffers)) => {
                    (Mode::Train { key: &part.key, step: step + 1, micro_batch }, &buffers[place])
                }
                None => (Mode::Eval, buffers),
            };
            x = part.network.forward(&x, parameters, buffers, mode)?;
        }
        Ok(x)
    }

    /// Takes up one state for each layer, in order, as a layer's export wrote it.
    ///
    /// # Errors
    /// There are not as many as layers, or one of them is another layer's. The model is then as before.
    pub fn import<'a>(
        &mut self,
        states: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Result<(), NnError> {
        if states.len() != self.parts.len() {
            let (found, layers) = (states.len(), self.parts.len());
            return Err(NnError::State(format!("{found} states for {layers} layers")));
        }
        let read = |(part, bytes): (&Part, &[u8])| State::from_safetensors(bytes, &part.network);
        let states: Vec<State> =
            self.parts.iter().zip(states).map(read).collect::<Result<_, _>>()?;
        self.parts.iter_mut().zip(states).for_each(|(part, state)| part.state = state);
        Ok(())
    }

    /// Keyed digest of all weights.
    ///
    /// # Errors
    /// libtorch refuses.
    pub fn digest(&self) -> Result<[u8; 32], NnError> {
        let of = |p: &Part| p.state.digest(&p.network, &p.key);
        let layers = self.parts.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        Ok(model_digest(&self.owner, &layers))
    }

    /// All weights as one safetensors file with PyTorch's names.
    ///
    /// # Errors
    /// libtorch refuses.
    pub fn export(&self) -> Result<Vec<u8>, NnError> {
        let of = |p: &Part| p.state.export(&p.network)?.to_bytes();
        let exports = self.parts.iter().map(of).collect::<Result<Vec<_>, _>>()?;
        merge_exports(
            self.parts.iter().map(|p| p.name.as_str()).zip(exports.iter().map(Vec::as_slice)),
        )
    }
}
