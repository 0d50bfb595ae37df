//! What a layer does with each message: sans-IO.

use crate::Lane;
use crate::journal::Notes;
use crate::shelf::Shelf;
use crate::work::Work;
use mixnn_model::Op;
use mixnn_nn::{LayerKey, NnError};
use mixnn_protocol::control::{
    self, Assignment, Command, Direction, Failure, FailureReason, Profile, Report, SealTo,
};
use mixnn_protocol::journal::Level;
use mixnn_protocol::shard::Binding;
use mixnn_protocol::{Kind, Message, MessageHeader};
use mixnn_transport::Passage;
use std::time::Instant;

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
/// After a failure it has told its owner, and waits for a halt or the end. Its states outlive the
/// owner's term: a designer that takes over finds them.
pub struct Machine {
    key: LayerKey,
    profile: Profile,
    term: u32,
    attempt: u32,
    gives_gradient: bool,
    /// Whether a command of this term has come.
    addressed: bool,
    assignment: Option<Assignment>,
    work: Option<Work>,
    shelf: Shelf,
    notes: Notes,
    outbox: Vec<Send>,
}

impl Machine {
    /// A blank machine in one term of one owner.
    ///
    /// `gives_gradient`: whether it has a lane on which gradients go out.
    pub fn new(key: LayerKey, profile: Profile, term: u32, gives_gradient: bool) -> Self {
        Self {
            key,
            profile,
            term,
            attempt: 0,
            gives_gradient,
            addressed: false,
            assignment: None,
            work: None,
            shelf: Shelf::default(),
            notes: Notes::default(),
            outbox: Vec::new(),
        }
    }

    /// Another designer of the same owner has taken over. What is on its way is of no more use.
    pub fn begin_term(&mut self, term: u32) {
        self.term = term;
        self.attempt = 0;
        self.addressed = false;
        self.shelf = Shelf::default();
        self.outbox.clear();
        self.note(Level::Info, &format!("another designer has taken over, in term {term}"));
    }

    /// Writes a line into the layer's log, which its owner alone reads.
    pub fn note(&mut self, level: Level, text: &str) {
        self.notes.note(Instant::now(), level, text);
    }

    /// Tells the owner what the log has got, once a second at the most. Call it now and then.
    pub fn tell(&mut self, now: Instant) {
        if self.addressed
            && let Some(journal) = self.notes.take(now)
        {
            self.report(self.header(Kind::Report, 0, 0), &Report::Log(journal));
        }
    }

    /// Whether this is the layer of that key.
    pub fn is_of(&self, key: &LayerKey) -> bool {
        self.key == *key
    }

    /// Whether a command of this term has come: until then the machine says [`hello`](Self::hello).
    pub const fn is_addressed(&self) -> bool {
        self.addressed
    }

    /// Says that the command lanes work.
    pub fn hello(&mut self) {
        self.report(self.header(Kind::Report, 0, 0), &Report::Hello);
    }

    /// Tells the owner that somebody on a lane misbehaves.
    pub fn lane_fault(&mut self, lane: Lane, what: &str) {
        self.fail(FailureReason::Protocol, format!("lane {lane:?}: {what}"));
    }

    /// Tells the owner that a lane takes no more cells: one behind it is gone, most likely.
    pub fn lane_full(&mut self, lane: Lane, what: &str) {
        if lane != Lane::Report {
            self.fail(FailureReason::Lane, format!("lane {lane:?}: {what}"));
        }
    }

    /// What is to be sent now.
    pub fn take_outbox(&mut self) -> Vec<Send> {
        std::mem::take(&mut self.outbox)
    }

    /// Whether its owner wants to know where the time goes: then it is told of [passages](Self::passed).
    pub fn is_timed(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.stopwatch.is_some())
    }

    /// A message that is about to be [given](Self::message), or one that was to be sent, passed a lane.
    pub fn passed(&mut self, lane: Lane, header: MessageHeader, passage: Passage) {
        let current = (header.term, header.attempt) == (self.term, self.attempt);
        if let Some(watch) = self.work.as_mut().and_then(|work| work.stopwatch.as_mut())
            && current
        {
            watch.passed(lane, header, passage);
        }
    }

    /// Takes a message.
    pub fn message(&mut self, lane: Lane, message: &Message) -> Done {
        let header = message.header;
        if header.term != self.term {
            // Of an owner's earlier life: whatever it was, it is over.
            return Done::Continue;
        }
        match header.kind {
            Kind::Command => return self.command(header, &message.payload),
            Kind::Probe => self.heard(lane, header),
            // States are not of an attempt: they are what attempts begin from.
            Kind::Weights => {
                let took = self.take_part(header, &message.payload);
                self.told(took);
            }
            _ if header.attempt == self.attempt => {
                let taken = self.tensor(lane, message);
                self.told(taken);
            }
            _ => {}
        }
        Done::Continue
    }

    /// Computes the next of what has come ahead of its time. Call it again, each time after the
    /// [outbox](Self::take_outbox) was taken, until it gives false: then the next message may be given.
    pub fn go_on(&mut self) -> bool {
        let went_on = self.work.as_mut().map_or(Ok(false), Work::go_on);
        self.send_out();
        match went_on {
            Ok(more) => more,
            Err(error) => {
                self.told(Err(error));
                true
            }
        }
    }

    fn told(&mut self, result: Result<(), NnError>) {
        if let Err(error) = result {
            self.fail(reason(&error), error.to_string());
        }
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
        self.addressed = true;
        let command = match control::parse::<Command>(payload) {
            Ok(command) => command,
            Err(error) => {
                self.fail(FailureReason::Protocol, error.to_string());
                return Done::Continue;
            }
        };
        let result = match command {
            Command::Finish => return Done::Finish,
            Command::Assign(assignment) => self.assign(assignment),
            Command::Halt => self.halt(header),
            Command::Rollback => self.roll_back(header),
            Command::Apply(scale) => self.apply(header, f32::from_bits(scale)),
            Command::Digest => self.digest(header),
            Command::Seal(to) => self.seal(header, &to),
            Command::Part(index) => self.send_part(header, index),
            Command::Restore(bytes) => self.shelf.expect(header.step, bytes),
        };
        self.told(result);
        Done::Continue
    }

    fn assign(&mut self, assignment: Assignment) -> Result<(), NnError> {
        match &self.assignment {
            None => self.build(assignment)?,
            Some(present) if *present == assignment => {}
            // Trained, then served, or the other way round: its owner brings in what it is to hold.
            Some(present) if present.is_same_layer(&assignment) => self.build(assignment)?,
            Some(_) => {
                return Err(NnError::State("this pod is another layer already".into()));
            }
        }
        self.report(self.header(Kind::Report, 0, 0), &Report::Ready);
        Ok(())
    }

    fn build(&mut self, assignment: Assignment) -> Result<(), NnError> {
        if assignment.profile != self.profile {
            return Err(NnError::Profile(format!(
                "this pod's numeric profile is {:?}, the run is pinned to {:?}: use the same image everywhere",
                self.profile, assignment.profile
            )));
        }
        self.work = Some(Work::new(&assignment, self.key.clone(), self.gives_gradient)?);
        self.note(Level::Info, &built(&assignment));
        self.assignment = Some(assignment);
        Ok(())
    }

    fn halt(&mut self, header: MessageHeader) -> Result<(), NnError> {
        if header.attempt < self.attempt {
            return Ok(());
        }
        let kept = self.work()?.kept();
        if header.attempt > self.attempt {
            let line = format!("attempt {}: states after steps {kept:?} are kept", header.attempt);
            self.note(Level::Info, &line);
        }
        self.attempt = header.attempt;
        self.report(self.header(Kind::Report, 0, 0), &Report::Halted(kept));
        self.probe(Lane::ForwardOut);
        if self.gives_gradient {
            self.probe(Lane::BackwardOut);
        }
        Ok(())
    }

    fn probe(&mut self, lane: Lane) {
        let header = self.header(Kind::Probe, 0, 0);
        self.outbox.push(Send { lane, header, payload: Vec::new() });
    }

    /// A neighbour's probe may come before this layer's own halt: the header says which it is of.
    fn heard(&mut self, lane: Lane, header: MessageHeader) {
        let direction = match lane {
            Lane::ForwardIn => Direction::Forward,
            _ => Direction::Backward,
        };
        let header = MessageHeader { attempt: header.attempt, ..self.header(Kind::Report, 0, 0) };
        self.report(header, &Report::Heard(direction));
    }

    fn roll_back(&mut self, header: MessageHeader) -> Result<(), NnError> {
        if header.attempt != self.attempt {
            return Ok(());
        }
        self.work()?.roll_back(header.step)?;
        self.note(Level::Info, &format!("back to the state after step {}", header.step));
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

    fn seal(&mut self, header: MessageHeader, to: &SealTo) -> Result<(), NnError> {
        let state = self.work()?.export_at(header.step)?;
        let binding = Binding { layer: self.key.shard_name(), step: header.step, term: self.term };
        let length = self.shelf.seal(to, &binding, state)?;
        let line = format!("the state after step {} is sealed: {length} bytes", header.step);
        self.note(Level::Info, &line);
        self.report(self.header(Kind::Report, header.step, 0), &Report::Sealed(length));
        Ok(())
    }

    fn send_part(&mut self, header: MessageHeader, index: u32) -> Result<(), NnError> {
        let payload = self.shelf.part(header.step, index)?;
        let header = self.header(Kind::Weights, header.step, index);
        self.outbox.push(Send { lane: Lane::Report, header, payload });
        Ok(())
    }

    fn take_part(&mut self, header: MessageHeader, bytes: &[u8]) -> Result<(), NnError> {
        let whole = self.shelf.take(header, bytes)?;
        let report = self.header(Kind::Report, header.step, header.micro_batch);
        self.report(report, &Report::Took(header.micro_batch));
        if let Some(state) = whole {
            self.work()?.import(header.step, &state)?;
            self.note(Level::Info, &format!("the state after step {} is taken up", header.step));
            self.report(self.header(Kind::Report, header.step, 0), &Report::Restored);
        }
        Ok(())
    }

    fn work(&mut self) -> Result<&mut Work, NnError> {
        self.work.as_mut().ok_or_else(|| NnError::Order("a command before the assignment".into()))
    }

    fn fail(&mut self, reason: FailureReason, message: String) {
        self.note(Level::Error, &message);
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

/// What a layer is, in a line of its log.
fn built(assignment: &Assignment) -> String {
    let ops: Vec<&str> = assignment.ops.iter().map(Op::name).collect();
    let Assignment { input, output, device, profile, .. } = assignment;
    format!(
        "built: {}; samples of {input:?} in, {output:?} out; on {device:?} with {} threads of libtorch {}",
        ops.join(", "),
        profile.threads,
        profile.libtorch
    )
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
