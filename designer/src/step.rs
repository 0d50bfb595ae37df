//! One optimizer step over the ring, and taking it back.

use crate::mailbox::Mailbox;
use crate::{DesignerError, Prepared};
use mixnn_data::Batch;
use mixnn_model::LossPlacement;
use mixnn_nn::{MicroBatch, NnError, StepReport, cross_entropy, tensor_from_wire, tensor_to_wire};
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
        let samples = batch.labels.len();
        let flight = Flight {
            number,
            batch: self.prepared.cut(batch)?,
            samples,
            done: 0,
            report: StepReport::default(),
        };
        self.launch(&flight)?;
        Ok(flight)
    }

    fn launch(&self, flight: &Flight) -> Result<(), NnError> {
        for (i, m) in flight.batch.iter().enumerate() {
            let send = |kind, tensor| -> Result<(), NnError> {
                self.mailbox.send(kind, flight.number, i as u32, tensor_to_wire(tensor)?);
                Ok(())
            };
            if self.loss_at_last_layer() {
                send(Kind::Labels, &m.labels)?;
            }
            send(Kind::Activation, &m.images)?;
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
        let loss = cross_entropy(&tensor_from_wire(&output.payload)?, labels, flight.samples)?;
        self.mailbox.send(Kind::Gradient, step, micro_batch, tensor_to_wire(&loss.gradient)?);
        flight.add(loss.loss, loss.correct);
        Ok(true)
    }

    fn take_loss(&mut self, flight: &mut Flight) -> Result<bool, DesignerError> {
        let wanted = (flight.number, flight.done);
        let next = self.mailbox.wait(self.stall, |mailbox| {
            let at = mailbox.losses.iter().position(|l| (l.0, l.1) == wanted)?;
            mailbox.losses.remove(at)
        })?;
        let Some((_, _, loss, correct)) = next else { return Ok(false) };
        flight.add(loss, correct);
        Ok(true)
    }

    /// Waits until every layer has applied the step.
    pub(crate) fn commit(&mut self, flight: &Flight) -> Result<bool, DesignerError> {
        let number = flight.number;
        let all = |mailbox: &mut Mailbox<'_>| {
            mailbox.known.iter().all(|known| known.applied >= number).then_some(())
        };
        let committed = self.mailbox.wait(self.stall, all)?.is_some();
        if committed {
            self.committed = number;
        }
        Ok(committed)
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
    fn add(&mut self, loss: f64, correct: u32) {
        self.report.loss += loss;
        self.report.correct += correct;
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
