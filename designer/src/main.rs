//! `mixnn-designer`: the owner's process.

use clap::{Args, Parser, Subcommand};
use mixnn_designer::{
    CheckpointSpec, DesignerError, Emitter, Prepared, Training, prepare, run_reference,
    run_training,
};
use mixnn_events::{Event, Failed, Outcome, Reading};
use mixnn_node::{LogFormat, NodeArgs};
use mixnn_place::Place;
use std::path::PathBuf;
use std::process::ExitCode;
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

#[derive(Subcommand)]
enum Command {
    /// Train over layer pods and mix relays.
    Train(Box<TrainArgs>),
    /// Train the same in this one process.
    Reference {
        #[command(flatten)]
        model: ModelArgs,
        /// End as soon as the process that started this one ends.
        #[arg(long, env = "MIXNN_DIE_WITH_PARENT")]
        die_with_parent: bool,
    },
}

#[derive(Args)]
struct TrainArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    node: NodeArgs,
    /// Seconds without a word from any layer before a step is taken back.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..), value_name = "SECONDS")]
    stall: u64,
    /// CPU cores of all relays and layer pods together, by which `rate: auto` chooses the rate of cover
    /// [default: one for each]
    #[arg(long, value_name = "N")]
    cores: Option<f64>,
    /// Steps from one checkpoint to the next; 0: none.
    #[arg(long, default_value_t = 100, value_name = "STEPS")]
    checkpoint_every: u64,
    #[command(flatten)]
    checkpoints: CheckpointArgs,
}

#[derive(Args)]
struct ModelArgs {
    /// The MixNNModel.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Folder or object store of the data's files (DIR, s3://BUCKET/.., gs://.., az://..), where the
    /// model does not say it.
    #[arg(long, value_name = "PLACE")]
    data: Option<Place>,
    /// File of the owner's 256-bit secret, made if it does not exist.
    #[arg(long, value_name = "FILE")]
    owner_secret: PathBuf,
    /// Where to write the trained weights (safetensors).
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

#[derive(Args)]
struct CheckpointArgs {
    /// Where to keep checkpoints: a folder, or s3://, gs:// or az:// with a bucket. Nowhere if not
    /// given: then a lost layer takes the training back to its beginning.
    #[arg(long, value_name = "STORE")]
    checkpoints: Option<Place>,
    /// File of the owner's checkpoint keys, made if it does not exist.
    #[arg(long, value_name = "FILE")]
    checkpoint_key: Option<PathBuf>,
    /// How many checkpoints to keep.
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    checkpoint_keep: usize,
    /// Go on from the newest checkpoint in the store even if a newer one had been written.
    #[arg(long)]
    accept_older: bool,
    /// Go on from a checkpoint of another numeric profile. The bits will differ from an undisturbed
    /// run.
    #[arg(long)]
    accept_profile: bool,
}

impl CheckpointArgs {
    fn spec(&self) -> Option<CheckpointSpec> {
        let key = self.checkpoint_key.clone().unwrap_or_else(|| PathBuf::from("checkpoint-key"));
        self.checkpoints.clone().map(|store| CheckpointSpec {
            store,
            key,
            keep: self.checkpoint_keep,
            accept_older: self.accept_older,
            accept_profile: self.accept_profile,
        })
    }
}

impl ModelArgs {
    fn prepare(&self, emit: &mut Emitter<std::io::Stdout>) -> Result<Prepared, DesignerError> {
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
        prepare(&self.file, self.data.as_ref(), &self.owner_secret, &mut progress)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut emit = Emitter::new(std::io::stdout());
    match run(&cli.command, &mut emit) {
        Ok(outcome) => {
            emit.emit(&Event::Done(outcome));
            ExitCode::SUCCESS
        }
        Err(error) => {
            emit.emit(&Event::Failed(Failed { message: error.to_string() }));
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, emit: &mut Emitter<std::io::Stdout>) -> Result<Outcome, DesignerError> {
    match command {
        Command::Train(args) => {
            let started = mixnn_node::start(&args.node)?;
            let profile = mixnn_nn::profile::pin()?;
            let prepared = args.model.prepare(emit)?;
            let training = Training {
                prepared: &prepared,
                args: &args.node,
                profile,
                weights: args.model.weights.as_deref(),
                stall: Duration::from_secs(args.stall),
                cores: args.cores,
                snapshot_every: args.checkpoint_every,
                checkpoints: args.checkpoints.spec(),
            };
            run_training(&training, started, emit)
        }
        Command::Reference { model, die_with_parent } => {
            mixnn_node::no_core_dumps()?;
            if *die_with_parent {
                mixnn_node::die_with_parent()?;
            }
            mixnn_node::init_logging(LogFormat::Text);
            mixnn_nn::profile::pin()?;
            let prepared = model.prepare(emit)?;
            run_reference(&prepared, model.weights.as_deref(), emit)
        }
    }
}
