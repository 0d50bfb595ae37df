//! `mixnn-designer`: the owner's process.

mod args;
mod keys;
mod pod;

use args::{Command, ModelArgs, TrainArgs};
use clap::Parser;
use mixnn_cluster::{Cluster, Reporter};
use mixnn_crds::MixNNModel;
use mixnn_designer::{
    After, Beside, DesignerError, Emitter, Prepared, Questions, Sources, TensorBoard, Training,
    export, import, keep, load_or_make_secret, prepare, run_reference, run_serving,
    run_serving_reference, run_training,
};
use mixnn_events::{Event, Failed, Outcome, Reading, Record};
use mixnn_nn::OwnerSecret;
use mixnn_node::LogFormat;
use mixnn_page::Booth;
use pod::Wishes;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two lines of progress while data are read.
const TELL: Duration = Duration::from_millis(250);

/// The owner's side of a model: trains and tests it over layer pods, or in one process.
///
/// Tells what happens in JSON lines on standard output.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  mixnn-designer reference -f examples/lenet5.yaml --owner-secret secret
  mixnn-designer train -f examples/lenet5.yaml --owner-secret secret --registry https://mixnn-operator.mixnn:8443 --registry-ca ca.pem --token-file token"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut emit = Emitter::new(std::io::stdout());
    match run(&cli.command, &mut emit) {
        Ok(End::Done(outcome)) => {
            emit.emit(&Event::Done(outcome));
            rest(&cli.command)
        }
        Ok(End::Rest) => rest(&cli.command),
        Ok(End::Served) => ExitCode::SUCCESS,
        Err(error) => {
            let (reason, message) = (error.reason().to_owned(), error.to_string());
            emit.emit(&Event::Failed(Failed { reason, message }));
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// How a command ended.
enum End {
    /// A training came to this.
    Done(Outcome),
    /// There is nothing more to say.
    Served,
    /// Nothing is to be done before the model is to be served again.
    Rest,
}

/// In a cluster, a container that ends is started again, and would train again: the operator ends it, unless its
/// model is to be served.
fn rest(command: &Command) -> ExitCode {
    match pod::rest(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the command says.
fn run(command: &Command, emit: &mut Emitter<std::io::Stdout>) -> Result<End, DesignerError> {
    match command {
        Command::Train(args) => train(args, emit).map(End::Done),
        Command::Serve(args) => {
            let started = mixnn_node::start(&args.node)?;
            let profile = mixnn_nn::profile::pin()?;
            run_serving(args, profile, started, emit).map(|after| match after {
                After::End => End::Served,
                After::Rest => End::Rest,
            })
        }
        Command::ServeReference(args) => {
            alone(args.die_with_parent)?;
            run_serving_reference(args, emit).map(|()| End::Served)
        }
        Command::Import(args) => {
            alone(args.die_with_parent)?;
            import(args).map(|()| End::Served)
        }
        Command::Export(args) => {
            alone(args.die_with_parent)?;
            export(args).map(|()| End::Served)
        }
        Command::Keep(args) => {
            alone(false)?;
            keep(args).map(|()| End::Served)
        }
        Command::Reference { model, initial, die_with_parent } => {
            alone(*die_with_parent)?;
            let parsed = mixnn_crds::parse_file(&model.file)?;
            model.watch(&name(&parsed), emit)?;
            let owner = load_or_make_secret(&model.owner_secret)?;
            model.page.show(&name(&parsed), &owner, Beside::default())?;
            let prepared = model.prepare(parsed, owner, emit)?;
            let weights = model.weights.as_ref();
            run_reference(&prepared, initial.as_deref(), weights, emit).map(End::Done)
        }
    }
}

fn train(args: &TrainArgs, emit: &mut Emitter<std::io::Stdout>) -> Result<Outcome, DesignerError> {
    let started = mixnn_node::start(&args.node)?;
    mixnn_node::end_when_told().map_err(|e| DesignerError::Stopped(e.to_string()))?;
    let model = mixnn_crds::parse_file(&args.model.file)?;
    args.model.watch(&name(&model), emit)?;
    if let Some(credentials) = &args.cluster {
        let weights = args.model.weights.as_ref().map(ToString::to_string);
        let reporter = Reporter::start(Cluster::connect(credentials, model.clone())?, weights)?;
        emit.observe(move |event| reporter.tell(event));
    }
    let wishes = Wishes::of(args, &model)?;
    let profile = mixnn_nn::profile::pin()?;
    let (owner, checkpoints) = keys::load(args, &model)?;
    let run = name(&model);
    let prepared = args.model.prepare(model, owner, emit)?;
    let (asking, questions) = Questions::new(&run, &prepared);
    let (dataset, classes) =
        (&prepared.model.training().dataset, prepared.data.class_names.clone());
    let booth = Booth::of(dataset, prepared.model.labels(), classes, Arc::new(asking));
    let oracle = booth.map(|booth| Arc::new(booth) as _);
    let beside = Beside { oracle, checkpoints: checkpoints.clone() };
    args.model.page.show(&run, &prepared.owner, beside)?;
    let training = Training {
        prepared: &prepared,
        args: &args.node,
        profile,
        weights: args.model.weights.as_ref(),
        stall: Duration::from_secs(args.stall),
        cores: args.cores,
        snapshot_every: args.checkpoint_every,
        timed: args.timings,
        checkpoints,
        questions: Some(questions),
        stay: &|| wishes.serves(),
    };
    let outcome = run_training(&training, started, emit)?;
    if wishes.stays() { Err(pod::serve(args)) } else { Ok(outcome) }
}

fn name(model: &MixNNModel) -> String {
    model.metadata.name.clone().unwrap_or_else(|| "model".into())
}

impl ModelArgs {
    /// Keeps events as far as that is wanted.
    fn watch(&self, run: &str, emit: &mut Emitter<std::io::Stdout>) -> Result<(), DesignerError> {
        let failed = |path: &Path, source| DesignerError::Write { path: path.to_owned(), source };
        if let Some(path) = &self.page.record {
            emit.record(Record::open(path).map_err(|e| failed(path, e))?);
        }
        if let Some(folder) = &self.tensorboard {
            let mut board = TensorBoard::create(folder).map_err(|e| failed(folder, e))?;
            emit.observe(move |event| board.tell(event));
        }
        let mlflow = self.mlflow.start(run);
        if let Some(mut mlflow) =
            mlflow.map_err(|e| DesignerError::Stopped(format!("MLflow: {e}")))?
        {
            emit.observe(move |event| mlflow.tell(event));
        }
        Ok(())
    }

    fn prepare(
        &self,
        model: MixNNModel,
        owner: OwnerSecret,
        emit: &mut Emitter<std::io::Stdout>,
    ) -> Result<Prepared, DesignerError> {
        let mut last = None;
        let mut progress = |reading: &mixnn_data::Reading| {
            let due = last.is_none_or(|at: Instant| at.elapsed() >= TELL)
                || reading.done == reading.total;
            if due {
                last = Some(Instant::now());
                let mixnn_data::Reading { what, done, total } = reading.clone();
                emit.emit(&Event::Reading(Reading { what, done, total }));
            }
        };
        let sources =
            Sources { file: &self.file, layers: self.layers.as_deref(), data: self.data.as_ref() };
        prepare(model.spec, sources, owner, &mut progress)
    }
}

/// What a process that is no node begins with.
fn alone(die_with_parent: bool) -> Result<(), DesignerError> {
    mixnn_node::no_core_dumps()?;
    if die_with_parent {
        mixnn_node::die_with_parent()?;
    }
    mixnn_node::init_logging(LogFormat::Text);
    mixnn_nn::profile::pin()?;
    Ok(())
}
