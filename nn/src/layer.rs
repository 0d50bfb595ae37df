//! One layer, cut out of the model.

use crate::error::Context;
use crate::network::Network;
use crate::ops::Mode;
use crate::state::State;
use crate::{LayerKey, NnError, clip, optimizer};
use mixnn_model::{Learning, Op};
use std::collections::HashMap;
use tch::{Device, Tensor};

/// One layer: forward, backward, step, and one step back.
pub struct Layer {
    network: Network,
    learning: Learning,
    key: LayerKey,
    current: State,
    previous: Option<State>,
    /// Graphs of micro-batches whose gradient has not come yet.
    graphs: HashMap<u32, Graph>,
    /// The buffers as the step under way has changed them; none before its first forward pass.
    buffers: Option<Vec<Tensor>>,
}

struct Graph {
    input: Tensor,
    output: Tensor,
}

impl Layer {
    /// The layer before its first step.
    ///
    /// # Errors
    /// Out of memory, most likely.
    pub fn new(
        ops: &[Op],
        learning: &Learning,
        device: Device,
        key: LayerKey,
    ) -> Result<Self, NnError> {
        let network = Network::new(ops, learning.precision, device);
        let current = State::first(&network, &key)?;
        Ok(Self {
            network,
            learning: learning.clone(),
            key,
            current,
            previous: None,
            graphs: HashMap::new(),
            buffers: None,
        })
    }

    /// Optimizer steps done.
    pub const fn step(&self) -> u64 {
        self.current.step
    }

    /// Output of a micro-batch in training; the graph is kept for [`backward`](Self::backward).
    ///
    /// `wants_gradient`: whether a layer before this one needs the gradient by the input.
    ///
    /// # Errors
    /// The input does not fit, or there is no memory.
    pub fn forward(
        &mut self,
        micro_batch: u32,
        input: &Tensor,
        wants_gradient: bool,
    ) -> Result<Tensor, NnError> {
        let input = input.f_detach().context("taking the input")?;
        let input = if wants_gradient { input.set_requires_grad(true) } else { input };
        let mode = Mode::Train { key: &self.key, step: self.current.step + 1, micro_batch };
        let buffers = self.buffers.get_or_insert_with(|| self.current.copy_buffers());
        let output = self.network.forward(&input, &self.current.parameters, buffers, mode)?;
        let sent = output.f_detach().context("giving the output")?;
        self.graphs.insert(micro_batch, Graph { input, output });
        Ok(sent)
    }

    /// Adds a micro-batch's part to the gradients of the parameters; gives the gradient by the input
    /// if [`forward`](Self::forward) was asked for it.
    ///
    /// Call it in the order of micro-batches: the order of sums is a part of the bits.
    ///
    /// # Errors
    /// No such micro-batch went forward, or the gradient does not fit.
    pub fn backward(
        &mut self,
        micro_batch: u32,
        gradient: &Tensor,
    ) -> Result<Option<Tensor>, NnError> {
        let graph = self.graphs.remove(&micro_batch);
        let Graph { input, output } = graph.ok_or_else(|| {
            NnError::Order(format!(
                "a gradient for micro-batch {micro_batch}, which has not gone forward"
            ))
        })?;
        if gradient.size() != output.size() {
            let (found, expected) = (gradient.size(), output.size());
            return Err(NnError::Mismatch(format!(
                "a gradient of shape {found:?} for an output of {expected:?}"
            )));
        }
        if output.requires_grad() {
            // tch gives `backward` no gradient; the product's derivative by `output` is exactly it.
            let there = gradient.f_to_device(output.device());
            let product = there.and_then(|g| output.f_mul(&g)).and_then(|p| p.f_sum(output.kind()));
            product.and_then(|s| s.f_backward()).context("backward")?;
        }
        if !input.requires_grad() {
            return Ok(None);
        }
        input.f_grad().map(Some).context("gradient by the input")
    }

    /// Output of a batch in evaluation.
    ///
    /// # Errors
    /// The input does not fit, or there is no memory.
    pub fn evaluate(&self, input: &Tensor) -> Result<Tensor, NnError> {
        let State { parameters, buffers, .. } = &self.current;
        tch::no_grad(|| self.network.forward(input, parameters, buffers, Mode::Eval))
    }

    /// The norms of the gathered gradients, one a parameter, in order: what the owner needs to clip.
    ///
    /// # Errors
    /// Nothing was gathered.
    pub fn gradient_norms(&self) -> Result<Vec<f32>, NnError> {
        clip::norms(&self.current.parameters)
    }

    /// Applies the gathered gradients, each multiplied by `scale` if there is one. The state before
    /// stays until the next step.
    ///
    /// # Errors
    /// Nothing was gathered, or there is no memory; the state is then as before.
    pub fn apply(&mut self, scale: Option<f32>) -> Result<(), NnError> {
        let mut next = optimizer::step(&self.learning, &self.current, scale)?;
        if let Some(buffers) = self.buffers.take() {
            next.buffers = buffers;
        }
        let before = std::mem::replace(&mut self.current, next);
        clear_gradients(&before)?;
        self.previous = Some(before);
        self.graphs.clear();
        Ok(())
    }

    /// Goes back to the state after `step` steps, and forgets what was gathered since.
    ///
    /// # Errors
    /// That state is not kept: only the last two are.
    pub fn roll_back(&mut self, step: u64) -> Result<(), NnError> {
        self.graphs.clear();
        self.buffers = None;
        clear_gradients(&self.current)?;
        if self.current.step == step {
            return Ok(());
        }
        match self.previous.take_if(|p| p.step == step) {
            Some(previous) => {
                self.current = previous;
                Ok(())
            }
            None => Err(NnError::Order(format!(
                "the state after step {step} is not kept; this layer is at step {}",
                self.current.step
            ))),
        }
    }

    /// Keyed digest of parameters and buffers: equal bits, equal digest.
    ///
    /// # Errors
    /// libtorch refuses.
    pub fn digest(&self) -> Result<[u8; 32], NnError> {
        self.current.digest(&self.network, &self.key)
    }

    /// Parameters and optimizer state as safetensors.
    ///
    /// # Errors
    /// libtorch refuses.
    pub fn export(&self) -> Result<Vec<u8>, NnError> {
        self.current.to_safetensors(&self.network)
    }

    /// Takes up the state that [`export`](Self::export) wrote.
    ///
    /// # Errors
    /// It belongs to another layer. The state is then as before.
    pub fn import(&mut self, bytes: &[u8]) -> Result<(), NnError> {
        self.current = State::from_safetensors(bytes, &self.network)?;
        self.previous = None;
        self.buffers = None;
        self.graphs.clear();
        Ok(())
    }
}

pub(crate) fn clear_gradients(state: &State) -> Result<(), NnError> {
    for p in &state.parameters {
        let mut gradient = p.f_grad().context("clearing a gradient")?;
        if gradient.defined() {
            // Sums begin from +0, as with a fresh gradient: only the sign of a zero could differ.
            drop(gradient.f_zero_().context("clearing a gradient")?);
        }
    }
    Ok(())
}
