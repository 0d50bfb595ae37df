//! One layer, cut out of the model.

use crate::digest::layer_digest;
use crate::error::Context;
use crate::network::Network;
use crate::ops::Mode;
use crate::optimizer;
use crate::state::State;
use crate::{LayerKey, NnError};
use mixnn_model::{Op, OptimizerSpec};
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// One layer: forward, backward, step, and one step back.
pub struct Layer {
    network: Network,
    optimizer: OptimizerSpec,
    key: LayerKey,
    current: State,
    previous: Option<State>,
    /// Graphs of micro-batches whose gradient has not come yet.
    graphs: HashMap<u32, Graph>,
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
    pub fn new(ops: &[Op], optimizer: &OptimizerSpec, key: LayerKey) -> Result<Self, NnError> {
        let network = Network::new(ops);
        let parameters = network.init(&key)?;
        let current = State { parameters, ..State::default() };
        Ok(Self {
            network,
            optimizer: optimizer.clone(),
            key,
            current,
            previous: None,
            graphs: HashMap::new(),
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
        let output = self.network.forward(&input, &self.current.parameters, mode)?;
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
            let product = output.f_mul(gradient).and_then(|p| p.f_sum(Kind::Float));
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
        tch::no_grad(|| self.network.forward(input, &self.current.parameters, Mode::Eval))
    }

    /// Applies the gathered gradients. The state before stays until the next step.
    ///
    /// # Errors
    /// Nothing was gathered, or there is no memory; the state is then as before.
    pub fn apply(&mut self) -> Result<(), NnError> {
        let next = optimizer::step(&self.optimizer, &self.current)?;
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

    /// Keyed digest of the parameters: equal bits, equal digest.
    ///
    /// # Errors
    /// libtorch refuses.
    pub fn digest(&self) -> Result<[u8; 32], NnError> {
        layer_digest(&self.key, &self.network.names(), &self.current.parameters)
    }

    /// Parameters and optimizer state as safetensors.
    ///
    /// # Errors
    /// libtorch refuses.
    pub fn export(&self) -> Result<Vec<u8>, NnError> {
        self.current.to_safetensors(&self.network.names())
    }

    /// Takes up the state that [`export`](Self::export) wrote.
    ///
    /// # Errors
    /// It belongs to another layer. The state is then as before.
    pub fn import(&mut self, bytes: &[u8]) -> Result<(), NnError> {
        let (names, shapes) = (self.network.names(), self.network.shapes());
        self.current = State::from_safetensors(bytes, &names, &shapes)?;
        self.previous = None;
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
