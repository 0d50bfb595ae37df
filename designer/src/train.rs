//! The four phases over the ring.

use crate::cover::{CoverPlan, privacy};
use crate::deal::deal;
use crate::judge::Judge;
use crate::mailbox::Mailbox;
use crate::pool::Pool;
use crate::ring::{Ring, Setup, check_sizes};
use crate::step::{Flight, Stepper};
use crate::watch::{StepWatch, TestSum};
use crate::{DesignerError, Emitter, Prepared};
use mixnn_data::Batches;
use mixnn_events::{Event, Mode, Outcome, Phase, Step, Tested};
use mixnn_model::{Element, LossPlacement};
use mixnn_nn::{evaluate, merge_exports, model_digest, tensor_from_wire, tensor_to_wire};
use mixnn_node::{NodeArgs, Started};
use mixnn_protocol::control::{Assignment, Command, Profile};
use mixnn_protocol::{KeyPair, Kind, SystemRng};
use mixnn_transport::{Endpoint, EndpointConfig, Limits};
use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// For lanes to come up, and for layers to be built.
const SET_UP: Duration = Duration::from_secs(60);
/// For digests and weights.
const COLLECT: Duration = Duration::from_secs(60);
/// For what is queued at the end.
const FINISH: Duration = Duration::from_secs(5);
/// The first term. Another designer that takes over gets a higher one.
const TERM: u32 = 1;

/// What a distributed training needs.
pub struct Training<'a> {
    /// Model, data, secret.
    pub prepared: &'a Prepared,
    /// How to register.
    pub args: &'a NodeArgs,
    /// The numeric profile of this process, which all layers must share.
    pub profile: Profile,
    /// Where the weights are written at the end, if anywhere.
    pub weights: Option<&'a Path>,
    /// Without a word from any layer for so long, a step is taken back; then the training ends.
    pub stall: Duration,
    /// CPU cores of all relays and layer pods together, for the rate of cover; by default one each.
    pub cores: Option<f64>,
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
    let mut mailbox = initialise(training, started, emit)?;
    let outcome = train(training, &mut mailbox, emit)?;
    mailbox.end_leases()?;
    mailbox.command_all(&Command::Finish, 0)?;
    mailbox.close(FINISH);
    Ok(outcome)
}

fn initialise<'a, W: Write>(
    training: &Training<'a>,
    started: Started,
    emit: &mut Emitter<W>,
) -> Result<Mailbox<'a>, DesignerError> {
    let prepared = training.prepared;
    let (layers, relays) = (prepared.model.layers(), &prepared.relays);
    check_sizes(layers, prepared.in_flight(), prepared.micro_batch_size())?;
    let keys = KeyPair::generate(training.args.suite.into(), &mut SystemRng);
    let Started { listener, url, metrics } = started;
    let config = EndpointConfig { listener, metrics, limits: limits(layers.len(), relays.hops) };
    let (endpoint, events) =
        Endpoint::start(config).map_err(|e| DesignerError::Stopped(e.to_string()))?;
    let replicas = relays.replicas as usize;
    let mut pool = Pool::gather(training.args, &url, &keys, layers.len(), replicas)?;
    endpoint.set_directory(pool.urls.clone());
    let deal = deal(std::mem::take(&mut pool.pods));
    let cover = CoverPlan::new(relays, layers.len(), training.cores);
    let setup = Setup {
        pool: &pool,
        deal: &deal,
        layers,
        owner: &prepared.owner,
        hops: relays.hops as usize,
        micro_batches: prepared.in_flight(),
        micro_batch_size: prepared.micro_batch_size(),
        term: TERM,
        cover: cover.as_ref(),
    };
    let ring = Ring::set_up(&setup, &endpoint)?;
    let mut warnings = relays.warnings();
    if ring.wishes_given_up > 0 {
        let n = ring.wishes_given_up;
        warnings.push(format!(
            "{n} places on lanes share a host with another of the lane: let more teams host relays"
        ));
    }
    emit.emit(&Event::Plan(prepared.plan(Mode::Distributed {
        relays: pool.relays.len() as u32,
        hops: relays.hops,
        suite: format!("{:?}", keys.public().suite()),
        warnings,
        privacy: privacy(relays, cover.as_ref(), &ring.crossing),
    })));
    let hops = relays.hops as usize;
    let mut mailbox = Mailbox::new(endpoint, events, ring, layers, TERM, (pool, hops));
    mailbox.wait_for_all(SET_UP, "a sign of life", |known| known.hello)?;
    assign(training, &mailbox)?;
    mailbox.wait_for_all(SET_UP, "an answer to its assignment", |known| known.ready)?;
    Ok(mailbox)
}

/// All letters of a ring leave at once.
fn limits(layers: usize, hops: u32) -> Limits {
    let letters = (4 * layers + 1) * hops as usize + layers;
    Limits { letters: letters.max(Limits::default().letters), ..Limits::default() }
}

fn assign(training: &Training<'_>, mailbox: &Mailbox<'_>) -> Result<(), DesignerError> {
    let model = &training.prepared.model;
    let sizes = |shape: &mixnn_model::Shape| shape.sizes().iter().map(|&s| s as u32).collect();
    let last = model.layers().len() - 1;
    for (i, layer) in model.layers().iter().enumerate() {
        let loss = &model.training().loss;
        let here = i == last && loss.placement == LossPlacement::LastLayer;
        let assignment = Assignment {
            ops: layer.spec.ops.clone(),
            input: sizes(&layer.input),
            vocabulary: match layer.input.element() {
                Element::Token(vocabulary) => Some(vocabulary as u32),
                Element::Real => None,
            },
            output: sizes(&layer.output),
            micro_batches: model.training().micro_batches_per_step(),
            learning: model.learning(layer, training.prepared.total_steps()),
            device: layer.spec.device,
            loss: here.then(|| loss.clone()),
            profile: training.profile.clone(),
        };
        mailbox.command(i, &Command::Assign(assignment), 0)?;
    }
    Ok(())
}

fn train<W: Write>(
    training: &Training<'_>,
    mailbox: &mut Mailbox<'_>,
    emit: &mut Emitter<W>,
) -> Result<Outcome, DesignerError> {
    let prepared = training.prepared;
    let mut course = Course {
        committed: 0,
        judge: Judge::new(prepared.model.training(), prepared.steps_per_epoch()),
        tested: TestSum::new(0).finish(prepared.model.labels()),
        watch: StepWatch::new(),
    };
    for epoch in 1..=prepared.model.training().epochs {
        if run_epoch(training, mailbox, &mut course, epoch, emit)? {
            break;
        }
    }
    emit.emit(&Event::Phase(Phase::Finishing));
    let digest = collect(training, mailbox, course.committed)?;
    Ok(course.watch.outcome(course.tested, &digest))
}

/// How far the training has come.
struct Course {
    /// Steps that every layer has applied.
    committed: u64,
    judge: Judge,
    /// The last test.
    tested: Tested,
    watch: StepWatch,
}

/// The next step's inputs leave as soon as the last gradient of a step has: the first layers are free
/// by then. Not so before a test: a step under way changes what layers keep beside their parameters.
///
/// Gives whether tests end the training.
fn run_epoch<W: Write>(
    training: &Training<'_>,
    mailbox: &mut Mailbox<'_>,
    course: &mut Course,
    epoch: u32,
    emit: &mut Emitter<W>,
) -> Result<bool, DesignerError> {
    let (prepared, stall) = (training.prepared, training.stall);
    let mut batches = prepared.training_batches(epoch, 0);
    emit.emit(&Event::Phase(Phase::Training));
    course.watch.resume();
    let mut stepper = Stepper { mailbox, prepared, committed: course.committed, stall };
    let mut flight = next_flight(&stepper, &mut batches, course.committed + 1)?;
    while let Some(mut current) = flight.take() {
        while !stepper.propagate(&mut current)? {
            stepper.again(&mut current)?;
        }
        let number = current.number();
        let due = course.judge.is_due(number);
        if !due {
            flight = next_flight(&stepper, &mut batches, number + 1)?;
        }
        while !stepper.commit(&current)? {
            redo(&mut stepper, &mut current, flight.as_mut())?;
        }
        course.committed = number;
        stepper.mailbox.tend_leases()?;
        emit.emit(&Event::Step(step_event(epoch, &current, course.watch.lap())));
        if due {
            emit.emit(&Event::Phase(Phase::Testing));
            course.tested = test(prepared, stepper.mailbox, epoch, stall)?;
            emit.emit(&Event::Tested(course.tested.clone()));
            if course.judge.is_enough(&course.tested) {
                tracing::info!(step = number, "tests get no better: the training ends early");
                return Ok(true);
            }
            emit.emit(&Event::Phase(Phase::Training));
            course.watch.resume();
            flight = next_flight(&stepper, &mut batches, number + 1)?;
        }
    }
    Ok(false)
}

/// Reads a batch and sends its inputs.
fn next_flight(
    stepper: &Stepper<'_, '_, '_>,
    batches: &mut Batches,
    number: u64,
) -> Result<Option<Flight>, DesignerError> {
    batches.next().transpose()?.map(|batch| stepper.inject(number, &batch)).transpose()
}

/// A step whose gradients had all left was lost: once more, and then the one behind it.
fn redo(
    stepper: &mut Stepper<'_, '_, '_>,
    current: &mut Flight,
    behind: Option<&mut Flight>,
) -> Result<(), DesignerError> {
    stepper.again(current)?;
    while !stepper.propagate(current)? {
        stepper.again(current)?;
    }
    behind.map_or(Ok(()), |flight| stepper.relaunch(flight))
}

fn step_event(epoch: u32, flight: &Flight, milliseconds: f64) -> Step {
    let report = flight.report();
    Step {
        epoch,
        step: flight.number(),
        loss: report.loss,
        answers: report.tally.answers,
        correct: report.tally.correct,
        samples: flight.samples() as u32,
        milliseconds,
    }
}

/// Forward in evaluation mode over the test set, with as many batches on their way as a step has.
fn test(
    prepared: &Prepared,
    mailbox: &mut Mailbox<'_>,
    epoch: u32,
    stall: Duration,
) -> Result<Tested, DesignerError> {
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
        let output = mailbox.wait(stall, |mailbox| {
            let wanted = |m: &mixnn_protocol::Message| {
                m.header.kind == Kind::Evaluation && m.header.step == number
            };
            let at = mailbox.outputs.iter().position(wanted)?;
            mailbox.outputs.remove(at)
        })?;
        let Some(output) = output else {
            let what = format!("the output of test batch {number}");
            return Err(DesignerError::Deadline { seconds: stall.as_secs(), what });
        };
        let samples = labels.size()[0] as usize;
        let outputs = tensor_from_wire(&output.payload)?;
        sum.add(evaluate(&prepared.model.training().loss, &outputs, &labels)?, samples);
    }
}

/// The digest of all layers, and their weights if asked for.
fn collect(
    training: &Training<'_>,
    mailbox: &mut Mailbox<'_>,
    step: u64,
) -> Result<[u8; 32], DesignerError> {
    mailbox.command_all(&Command::Digest, step)?;
    mailbox.wait_for_all(COLLECT, "a digest", |known| known.digest.is_some())?;
    if let Some(path) = training.weights {
        mailbox.command_all(&Command::Export, step)?;
        mailbox.wait_for_all(COLLECT, "its weights", |known| known.export.is_some())?;
        let layers = training.prepared.model.layers();
        let named = layers.iter().zip(&mailbox.known);
        let exports = named.filter_map(|(l, k)| Some((l.spec.name.as_str(), k.export.as_deref()?)));
        write_file(path, &merge_exports(exports)?)?;
    }
    let digests: Vec<[u8; 32]> = mailbox.known.iter().filter_map(|k| k.digest).collect();
    Ok(model_digest(&training.prepared.owner, &digests))
}

/// Writes a file whole or not at all, for its owner only.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), DesignerError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| DesignerError::Write { path: path.to_owned(), source })
}
