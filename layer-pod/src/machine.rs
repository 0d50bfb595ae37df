//! What a layer does with each message: sans-IO.

use crate::Lane;
use crate::work::Work;
use mixnn_nn::{LayerKey, NnError};
use mixnn_protocol::control::{self, Assignment, Command, Failure, FailureReason, Profile, Report};
use mixnn_protocol::{Kind, Message, MessageHeader};

/// A message to be sent.
#[derive(Debug)]
pub struct Send {
    /// On which lane.
    pub lane: Lane,
    /// What it is.
    pub header: MessageHeader,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// What follows from a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Done {
    /// Go on.
    Continue,
    /// The owner is done with this layer: send what is left, and end.
    Finish,
}

/// One layer: blank, then assigned.
///
/// After a failure it has told its owner, and waits for a rollback or the end.
pub struct Machine {
    key: LayerKey,
    profile: Profile,
    term: u32,
    attempt: u32,
    gives_gradient: bool,
    work: Option<Work>,
    outbox: Vec<Send>,
}

impl Machine {
    /// A blank machine in one term of one owner.
    ///
    /// `gives_gradient`: whether it has a lane on which gradients go out.
    pub fn new(key: LayerKey, profile: Profile, term: u32, gives_gradient: bool) -> Self {
        Self { key, profile, term, attempt: 0, gives_gradient, work: None, outbox: Vec::new() }
    }

    /// Whether the assignment has come.
    pub const fn is_assigned(&self) -> bool {
        self.work.is_some()
    }

    /// Says that the command lanes work.
    pub fn hello(&mut self) {
        self.report(self.header(Kind::Report, 0, 0), &Report::Hello);
    }

    /// Tells the owner that somebody on a lane misbehaves.
    pub fn lane_fault(&mut self, lane: Lane, what: &str) {
        let message = format!("lane {lane:?}: {what}");
        self.fail(FailureReason::Protocol, message);
    }

    /// What is to be sent now.
    pub fn take_outbox(&mut self) -> Vec<Send> {
        std::mem::take(&mut self.outbox)
    }

    /// Takes a message.
    pub fn message(&mut self, lane: Lane, message: &Message) -> Done {
        let header = message.header;
        if header.term != self.term {
            // Of an owner's earlier life: whatever it was, it is over.
            return Done::Continue;
        }
        if header.kind == Kind::Command {
            return self.command(header, &message.payload);
        }
        if header.attempt != self.attempt {
            return Done::Continue;
        }
        if let Err(error) = self.tensor(lane, message) {
            self.fail(reason(&error), error.to_string());
        }
        Done::Continue
    }

    fn tensor(&mut self, lane: Lane, message: &Message) -> Result<(), NnError> {
        let header = message.header;
        let Some(work) = &mut self.work else {
            return Err(NnError::Order("a tensor before the assignment".into()));
        };
        match (lane, header.kind) {
            (Lane::ForwardIn, Kind::Activation) => work.activation(header, &message.payload)?,
            (Lane::ForwardIn, Kind::Evaluation) => work.evaluation(header, &message.payload)?,
            (Lane::BackwardIn, Kind::Gradient) => work.gradient(header, &message.payload)?,
            (Lane::BackwardIn, Kind::Labels) => work.labels(header, &message.payload)?,
            (Lane::Command, Kind::Weights) => work.import(&message.payload)?,
            (lane, kind) => {
                return Err(NnError::Mismatch(format!("{kind:?} on lane {lane:?}")));
            }
        }
        self.send_out();
        Ok(())
    }

    fn send_out(&mut self) {
        let out = self.work.as_mut().map(Work::take_outbox).unwrap_or_default();
        for (lane, kind, step, micro_batch, payload) in out {
            let header = MessageHeader { step, micro_batch, ..self.header(kind, 0, 0) };
            self.outbox.push(Send { lane, header, payload });
        }
    }

    fn command(&mut self, header: MessageHeader, payload: &[u8]) -> Done {
        let command = match control::parse::<Command>(payload) {
            Ok(command) => command,
            Err(error) => {
                self.fail(FailureReason::Protocol, error.to_string());
                return Done::Continue;
            }
        };
        let result = match command {
            Command::Finish => return Done::Finish,
            Command::Assign(assignment) => self.assign(&assignment),
            Command::Rollback => self.roll_back(header),
            Command::Apply(scale) => self.apply(header, f32::from_bits(scale)),
            Command::Digest => self.digest(header),
            Command::Export => self.export(header),
        };
        if let Err(error) = result {
            self.fail(reason(&error), error.to_string());
        }
        Done::Continue
    }

    fn assign(&mut self, assignment: &Assignment) -> Result<(), NnError> {
        if self.work.is_some() {
            return Ok(());
        }
        if assignment.profile != self.profile {
            return Err(NnError::Profile(format!(
                "this pod's numeric profile is {:?}, the run is pinned to {:?}: use the same image everywhere",
                self.profile, assignment.profile
            )));
        }
        let work = Work::new(assignment, self.key.clone(), self.gives_gradient)?;
        self.work = Some(work);
        self.report(self.header(Kind::Report, 0, 0), &Report::Ready);
        Ok(())
    }

    fn roll_back(&mut self, header: MessageHeader) -> Result<(), NnError> {
        if header.attempt <= self.attempt {
            return Ok(());
        }
        self.work()?.roll_back(header.step)?;
        self.attempt = header.attempt;
        self.report(self.header(Kind::Report, header.step, 0), &Report::RolledBack);
        Ok(())
    }

    fn apply(&mut self, header: MessageHeader, scale: f32) -> Result<(), NnError> {
        if header.attempt != self.attempt {
            return Ok(());
        }
        self.work()?.apply_scaled(header.step, scale)?;
        self.send_out();
        Ok(())
    }

    fn digest(&mut self, header: MessageHeader) -> Result<(), NnError> {
        let digest = self.work()?.digest()?;
        self.report(self.header(Kind::Report, header.step, 0), &Report::Digest(digest));
        Ok(())
    }

    fn export(&mut self, header: MessageHeader) -> Result<(), NnError> {
        let payload = self.work()?.export()?;
        let header = self.header(Kind::Weights, header.step, 0);
        self.outbox.push(Send { lane: Lane::Report, header, payload });
        Ok(())
    }

    fn work(&mut self) -> Result<&mut Work, NnError> {
        self.work.as_mut().ok_or_else(|| NnError::Order("a command before the assignment".into()))
    }

    fn fail(&mut self, reason: FailureReason, message: String) {
        self.report(self.header(Kind::Report, 0, 0), &Report::Failed(Failure { reason, message }));
    }

    fn report(&mut self, header: MessageHeader, report: &Report) {
        match control::to_bytes(report) {
            Ok(payload) => self.outbox.push(Send { lane: Lane::Report, header, payload }),
            Err(error) => tracing::error!(%error, "a report cannot be written"),
        }
    }

    const fn header(&self, kind: Kind, step: u64, micro_batch: u32) -> MessageHeader {
        MessageHeader { kind, term: self.term, attempt: self.attempt, step, micro_batch }
    }
}

const fn reason(error: &NnError) -> FailureReason {
    match error {
        NnError::OutOfMemory { .. } => FailureReason::OutOfMemory,
        NnError::NotFinite(_) => FailureReason::NotFinite,
        NnError::Mismatch(_) | NnError::Order(_) => FailureReason::Protocol,
        NnError::Profile(_) | NnError::State(_) => FailureReason::Assignment,
        NnError::Torch { .. } => FailureReason::Internal,
    }
}
