//! What comes in from the layers, sorted; and what goes out to them.

use crate::DesignerError;
use crate::pool::Pool;
use crate::ring::{End, Lane, Ring};
use mixnn_model::Layer;
use mixnn_nn::Tally;
use mixnn_protocol::control::{self, Command, Report};
use mixnn_protocol::{Kind, LaneRole, Message, MessageHeader};
use mixnn_transport::{Endpoint, Event, Events};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The designer's ends of all lanes.
pub(crate) struct Mailbox<'a> {
    endpoint: Endpoint,
    events: Events,
    ring: Ring,
    layers: &'a [Layer],
    /// The relays, and over how many of them letters go.
    pool: (Pool, usize),
    term: u32,
    attempt: u32,
    /// Outputs of the last layer that have not been taken.
    pub(crate) outputs: VecDeque<Message>,
    /// Losses that the last layer computed: step, micro-batch, loss, what was right.
    pub(crate) losses: VecDeque<(u64, u32, f64, Tally)>,
    /// What is known of each layer.
    pub(crate) known: Vec<Known>,
}

/// What is known of a layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) hello: bool,
    pub(crate) ready: bool,
    pub(crate) applied: u64,
    /// Norms of the gradients of a step.
    pub(crate) norms: Option<(u64, Vec<f32>)>,
    pub(crate) rolled_back: u32,
    pub(crate) digest: Option<[u8; 32]>,
    pub(crate) export: Option<Vec<u8>>,
}

impl<'a> Mailbox<'a> {
    pub(crate) fn new(
        endpoint: Endpoint,
        events: Events,
        ring: Ring,
        layers: &'a [Layer],
        term: u32,
        pool: (Pool, usize),
    ) -> Self {
        let known = vec![Known::default(); layers.len()];
        let (outputs, losses) = (VecDeque::new(), VecDeque::new());
        Self { endpoint, events, ring, layers, pool, term, attempt: 0, outputs, losses, known }
    }

    /// Sends a tensor into the ring: inputs to the first layer, gradients and labels to the last.
    pub(crate) fn send(&self, kind: Kind, step: u64, micro_batch: u32, payload: Vec<u8>) {
        let (first, last) = (End::Layer(0), End::Layer(self.layers.len() - 1));
        let lane = match kind {
            Kind::Gradient | Kind::Labels => self.ring.id(LaneRole::Backward, End::Designer, last),
            _ => self.ring.id(LaneRole::Forward, End::Designer, first),
        };
        self.endpoint.send(lane, self.header(kind, step, micro_batch), payload);
    }

    /// Tells every layer the same.
    pub(crate) fn command_all(&self, command: &Command, step: u64) -> Result<(), DesignerError> {
        (0..self.layers.len()).try_for_each(|i| self.command(i, command, step))
    }

    /// Tells one layer.
    pub(crate) fn command(
        &self,
        layer: usize,
        command: &Command,
        step: u64,
    ) -> Result<(), DesignerError> {
        let lane = self.ring.id(LaneRole::Command, End::Designer, End::Layer(layer));
        let payload =
            control::to_bytes(command).map_err(|e| DesignerError::Stopped(e.to_string()))?;
        self.endpoint.send(lane, self.header(Kind::Command, step, 0), payload);
        Ok(())
    }

    const fn header(&self, kind: Kind, step: u64, micro_batch: u32) -> MessageHeader {
        MessageHeader { kind, term: self.term, attempt: self.attempt, step, micro_batch }
    }

    /// Begins another attempt: whatever is on its way is of no more use.
    pub(crate) fn next_attempt(&mut self) -> u32 {
        self.attempt += 1;
        self.outputs.clear();
        self.losses.clear();
        self.attempt
    }

    /// Waits until every layer is as wanted; the error names those that are not.
    pub(crate) fn wait_for_all(
        &mut self,
        within: Duration,
        what: &str,
        is_done: impl Fn(&Known) -> bool,
    ) -> Result<(), DesignerError> {
        let done = |mailbox: &mut Self| mailbox.known.iter().all(&is_done).then_some(());
        if self.wait(within, done)?.is_some() {
            return Ok(());
        }
        let missing: Vec<String> = self
            .layers
            .iter()
            .zip(&self.known)
            .filter(|(_, known)| !is_done(known))
            .map(|(layer, _)| format!("\"{}\"", layer.spec.name))
            .collect();
        let what = format!("{what} from layer {}", missing.join(", "));
        Err(DesignerError::Deadline { seconds: within.as_secs(), what })
    }

    /// Takes what comes in until `ready` gives something, or nothing has come for `within`.
    pub(crate) fn wait<T>(
        &mut self,
        within: Duration,
        mut ready: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<Option<T>, DesignerError> {
        let mut last = Instant::now();
        loop {
            if let Some(found) = ready(self) {
                return Ok(Some(found));
            }
            let Some(left) = within.checked_sub(last.elapsed()) else { return Ok(None) };
            if let Some(event) = self.events.recv(left)
                && self.event(event)?
            {
                last = Instant::now();
            }
        }
    }

    /// Sorts an event; gives whether it is progress.
    fn event(&mut self, event: Event) -> Result<bool, DesignerError> {
        match event {
            Event::Message { lane, message } => self.message(lane, message),
            Event::LaneFault { lane, drop } => {
                let lane =
                    self.ring.lane(lane).map(|l| l.describe(self.layers)).unwrap_or_default();
                Err(DesignerError::Lane { lane, problem: drop.to_string() })
            }
            Event::Stopped(error) => Err(DesignerError::Stopped(error)),
            Event::LinkDown(node) => {
                tracing::warn!(%node, "a relay cannot be reached");
                Ok(false)
            }
            Event::UnknownNode(node) => {
                tracing::warn!(%node, "a relay is not in the directory");
                Ok(false)
            }
            // Nobody has reason to write to the designer.
            Event::Letter(_) => Ok(false),
        }
    }

    fn message(&mut self, lane: u32, message: Message) -> Result<bool, DesignerError> {
        let header = message.header;
        if header.term != self.term {
            return Ok(false);
        }
        match self.ring.lane(lane) {
            Some(Lane { role: LaneRole::Forward, .. }) if header.attempt == self.attempt => {
                self.outputs.push_back(message);
                Ok(true)
            }
            Some(Lane { role: LaneRole::Report, from: End::Layer(i), .. }) => {
                let layer = *i;
                if header.kind == Kind::Weights {
                    self.known[layer].export = Some(message.payload);
                    return Ok(true);
                }
                let report = control::parse::<Report>(&message.payload).map_err(|e| {
                    DesignerError::Lane {
                        lane: format!("Report from layer \"{}\"", self.layers[layer].spec.name),
                        problem: e.to_string(),
                    }
                })?;
                self.report(layer, header, report)
            }
            _ => Ok(false),
        }
    }

    fn report(
        &mut self,
        layer: usize,
        header: MessageHeader,
        report: Report,
    ) -> Result<bool, DesignerError> {
        let of_attempt = header.attempt == self.attempt;
        let known = &mut self.known[layer];
        match report {
            Report::Hello => known.hello = true,
            Report::Ready => known.ready = true,
            Report::Applied if of_attempt => known.applied = header.step,
            Report::RolledBack if of_attempt => known.rolled_back = header.attempt,
            Report::Norms(bits) if of_attempt => {
                let norms = bits.into_iter().map(f32::from_bits).collect();
                known.norms = Some((header.step, norms));
            }
            Report::Loss { loss, answers, correct, top5 } if of_attempt => {
                let tally = Tally { answers, correct, top5 };
                self.losses.push_back((header.step, header.micro_batch, loss, tally));
            }
            Report::Digest(digest) => known.digest = Some(digest),
            Report::Failed(failure) => {
                let layer = self.layers[layer].spec.name.clone();
                return Err(DesignerError::Layer { layer, failure });
            }
            Report::Norms(_) | Report::Applied | Report::RolledBack | Report::Loss { .. } => {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Lets covered lanes live on.
    pub(crate) fn tend_leases(&mut self) -> Result<(), DesignerError> {
        self.ring.leases.tend(&self.pool.0, self.pool.1, &self.endpoint)
    }

    /// Ends covered lanes.
    pub(crate) fn end_leases(&mut self) -> Result<(), DesignerError> {
        self.ring.leases.end(&self.pool.0, self.pool.1, &self.endpoint)
    }

    /// Sends what is left and ends the endpoint.
    pub(crate) fn close(self, within: Duration) {
        self.endpoint.shutdown(within);
    }
}
