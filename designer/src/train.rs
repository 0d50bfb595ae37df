//! The four phases over the ring, and again after each fault.

use crate::fault::{Fault, Interrupt};
use crate::gathering::Gathering;
use crate::judge::Judge;
use crate::mailbox::Mailbox;
use crate::session::{RingSpec, Session};
use crate::step::{Flight, Stepper, since};
use crate::timeline::Timeline;
use crate::view::view;
use crate::watch::{StepWatch, TestSum};
use crate::{CheckpointSpec, DesignerError, Emitter, Prepared, Questions, weights};
use mixnn_data::Batches;
use mixnn_events::{Doing, Event, Outcome, Phase, Step, Tested};
use mixnn_nn::{evaluate, merge_exports, model_digest, tensor_from_wire, tensor_to_wire};
use mixnn_node::{NodeArgs, Started};
use mixnn_place::Place;
use mixnn_protocol::control::{Command, Profile};
use mixnn_protocol::shard::{self, Binding};
use mixnn_protocol::{KeyPair, Kind, Message, SystemRng};
use std::collections::VecDeque;
use std::io::Write;
use std::time::{Duration, Instant};

/// For digests and weights.
const COLLECT: Duration = Duration::from_secs(60);
/// For what is queued at the end.
const FINISH: Duration = Duration::from_secs(5);

/// What a distributed training needs.
pub struct Training<'a> {
    /// Model, data, secret.
    pub prepared: &'a Prepared,
    /// How to register.
    pub args: &'a NodeArgs,
    /// The numeric profile of this process, which all layers must share.
    pub profile: Profile,
    /// Where the weights are written at the end, if anywhere.
    pub weights: Option<&'a Place>,
    /// Without a word from any layer for so long, a step is taken back.
    pub stall: Duration,
    /// CPU cores of all relays and layer pods together, for the rate of cover; by default one each.
    pub cores: Option<f64>,
    /// Every so many steps each layer keeps its state for a rollback.
    pub snapshot_every: u64,
    /// Whether layers tell where their time of each step goes. They learn that their owner asks.
    pub timed: bool,
    /// Where these states are kept too, sealed, if anywhere.
    pub checkpoints: Option<CheckpointSpec>,
    /// What its owner asks while it goes on.
    pub questions: Option<Questions>,
    /// Asked once it is trained: whether its pods are kept, to serve it.
    pub stay: &'a dyn Fn() -> bool,
}

impl<'a> Training<'a> {
    fn ring(&self) -> RingSpec<'a> {
        let prepared = self.prepared;
        RingSpec {
            model: &prepared.model,
            relays: &prepared.relays,
            layers_per_host: prepared.layers_per_host as usize,
            owner: &prepared.owner,
            args: self.args,
            profile: self.profile.clone(),
            in_flight: prepared.in_flight(),
            batch: prepared.micro_batch_size(),
            total_steps: prepared.total_steps(),
            stall: self.stall,
            cores: self.cores,
            snapshot_every: self.snapshot_every,
            timed: self.timed,
            checkpoints: self.checkpoints.clone(),
        }
    }
}

/// How far the training has come.
struct Course<'a> {
    prepared: &'a Prepared,
    questions: Option<&'a Questions>,
    /// Where the weights are written at the end.
    weights: Option<&'a Place>,
    /// Steps that every layer has applied.
    committed: u64,
    judge: Judge,
    /// The last test.
    tested: Tested,
    /// After which step it was: a step that is replayed is not judged twice.
    tested_after: u64,
    /// Whether tests ended the training.
    enough: bool,
    watch: StepWatch,
}

/// Runs the four phases.
///
/// # Errors
/// What ended it.
pub fn run<W: Write>(
    training: &Training<'_>,
    started: Started,
    emit: &mut Emitter<W>,
) -> Result<Outcome, DesignerError> {
    emit.emit(&Event::Phase(Phase::Initialisation));
    let ring = training.ring();
    let mut session = Session::open(&ring, started)?;
    let begun = session.establish(None, None)?;
    emit.emit(&Event::Plan(training.prepared.plan(session.mode())));
    emit.keep(&Event::Ring(view(&session)));
    let prepared = training.prepared;
    let mut course = Course {
        prepared,
        questions: training.questions.as_ref(),
        weights: training.weights,
        committed: begun.resumed_after,
        judge: Judge::new(prepared.model.training(), prepared.steps_per_epoch()),
        tested: TestSum::new(0).finish(prepared.model.labels()),
        tested_after: 0,
        enough: false,
        watch: StepWatch::new(),
    };
    loop {
        match train(&mut session, &mut course, emit) {
            Ok(outcome) => {
                emit.emit(&Event::Trained(outcome.clone()));
                // Nothing of the training is lost if the pods are not told.
                if let Err(error) = part(session, (training.stay)()) {
                    tracing::warn!(%error, "pods were not told to end");
                }
                return Ok(outcome);
            }
            Err(Interrupt::Fatal(error)) => {
                session.hear(emit);
                return Err(error);
            }
            Err(Interrupt::Fault(fault)) => recover(&mut session, &mut course, fault, emit)?,
        }
    }
}

/// Pods that stay wait for the next designer.
fn part(mut session: Session<'_>, stay: bool) -> Result<(), DesignerError> {
    session.mailbox.end_leases()?;
    if !stay {
        session.mailbox.command_all(&Command::Finish, 0)?;
    }
    session.mailbox.close(FINISH);
    Ok(())
}

fn recover<W: Write>(
    session: &mut Session<'_>,
    course: &mut Course<'_>,
    fault: Fault,
    emit: &mut Emitter<W>,
) -> Result<(), DesignerError> {
    let message = fault.to_string();
    tracing::warn!(committed = course.committed, "{message}");
    emit.emit(&Event::Fault(mixnn_events::Fault { message }));
    let recovered = session.establish(Some(fault), Some(course.committed))?;
    course.committed = recovered.resumed_after;
    emit.emit(&Event::Recovered(recovered));
    emit.keep(&Event::Ring(view(session)));
    session.hear(emit);
    session.tend(course.committed, emit)
}

/// Everything that is left to do after the committed step.
fn train<W: Write>(
    session: &mut Session<'_>,
    course: &mut Course<'_>,
    emit: &mut Emitter<W>,
) -> Result<Outcome, Interrupt> {
    let prepared = course.prepared;
    let total = prepared.total_steps();
    while !course.enough {
        session.hear(emit);
        answer(session, course)?;
        let due = course.committed > 0 && course.judge.is_due(course.committed);
        if due && course.committed > course.tested_after {
            judge(session, course, emit)?;
            continue;
        }
        if course.committed >= total {
            break;
        }
        emit.emit(&Event::Phase(Phase::Training));
        course.watch.resume();
        run_steps(session, course, emit)?;
    }
    emit.emit(&Event::Phase(Phase::Finishing));
    for times in session.mailbox.timeline.iter_mut().flat_map(Timeline::rest) {
        emit.keep(&Event::Times(times));
    }
    session.last_checkpoint(course.committed, emit)?;
    let digest = collect(session, course)?;
    session.hear(emit);
    Ok(course.watch.outcome(course.committed, course.tested.clone(), &digest))
}

/// Answers what the owner asks, with the layers as they are between two steps.
fn answer(session: &mut Session<'_>, course: &Course<'_>) -> Result<(), Interrupt> {
    while let Some(question) = course.questions.and_then(Questions::next) {
        let Some(payload) = question.payload() else { continue };
        session.mailbox.send(Kind::Evaluation, 0, 0, payload);
        let output = evaluated(&mut session.mailbox, 0, session.spec.stall)?;
        question.answer(course.committed, output.payload);
    }
    Ok(())
}

/// Tests, and lets the test be judged.
fn judge<W: Write>(
    session: &mut Session<'_>,
    course: &mut Course<'_>,
    emit: &mut Emitter<W>,
) -> Result<(), Interrupt> {
    let (prepared, stall) = (course.prepared, session.spec.stall);
    emit.emit(&Event::Phase(Phase::Testing));
    let epoch = ((course.committed - 1) / prepared.steps_per_epoch()) as u32 + 1;
    course.tested = test(prepared, &mut session.mailbox, epoch, stall)?;
    course.tested_after = course.committed;
    emit.emit(&Event::Tested(course.tested.clone()));
    course.enough = course.judge.is_enough(&course.tested);
    if course.enough {
        tracing::info!(step = course.committed, "tests get no better: the training ends early");
    }
    Ok(())
}

/// Makes steps until the epoch ends or a test is due.
///
/// The next step's inputs leave as soon as the last gradient of a step has: the first layers are free
/// by then. Not so before a test: a step under way changes what layers keep beside their parameters.
fn run_steps<W: Write>(
    session: &mut Session<'_>,
    course: &mut Course<'_>,
    emit: &mut Emitter<W>,
) -> Result<(), Interrupt> {
    let (prepared, stall) = (course.prepared, session.spec.stall);
    let (whole, done) = (
        course.committed / prepared.steps_per_epoch(),
        course.committed % prepared.steps_per_epoch(),
    );
    let epoch = whole as u32 + 1;
    let mut batches = prepared.training_batches(epoch, done);
    let first = course.committed + 1;
    let mut flight = {
        let mut stepper = Stepper { mailbox: &mut session.mailbox, prepared, stall };
        next_flight(&mut stepper, &mut batches, first)?
    };
    while let Some(mut current) = flight.take() {
        let mut stepper = Stepper { mailbox: &mut session.mailbox, prepared, stall };
        stepper.propagate(&mut current)?;
        let number = current.number();
        // As before a test, layers are not to be amid a step when they are asked something else.
        if !course.judge.is_due(number) && !course.questions.is_some_and(Questions::are_waiting) {
            let begun = Instant::now();
            flight = next_flight(&mut stepper, &mut batches, number + 1)?;
            current.spent.inputs += since(begun);
        }
        let begun = Instant::now();
        stepper.commit(&mut current)?;
        current.spent.commit += since(begun);
        course.committed = number;
        session.progressed();
        session.mailbox.tend_leases()?;
        emit.emit(&Event::Step(step_event(prepared, epoch, &current, course.watch.lap())));
        for times in session.mailbox.timeline.iter_mut().flat_map(|t| t.committed(number)) {
            emit.keep(&Event::Times(times));
        }
        session.hear(emit);
        session.tend(number, emit)?;
    }
    Ok(())
}

/// Reads a batch and sends its inputs.
fn next_flight(
    stepper: &mut Stepper<'_, '_, '_>,
    batches: &mut Batches,
    number: u64,
) -> Result<Option<Flight>, Interrupt> {
    let began = stepper.mailbox.begin();
    let Some(batch) = batches.next().transpose()? else { return Ok(None) };
    stepper.mailbox.computed(Doing::Inputs, number, 0, began);
    stepper.inject(number, &batch).map(Some)
}

fn step_event(prepared: &Prepared, epoch: u32, flight: &Flight, milliseconds: f64) -> Step {
    let report = flight.report();
    Step {
        epoch,
        step: flight.number(),
        loss: report.loss,
        answers: report.tally.answers,
        correct: report.tally.correct,
        samples: flight.samples() as u32,
        milliseconds,
        learning_rate: prepared.learning_rate(flight.number()),
        gradient_norm: flight.gradient_norm,
        spent: Some(flight.spent),
    }
}

/// Forward in evaluation mode over the test set, with as many batches on their way as a step has.
fn test(
    prepared: &Prepared,
    mailbox: &mut Mailbox<'_>,
    epoch: u32,
    stall: Duration,
) -> Result<Tested, Interrupt> {
    let mut sum = TestSum::new(epoch);
    let mut batches = prepared.test_batches().enumerate();
    let mut on_their_way = VecDeque::new();
    loop {
        while on_their_way.len() < prepared.in_flight()
            && let Some((number, batch)) = batches.next()
        {
            let batch = prepared.whole(&batch?)?;
            let micro_batch = (number % prepared.in_flight()) as u32;
            let payload = tensor_to_wire(&batch.inputs)?;
            mailbox.send(Kind::Evaluation, number as u64, micro_batch, payload);
            on_their_way.push_back((number as u64, batch.labels));
        }
        let Some((number, labels)) = on_their_way.pop_front() else {
            return Ok(sum.finish(prepared.model.labels()));
        };
        let output = evaluated(mailbox, number, stall)?;
        let samples = labels.size()[0] as usize;
        let outputs = tensor_from_wire(&output.payload)?;
        sum.add(evaluate(&prepared.model.training().loss, &outputs, &labels)?, samples);
    }
}

/// The output of a batch in evaluation.
fn evaluated(
    mailbox: &mut Mailbox<'_>,
    number: u64,
    stall: Duration,
) -> Result<Message, Interrupt> {
    let output = mailbox.wait(stall, |mailbox| {
        let wanted = |m: &Message| m.header.kind == Kind::Evaluation && m.header.step == number;
        let at = mailbox.outputs.iter().position(wanted)?;
        mailbox.outputs.remove(at)
    })?;
    output.ok_or_else(|| {
        let what = format!("the output of batch {number} in evaluation");
        Fault::Stalled { seconds: stall.as_secs(), what }.into()
    })
}

/// The digest of all layers, and their weights if asked for.
fn collect(session: &mut Session<'_>, course: &Course<'_>) -> Result<[u8; 32], Interrupt> {
    let step = course.committed;
    let mailbox = &mut session.mailbox;
    mailbox.known.iter_mut().for_each(|known| known.digest = None);
    if !mailbox.ask(&|_| Command::Digest, step, COLLECT, &|known| known.digest.is_some())? {
        let late = mailbox.names_of(|known| known.digest.is_none());
        let what = format!("the digest of layer {late}");
        return Err(Fault::Stalled { seconds: COLLECT.as_secs(), what }.into());
    }
    let digests: Vec<[u8; 32]> = mailbox.known.iter().filter_map(|k| k.digest).collect();
    if let Some(place) = course.weights {
        let bytes = export(session, step)?;
        weights::write(place, bytes).map_err(|error| match place {
            // A store that refuses now may not refuse later; what was trained is still in the pods.
            Place::Store(_) => Fault::Store(error.to_string()).into(),
            Place::Folder(_) => Interrupt::Fatal(error),
        })?;
    }
    Ok(model_digest(session.spec.owner, &digests))
}

/// The weights of all layers, as one safetensors file with PyTorch's names.
fn export(session: &mut Session<'_>, step: u64) -> Result<Vec<u8>, Interrupt> {
    let layers = session.spec.model.layers();
    let suite = session.spec.args.suite.into();
    let keys: Vec<KeyPair> =
        layers.iter().map(|_| KeyPair::generate(suite, &mut SystemRng)).collect();
    let publics = keys.iter().map(|k| k.public().clone()).collect();
    let mailbox = &mut session.mailbox;
    mailbox.gather(Gathering::new(layers, step, publics))?;
    let whole = |m: &mut Mailbox<'_>| m.gathering.take_if(|g| g.is_whole());
    let Some(gathering) = mailbox.wait(COLLECT, whole)? else {
        let what = "the weights of every layer".to_owned();
        return Err(Fault::Stalled { seconds: COLLECT.as_secs(), what }.into());
    };
    let term = mailbox.pool.head.term;
    let owner = session.spec.owner;
    let mut states = Vec::with_capacity(layers.len());
    for ((layer, keys), sealed) in layers.iter().zip(&keys).zip(gathering.into_shards()) {
        let name = &layer.spec.name;
        let binding = Binding { layer: owner.layer_key(name).shard_name(), step, term };
        let opened = shard::open(keys, &binding, &sealed);
        states.push(opened.map_err(|e| DesignerError::Shard { layer: name.clone(), problem: e })?);
    }
    let named = layers.iter().zip(&states);
    Ok(merge_exports(named.map(|(layer, state)| (layer.spec.name.as_str(), state.as_slice())))?)
}
