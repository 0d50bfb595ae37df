//! An assigned layer: forward, backward and step, in whatever order messages come.

use crate::Lane;
use crate::stopwatch::Stopwatch;
use mixnn_model::{LossSpec, Op, Operation, Shape};
use mixnn_nn::{
    Export, Layer, LayerKey, LossOutput, NnError, Tensor, device, loss as loss_of,
    tensor_from_wire, tensor_to_wire,
};
use mixnn_protocol::control::{self, Assignment, Report};
use mixnn_protocol::times::Doing;
use mixnn_protocol::{Kind, MessageHeader};
use std::collections::BTreeMap;
use std::time::Instant;

/// Lane, kind, step, micro-batch, payload of what is to be sent.
pub(crate) type Out = (Lane, Kind, u64, u32, Vec<u8>);

pub(crate) struct Work {
    layer: Layer,
    micro_batches: u32,
    gives_gradient: bool,
    input: Vec<i64>,
    /// Inputs that wait for the step before theirs: the owner sends them ahead.
    inputs: BTreeMap<u32, Tensor>,
    /// Whether that step has come: they are computed, one by one.
    inputs_are_due: bool,
    /// Gradients that wait for their turn.
    gradients: BTreeMap<u32, Tensor>,
    /// Where this layer computes the loss: what waits for it.
    loss: Option<Loss>,
    /// The micro-batch whose gradient comes next.
    next: u32,
    /// Whether a step waits for the owner's word on how to scale the gradients.
    clips: bool,
    /// Set where the owner wants to know where the time goes.
    pub(crate) stopwatch: Option<Stopwatch>,
    outbox: Vec<Out>,
}

struct Loss {
    spec: LossSpec,
    labels: BTreeMap<(u64, u32), Tensor>,
    logits: BTreeMap<u32, Tensor>,
}

impl Loss {
    fn new(spec: &LossSpec) -> Self {
        Self { spec: spec.clone(), labels: BTreeMap::new(), logits: BTreeMap::new() }
    }
}

impl Work {
    pub(crate) fn new(
        assignment: &Assignment,
        key: LayerKey,
        gives_gradient: bool,
    ) -> Result<Self, NnError> {
        check_shapes(assignment)?;
        let device = device::choose(assignment.device)?;
        let layer = Layer::new(&assignment.ops, &assignment.learning, device, key)?
            .with_snapshots(assignment.snapshot_every);
        Ok(Self {
            layer: if assignment.imported { layer.without_first_state() } else { layer },
            clips: assignment.learning.clips,
            micro_batches: assignment.micro_batches,
            gives_gradient,
            input: assignment.input.iter().map(|&s| i64::from(s)).collect(),
            inputs: BTreeMap::new(),
            inputs_are_due: false,
            gradients: BTreeMap::new(),
            loss: assignment.loss.as_ref().map(Loss::new),
            next: 0,
            stopwatch: assignment.timed.then(Stopwatch::new),
            outbox: Vec::new(),
        })
    }

    pub(crate) fn take_outbox(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.outbox)
    }

    /// The input of a micro-batch of this step, or of the next.
    pub(crate) fn activation(
        &mut self,
        header: MessageHeader,
        bytes: &[u8],
    ) -> Result<(), NnError> {
        let input = self.checked_input(bytes)?;
        self.check_place(header.micro_batch)?;
        match header.step.checked_sub(self.layer.step()) {
            Some(1) => self.forward(header.micro_batch, &input),
            Some(2) => {
                self.inputs.insert(header.micro_batch, input);
                Ok(())
            }
            _ => Err(self.out_of_step("an input", header.step)),
        }
    }

    fn forward(&mut self, micro_batch: u32, input: &Tensor) -> Result<(), NnError> {
        let began = self.begin();
        let output = self.layer.forward(micro_batch, input, self.gives_gradient)?;
        self.computed(Doing::Forward, micro_batch, began);
        if let Some(loss) = &mut self.loss {
            loss.logits.insert(micro_batch, output);
            return self.compute_loss();
        }
        let step = self.layer.step() + 1;
        self.put(Lane::ForwardOut, Kind::Activation, step, micro_batch, &output)
    }

    pub(crate) fn evaluation(
        &mut self,
        header: MessageHeader,
        bytes: &[u8],
    ) -> Result<(), NnError> {
        let input = self.checked_input(bytes)?;
        let output = self.layer.evaluate(&input)?;
        self.put(Lane::ForwardOut, Kind::Evaluation, header.step, header.micro_batch, &output)
    }

    pub(crate) fn gradient(&mut self, header: MessageHeader, bytes: &[u8]) -> Result<(), NnError> {
        self.check_place(header.micro_batch)?;
        if self.loss.is_some() {
            return Err(NnError::Mismatch("a gradient where labels are expected".into()));
        }
        if header.step != self.layer.step() + 1 {
            return Err(self.out_of_step("a gradient", header.step));
        }
        self.gradients.insert(header.micro_batch, tensor_from_wire(bytes)?);
        self.backward()
    }

    /// Labels of a micro-batch, of this step or of the next.
    pub(crate) fn labels(&mut self, header: MessageHeader, bytes: &[u8]) -> Result<(), NnError> {
        self.check_place(header.micro_batch)?;
        let ahead = header.step.checked_sub(self.layer.step());
        let Some(loss) = &mut self.loss else {
            return Err(NnError::Mismatch("labels where gradients are expected".into()));
        };
        if !matches!(ahead, Some(1 | 2)) {
            return Err(self.out_of_step("labels", header.step));
        }
        loss.labels.insert((header.step, header.micro_batch), tensor_from_wire(bytes)?);
        self.compute_loss()
    }

    /// Computes the loss of every micro-batch that has come through, once all labels of the step are
    /// there: their number is the batch's size.
    fn compute_loss(&mut self) -> Result<(), NnError> {
        let step = self.layer.step() + 1;
        let Some(loss) = &mut self.loss else { return Ok(()) };
        let of_step = || loss.labels.range((step, 0)..(step + 1, 0));
        if of_step().count() < self.micro_batches as usize {
            return Ok(());
        }
        let batch: i64 = of_step().filter_map(|(_, labels)| labels.size().first().copied()).sum();
        for (micro_batch, logits) in std::mem::take(&mut loss.logits) {
            let Some(labels) = loss.labels.get(&(step, micro_batch)) else { continue };
            let began = self.stopwatch.as_ref().map(|_| Instant::now());
            let LossOutput { loss, tally, gradient } =
                loss_of(&loss.spec, &logits, labels, batch as usize)?;
            if let (Some(began), Some(watch)) = (began, &mut self.stopwatch) {
                watch.computed(Doing::Loss, step, micro_batch, began);
            }
            self.gradients.insert(micro_batch, gradient);
            let report = Report::Loss {
                loss,
                answers: tally.answers,
                correct: tally.correct,
                top5: tally.top5,
            };
            let report = control::to_bytes(&report).map_err(|e| NnError::Order(e.to_string()))?;
            self.outbox.push((Lane::Report, Kind::Report, step, micro_batch, report));
        }
        self.backward()
    }

    /// Takes gradients in the order of micro-batches: the order of sums is a part of the bits.
    fn backward(&mut self) -> Result<(), NnError> {
        let step = self.layer.step() + 1;
        while let Some(gradient) = self.gradients.remove(&self.next) {
            let began = self.begin();
            let out = self.layer.backward(self.next, &gradient)?;
            self.computed(Doing::Backward, self.next, began);
            if let Some(out) = out {
                self.put(Lane::BackwardOut, Kind::Gradient, step, self.next, &out)?;
            }
            self.next += 1;
        }
        match self.next == self.micro_batches {
            true if self.clips => self.report_norms(),
            true => self.apply(None),
            false => Ok(()),
        }
    }

    fn report_norms(&mut self) -> Result<(), NnError> {
        let norms = self.layer.gradient_norms()?;
        let norms = Report::Norms(norms.into_iter().map(f32::to_bits).collect());
        let norms = control::to_bytes(&norms).map_err(|e| NnError::Order(e.to_string()))?;
        self.outbox.push((Lane::Report, Kind::Report, self.layer.step() + 1, 0, norms));
        Ok(())
    }

    /// The owner's word on how to scale the gradients of a step. A step that is applied is applied.
    pub(crate) fn apply_scaled(&mut self, step: u64, scale: f32) -> Result<(), NnError> {
        if step <= self.layer.step() {
            return Ok(());
        }
        let waits = self.clips && step == self.layer.step() + 1 && self.next == self.micro_batches;
        if !waits || !scale.is_finite() {
            return Err(self.out_of_step("a scale of gradients", step));
        }
        self.apply(Some(scale))
    }

    fn apply(&mut self, scale: Option<f32>) -> Result<(), NnError> {
        let began = self.begin();
        self.layer.apply(scale)?;
        self.next = 0;
        self.inputs_are_due = true;
        let step = self.layer.step();
        if let (Some(began), Some(watch)) = (began, &mut self.stopwatch) {
            watch.computed(Doing::Apply, step, 0, began);
        }
        if let Some(loss) = &mut self.loss {
            loss.labels.retain(|(of, _), _| *of > step);
        }
        let applied = match &mut self.stopwatch {
            Some(watch) => Report::Timed(watch.take(step)),
            None => Report::Applied,
        };
        let applied = control::to_bytes(&applied).map_err(|e| NnError::Order(e.to_string()))?;
        self.outbox.push((Lane::Report, Kind::Report, step, 0, applied));
        Ok(())
    }

    /// Takes the next of the inputs that came before their step had begun. Gives whether there was one.
    ///
    /// One at a time: what came of it is to leave before the next is computed.
    pub(crate) fn go_on(&mut self) -> Result<bool, NnError> {
        if !self.inputs_are_due {
            return Ok(false);
        }
        let Some((micro_batch, input)) = self.inputs.pop_first() else {
            self.inputs_are_due = false;
            return Ok(false);
        };
        let done = self.forward(micro_batch, &input);
        self.inputs_are_due = done.is_ok();
        done.map(|()| true)
    }

    /// When a computation begins, if that is to be known.
    fn begin(&self) -> Option<Instant> {
        self.stopwatch.as_ref().map(|_| Instant::now())
    }

    /// A computation of the step under way has ended.
    fn computed(&mut self, doing: Doing, micro_batch: u32, began: Option<Instant>) {
        let step = self.layer.step() + 1;
        if let (Some(began), Some(watch)) = (began, &mut self.stopwatch) {
            watch.computed(doing, step, micro_batch, began);
        }
    }

    /// The steps after which the state can be gone back to.
    pub(crate) fn kept(&self) -> Vec<u64> {
        self.layer.kept()
    }

    pub(crate) fn roll_back(&mut self, step: u64) -> Result<(), NnError> {
        self.layer.roll_back(step)?;
        self.forget();
        Ok(())
    }

    /// Whatever was gathered for the step under way belongs to an attempt that is over.
    fn forget(&mut self) {
        self.inputs.clear();
        self.inputs_are_due = false;
        self.gradients.clear();
        self.outbox.clear();
        self.next = 0;
        if let Some(watch) = &mut self.stopwatch {
            watch.forget();
        }
        if let Some(loss) = &mut self.loss {
            *loss = Loss::new(&loss.spec);
        }
    }

    pub(crate) fn digest(&self) -> Result<[u8; 32], NnError> {
        self.layer.digest()
    }

    pub(crate) fn export_at(&self, step: u64) -> Result<Export, NnError> {
        self.layer.export_at(step)
    }

    pub(crate) fn import(&mut self, step: u64, bytes: &[u8]) -> Result<(), NnError> {
        self.layer.import(bytes)?;
        self.forget();
        if self.layer.step() != step {
            let found = self.layer.step();
            return Err(NnError::State(format!("the state after step {found}, not {step}")));
        }
        Ok(())
    }

    fn put(
        &mut self,
        lane: Lane,
        kind: Kind,
        step: u64,
        micro_batch: u32,
        tensor: &Tensor,
    ) -> Result<(), NnError> {
        self.outbox.push((lane, kind, step, micro_batch, tensor_to_wire(tensor)?));
        Ok(())
    }

    fn checked_input(&self, bytes: &[u8]) -> Result<Tensor, NnError> {
        let input = tensor_from_wire(bytes)?;
        match input.size().split_first() {
            Some((samples, sample)) if *samples > 0 && sample == self.input => Ok(input),
            _ => {
                let (found, expected) = (input.size(), &self.input);
                Err(NnError::Mismatch(format!(
                    "an input of shape {found:?}; samples have {expected:?}"
                )))
            }
        }
    }

    fn check_place(&self, micro_batch: u32) -> Result<(), NnError> {
        if micro_batch < self.micro_batches {
            return Ok(());
        }
        let most = self.micro_batches;
        Err(NnError::Mismatch(format!("micro-batch {micro_batch} of {most}")))
    }

    fn out_of_step(&self, what: &str, step: u64) -> NnError {
        NnError::Order(format!(
            "{what} of step {step}; this layer is at step {}",
            self.layer.step()
        ))
    }
}

/// The owner has checked the whole model; a pod still does not take its word for it.
fn check_shapes(assignment: &Assignment) -> Result<(), NnError> {
    let refuse = |problem: String| Err(NnError::State(problem));
    let shape = |sizes: &[u32]| Shape::new(sizes.iter().map(|&s| s as usize).collect::<Vec<_>>());
    let infer = || {
        let input = match (assignment.vocabulary, assignment.input.as_slice()) {
            (Some(vocabulary), [length]) => Shape::tokens(*length as usize, vocabulary as usize)?,
            _ => shape(&assignment.input)?,
        };
        assignment.ops.iter().try_fold(input, |x, op: &Op| op.output(&x))
    };
    let output = match infer() {
        Ok(output) => output,
        Err(error) => return refuse(error.to_string()),
    };
    let parameters: usize = assignment.ops.iter().map(|op| op.parameters().len()).sum();
    if parameters != assignment.learning.settings.len() {
        let settings = assignment.learning.settings.len();
        return refuse(format!("{settings} settings for {parameters} parameters"));
    }
    if shape(&assignment.output).ok() != Some(output) {
        return refuse("the operations do not give the output that the assignment says".into());
    }
    if !(1..=1024).contains(&assignment.micro_batches) {
        return refuse(format!("{} micro-batches", assignment.micro_batches));
    }
    Ok(())
}
