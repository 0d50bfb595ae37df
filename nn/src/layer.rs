//! One layer, cut out of the model.
//!
//! A state is never changed in place, so keeping one costs the memory of its tensors and no time.
//! Kept are the present state and the one before it, until the next barrier proves that every layer
//! has got as far; and the last two snapshots, for when another layer is lost. The state before the
//! first step is made again from the layer's key. Of a large state, fewer copies are kept.

use crate::error::Context;
use crate::export::Export;
use crate::network::Network;
use crate::ops::Mode;
use crate::state::State;
use crate::{LayerKey, NnError, clip, optimizer};
use mixnn_model::{Learning, Op};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use tch::{Device, Tensor};

/// Snapshots that are kept: the last whole checkpoint's, and that of the one on its way.
const SNAPSHOTS: usize = 2;
/// Bytes of a state that is kept as few times as can be: one snapshot, and the state before the present
/// one no longer than it may be gone back to. The vault has the rest.
const LARGE: usize = 256 << 20;

/// One layer: forward, backward, step, and back to states that are kept.
pub struct Layer {
    network: Network,
    learning: Learning,
    key: LayerKey,
    current: Rc<State>,
    previous: Option<Rc<State>>,
    /// States after every `snapshot_every`-th step, oldest first.
    snapshots: VecDeque<Rc<State>>,
    snapshot_every: u64,
    /// Whether the key alone gives the state before the first step: not once weights were brought in.
    from_key: bool,
    /// Whether its state is none of the model's: one has to be brought in.
    is_blank: bool,
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
        let network = Network::new(ops, learning, device);
        let current = Rc::new(State::first(&network, &key)?);
        Ok(Self {
            network,
            learning: learning.clone(),
            key,
            current,
            previous: None,
            snapshots: VecDeque::new(),
            snapshot_every: 0,
            from_key: true,
            is_blank: false,
            graphs: HashMap::new(),
            buffers: None,
        })
    }

    /// The same layer, that keeps the states after every `steps` steps; 0: none.
    #[must_use]
    pub const fn with_snapshots(mut self, steps: u64) -> Self {
        self.snapshot_every = steps;
        self
    }

    /// The same layer, whose first state is not what its key gives: it has none before one is brought in.
    #[must_use]
    pub const fn without_first_state(mut self) -> Self {
        self.from_key = false;
        self.is_blank = true;
        self
    }

    /// Optimizer steps done.
    pub fn step(&self) -> u64 {
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
        if self.is_large() {
            // A gradient has gone forward through every layer, each of which had applied the step before.
            self.previous = None;
        }
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
        let State { parameters, buffers, .. } = &*self.current;
        tch::no_grad(|| self.network.forward(input, parameters, buffers, Mode::Eval))
    }

    /// The norms of the gathered gradients, one a parameter, in order: what the owner needs to clip.
    ///
    /// # Errors
    /// Nothing was gathered.
    pub fn gradient_norms(&self) -> Result<Vec<f32>, NnError> {
        if self.learning.frozen {
            return Ok(Vec::new());
        }
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
        self.previous = Some(Rc::new(self.current.without_gradients()?));
        self.current = Rc::new(next);
        self.graphs.clear();
        self.take_snapshot()
    }

    fn take_snapshot(&mut self) -> Result<(), NnError> {
        let step = self.current.step;
        if step.checked_rem(self.snapshot_every) != Some(0) {
            return Ok(());
        }
        // A step that is replayed gives the same state again.
        self.snapshots.retain(|kept| kept.step < step);
        // Without the gradients that the next step gathers on its parameters.
        self.snapshots.push_back(Rc::new(self.current.without_gradients()?));
        let most = if self.is_large() { 1 } else { SNAPSHOTS };
        while self.snapshots.len() > most {
            self.snapshots.pop_front();
        }
        Ok(())
    }

    fn is_large(&self) -> bool {
        self.current.size() > LARGE
    }

    /// The steps after which the state can be gone back to, rising.
    pub fn kept(&self) -> Vec<u64> {
        let steps: BTreeSet<u64> =
            self.states().map(|s| s.step).chain(self.from_key.then_some(0)).collect();
        steps.into_iter().collect()
    }

    fn states(&self) -> impl Iterator<Item = &Rc<State>> {
        let present = (!self.is_blank).then_some(&self.current);
        present.into_iter().chain(&self.previous).chain(&self.snapshots)
    }

    fn state(&self, step: u64) -> Result<Rc<State>, NnError> {
        if let Some(state) = self.states().find(|s| s.step == step) {
            return Ok(state.clone());
        }
        if step == 0 && self.from_key {
            return State::first(&self.network, &self.key).map(Rc::new);
        }
        Err(NnError::Order(format!(
            "the state after step {step} is not kept; those after {:?} are",
            self.kept()
        )))
    }

    /// Goes back to the state after `step` steps, and forgets what was gathered since and every later
    /// state.
    ///
    /// # Errors
    /// That state is not kept.
    pub fn roll_back(&mut self, step: u64) -> Result<(), NnError> {
        // Without gradients: sums begin as they did the first time, to the sign of a zero.
        self.current = Rc::new(self.state(step)?.without_gradients()?);
        self.buffers = None;
        self.graphs.clear();
        self.previous.take_if(|p| p.step >= step);
        self.snapshots.retain(|s| s.step <= step);
        Ok(())
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
    pub fn export(&self) -> Result<Export, NnError> {
        self.current.export(&self.network)
    }

    /// The same of the state after `step` steps, if it is kept.
    ///
    /// # Errors
    /// That state is not kept, or libtorch refuses.
    pub fn export_at(&self, step: u64) -> Result<Export, NnError> {
        self.state(step)?.export(&self.network)
    }

    /// Takes up the state that [`export`](Self::export) wrote.
    ///
    /// # Errors
    /// It belongs to another layer. The state is then as before.
    pub fn import(&mut self, bytes: &[u8]) -> Result<(), NnError> {
        self.current = Rc::new(State::from_safetensors(bytes, &self.network)?);
        self.from_key &= self.current.step > 0;
        self.is_blank = false;
        self.previous = None;
        self.snapshots.clear();
        self.buffers = None;
        self.graphs.clear();
        self.take_snapshot()
    }
}
