//! One optimizer step over the ring.

use crate::Prepared;
use crate::fault::{Fault, Interrupt};
use crate::mailbox::Mailbox;
use mixnn_data::Batch;
use mixnn_events::{Doing, Spent};
use mixnn_model::LossPlacement;
use mixnn_nn::{
    MicroBatch, NnError, StepReport, Tally, clip_factor, loss, tensor_from_wire, tensor_to_wire,
};
use mixnn_protocol::control::Command;
use mixnn_protocol::{Kind, Message};
use std::time::{Duration, Instant};

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
    /// The norm of all gradients, where they are clipped by it.
    pub(crate) gradient_norm: Option<f64>,
    /// Where this process's time goes.
    pub(crate) spent: Spent,
}

/// Milliseconds from then to now, to the microsecond.
pub(crate) fn since(then: Instant) -> f64 {
    then.elapsed().as_micros() as f64 / 1e3
}

/// Drives steps; each commits on every layer or on none.
pub(crate) struct Stepper<'m, 'b, 'p> {
    pub(crate) mailbox: &'b mut Mailbox<'m>,
    pub(crate) prepared: &'p Prepared,
    /// Without a word from any layer for so long, a step is taken back.
    pub(crate) stall: Duration,
}

impl Stepper<'_, '_, '_> {
    /// Sends a batch's inputs (and labels, where the last layer computes the loss).
    pub(crate) fn inject(&mut self, number: u64, batch: &Batch) -> Result<Flight, Interrupt> {
        let mut flight = Flight {
            number,
            batch: self.prepared.cut(batch)?,
            samples: batch.len,
            launched: 0,
            done: 0,
            report: StepReport::default(),
            gradient_norm: None,
            spent: Spent::default(),
        };
        self.launch(&mut flight)?;
        Ok(flight)
    }

    fn launch(&mut self, flight: &mut Flight) -> Result<(), NnError> {
        if self.loss_at_last_layer() {
            for (i, m) in flight.batch.iter().enumerate() {
                let labels = tensor_to_wire(&m.labels)?;
                self.mailbox.send(Kind::Labels, flight.number, i as u32, labels);
            }
        }
        self.launch_more(flight)
    }

    /// Sends inputs until as many are on their way as layers have memory for.
    fn launch_more(&mut self, flight: &mut Flight) -> Result<(), NnError> {
        let most = flight.done as usize + self.prepared.in_flight();
        if flight.launched == flight.batch.len().min(most) {
            return Ok(());
        }
        let (first, began) = (flight.launched as u32, self.mailbox.begin());
        while flight.launched < flight.batch.len().min(most) {
            let input = tensor_to_wire(&flight.batch[flight.launched].inputs)?;
            self.mailbox.send(Kind::Activation, flight.number, flight.launched as u32, input);
            flight.launched += 1;
        }
        self.mailbox.computed(Doing::Inputs, flight.number, first, began);
        Ok(())
    }

    fn loss_at_last_layer(&self) -> bool {
        self.prepared.model.training().loss.placement == LossPlacement::LastLayer
    }

    /// Computes losses and sends gradients as outputs come, until the last one has left.
    pub(crate) fn propagate(&mut self, flight: &mut Flight) -> Result<(), Interrupt> {
        while (flight.done as usize) < flight.batch.len() {
            if self.loss_at_last_layer() {
                self.take_loss(flight)?;
            } else {
                self.take_output(flight)?;
            }
            self.launch_more(flight)?;
        }
        Ok(())
    }

    fn take_output(&mut self, flight: &mut Flight) -> Result<(), Interrupt> {
        let (step, micro_batch) = (flight.number, flight.done);
        let wanted = |m: &Message| {
            (m.header.kind, m.header.step, m.header.micro_batch)
                == (Kind::Activation, step, micro_batch)
        };
        let begun = Instant::now();
        let next = self.mailbox.wait(self.stall, |mailbox| {
            let at = mailbox.outputs.iter().position(wanted)?;
            mailbox.outputs.remove(at)
        })?;
        flight.spent.outputs += since(begun);
        let begun = Instant::now();
        let output = next.ok_or_else(|| self.stalled("the output of", flight))?;
        let labels = &flight.batch[micro_batch as usize].labels;
        let outputs = tensor_from_wire(&output.payload)?;
        let spec = &self.prepared.model.training().loss;
        let output = loss(spec, &outputs, labels, flight.samples)?;
        self.mailbox.send(Kind::Gradient, step, micro_batch, tensor_to_wire(&output.gradient)?);
        flight.add(output.loss, output.tally);
        flight.spent.loss += since(begun);
        self.mailbox.computed(Doing::Loss, step, micro_batch, Some(begun));
        Ok(())
    }

    fn take_loss(&mut self, flight: &mut Flight) -> Result<(), Interrupt> {
        let wanted = (flight.number, flight.done);
        let begun = Instant::now();
        let next = self.mailbox.wait(self.stall, |mailbox| {
            let at = mailbox.losses.iter().position(|l| (l.0, l.1) == wanted)?;
            mailbox.losses.remove(at)
        })?;
        flight.spent.outputs += since(begun);
        let (_, _, loss, tally) = next.ok_or_else(|| self.stalled("the loss of", flight))?;
        flight.add(loss, tally);
        Ok(())
    }

    /// Waits until every layer has applied the step.
    pub(crate) fn commit(&mut self, flight: &mut Flight) -> Result<(), Interrupt> {
        let number = flight.number;
        self.clip(flight)?;
        let all = |mailbox: &mut Mailbox<'_>| {
            mailbox.known.iter().all(|known| known.applied >= number).then_some(())
        };
        if self.mailbox.wait(self.stall, all)?.is_some() {
            return Ok(());
        }
        let late = self.mailbox.names_of(|known| known.applied < number);
        let what = format!("layer {late} has not applied step {number}");
        Err(Fault::Stalled { seconds: self.stall.as_secs(), what }.into())
    }

    /// Where gradients are clipped: gathers their norms, in model order, and tells every layer by what
    /// to scale.
    fn clip(&mut self, flight: &mut Flight) -> Result<(), Interrupt> {
        let Some(max_norm) = self.prepared.model.training().clip_norm else { return Ok(()) };
        let number = flight.number;
        let all = |mailbox: &mut Mailbox<'_>| {
            let norms = mailbox.known.iter().map(|known| {
                known.norms.as_ref().filter(|(step, _)| *step == number).map(|(_, norms)| norms)
            });
            norms
                .collect::<Option<Vec<_>>>()
                .map(|norms| norms.into_iter().flatten().copied().collect())
        };
        let norms: Option<Vec<f32>> = self.mailbox.wait(self.stall, all)?;
        let norms = norms.ok_or_else(|| self.stalled("the gradients' norms of", flight))?;
        let squares = norms.iter().map(|norm| f64::from(*norm).powi(2));
        flight.gradient_norm = Some(squares.sum::<f64>().sqrt());
        let factor = clip_factor(&norms, max_norm)?;
        self.mailbox.command_all(&Command::Apply(factor.to_bits()), number)?;
        Ok(())
    }

    fn stalled(&self, of: &str, flight: &Flight) -> Fault {
        let what = format!("{of} step {}, micro-batch {}", flight.number, flight.done);
        Fault::Stalled { seconds: self.stall.as_secs(), what }
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

    /// Loss and right answers.
    pub(crate) const fn report(&self) -> StepReport {
        self.report
    }
}
