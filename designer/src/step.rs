//! One optimizer step over the ring, and taking it back.

use crate::mailbox::Mailbox;
use crate::{DesignerError, Prepared};
use mixnn_data::Batch;
use mixnn_model::LossPlacement;
use mixnn_nn::{
    MicroBatch, NnError, StepReport, Tally, clip_factor, loss, tensor_from_wire, tensor_to_wire,
};
use mixnn_protocol::control::Command;
use mixnn_protocol::{Kind, Message};
use std::time::Duration;

/// So often in a row, then the training ends.
const ATTEMPTS: u32 = 3;

/// A step on its way.
pub(crate) struct Flight {
    number: u64,
    batch: Vec<MicroBatch>,
    samples: usize,
    /// Micro-batches that have been sent.
    launched: usize,
    /// Micro-batches whose loss is known.
    done: u32,
    report: StepReport,
}

/// Drives steps; each commits on every layer or on none.
pub(crate) struct Stepper<'m, 'b, 'p> {
    pub(crate) mailbox: &'b mut Mailbox<'m>,
    pub(crate) prepared: &'p Prepared,
    /// Steps that every layer has applied.
    pub(crate) committed: u64,
    /// Without a word from any layer for so long, a step is taken back.
    pub(crate) stall: Duration,
}

impl Stepper<'_, '_, '_> {
    /// Sends a batch's inputs (and labels, where the last layer computes the loss).
    pub(crate) fn inject(&self, number: u64, batch: &Batch) -> Result<Flight, DesignerError> {
        let samples = batch.len;
        let mut flight = Flight {
            number,
            batch: self.prepared.cut(batch)?,
            samples,
            launched: 0,
            done: 0,
            report: StepReport::default(),
        };
        self.launch(&mut flight)?;
        Ok(flight)
    }

    fn launch(&self, flight: &mut Flight) -> Result<(), NnError> {
        flight.launched = 0;
        if self.loss_at_last_layer() {
            for (i, m) in flight.batch.iter().enumerate() {
                let labels = tensor_to_wire(&m.labels)?;
                self.mailbox.send(Kind::Labels, flight.number, i as u32, labels);
            }
        }
        self.launch_more(flight)
    }

    /// Sends inputs until as many are on their way as layers have memory for.
    fn launch_more(&self, flight: &mut Flight) -> Result<(), NnError> {
        let most = flight.done as usize + self.prepared.in_flight();
        while flight.launched < flight.batch.len().min(most) {
            let input = tensor_to_wire(&flight.batch[flight.launched].inputs)?;
            self.mailbox.send(Kind::Activation, flight.number, flight.launched as u32, input);
            flight.launched += 1;
        }
        Ok(())
    }

    fn loss_at_last_layer(&self) -> bool {
        self.prepared.model.training().loss.placement == LossPlacement::LastLayer
    }

    /// Computes losses and sends gradients as outputs come, until the last one has left.
    ///
    /// Gives `false` if nothing came for too long.
    pub(crate) fn propagate(&mut self, flight: &mut Flight) -> Result<bool, DesignerError> {
        while (flight.done as usize) < flight.batch.len() {
            let came = if self.loss_at_last_layer() {
                self.take_loss(flight)?
            } else {
                self.take_output(flight)?
            };
            if !came {
                return Ok(false);
            }
            self.launch_more(flight)?;
        }
        Ok(true)
    }

    fn take_output(&mut self, flight: &mut Flight) -> Result<bool, DesignerError> {
        let (step, micro_batch) = (flight.number, flight.done);
        let wanted = |m: &Message| {
            (m.header.kind, m.header.step, m.header.micro_batch)
                == (Kind::Activation, step, micro_batch)
        };
        let next = self.mailbox.wait(self.stall, |mailbox| {
            let at = mailbox.outputs.iter().position(wanted)?;
            mailbox.outputs.remove(at)
        })?;
        let Some(output) = next else { return Ok(false) };
        let labels = &flight.batch[micro_batch as usize].labels;
        let outputs = tensor_from_wire(&output.payload)?;
        let spec = &self.prepared.model.training().loss;
        let output = loss(spec, &outputs, labels, flight.samples)?;
        self.mailbox.send(Kind::Gradient, step, micro_batch, tensor_to_wire(&output.gradient)?);
        flight.add(output.loss, output.tally);
        Ok(true)
    }

    fn take_loss(&mut self, flight: &mut Flight) -> Result<bool, DesignerError> {
        let wanted = (flight.number, flight.done);
        let next = self.mailbox.wait(self.stall, |mailbox| {
            let at = mailbox.losses.iter().position(|l| (l.0, l.1) == wanted)?;
            mailbox.losses.remove(at)
        })?;
        let Some((_, _, loss, tally)) = next else { return Ok(false) };
        flight.add(loss, tally);
        Ok(true)
    }

    /// Waits until every layer has applied the step.
    pub(crate) fn commit(&mut self, flight: &Flight) -> Result<bool, DesignerError> {
        let number = flight.number;
        if !self.clip(number)? {
            return Ok(false);
        }
        let all = |mailbox: &mut Mailbox<'_>| {
            mailbox.known.iter().all(|known| known.applied >= number).then_some(())
        };
        let committed = self.mailbox.wait(self.stall, all)?.is_some();
        if committed {
            self.committed = number;
        }
        Ok(committed)
    }

    /// Where gradients are clipped: gathers their norms, in model order, and tells every layer by what
    /// to scale.
    fn clip(&mut self, number: u64) -> Result<bool, DesignerError> {
        let Some(max_norm) = self.prepared.model.training().clip_norm else { return Ok(true) };
        let all = |mailbox: &mut Mailbox<'_>| {
            let norms = mailbox.known.iter().map(|known| {
                known.norms.as_ref().filter(|(step, _)| *step == number).map(|(_, norms)| norms)
            });
            norms
                .collect::<Option<Vec<_>>>()
                .map(|norms| norms.into_iter().flatten().copied().collect())
        };
        let norms: Option<Vec<f32>> = self.mailbox.wait(self.stall, all)?;
        let Some(norms) = norms else { return Ok(false) };
        let factor = clip_factor(&norms, max_norm)?;
        self.mailbox.command_all(&Command::Apply(factor.to_bits()), number)?;
        Ok(true)
    }

    /// Takes every layer back to the last committed step, and sends the flight again.
    pub(crate) fn again(&mut self, flight: &mut Flight) -> Result<(), DesignerError> {
        let attempt = self.mailbox.next_attempt();
        if attempt > ATTEMPTS {
            let what = format!("step {}, in {ATTEMPTS} attempts", flight.number);
            return Err(DesignerError::Deadline { seconds: self.stall.as_secs(), what });
        }
        tracing::warn!(
            step = flight.number,
            attempt,
            "nothing came for long: the step is taken back"
        );
        self.mailbox.command_all(&Command::Rollback, self.committed)?;
        self.mailbox
            .wait_for_all(self.stall, "an answer to a rollback", |k| k.rolled_back >= attempt)?;
        for known in &mut self.mailbox.known {
            known.applied = self.committed;
            known.norms = None;
        }
        self.relaunch(flight)
    }

    /// Sends a flight from its beginning, in the present attempt.
    pub(crate) fn relaunch(&self, flight: &mut Flight) -> Result<(), DesignerError> {
        flight.done = 0;
        flight.report = StepReport::default();
        Ok(self.launch(flight)?)
    }
}

impl Flight {
    fn add(&mut self, loss: f64, tally: Tally) {
        self.report.loss += loss;
        self.report.tally += tally;
        self.done += 1;
    }

    /// The step's number.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Samples of the batch.
    pub(crate) const fn samples(&self) -> usize {
        self.samples
    }

    /// Loss and right answers so far.
    pub(crate) const fn report(&self) -> StepReport {
        self.report
    }
}
