//! The command line.

use crate::cluster::args::{CheckArgs, EventsArgs, LogsArgs, StatusArgs, Where};
use clap::{Args, Parser, Subcommand, ValueEnum};
use mixnn_place::Place;
use mixnn_serving::FrontArgs;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Trains deep learning models with every layer in a process of its own, behind mix relays.
#[derive(Parser)]
#[command(
    name = "mixnn",
    version,
    after_help = "Examples:
  mixnn run --compare -f examples/lenet5.yaml          train over 5 layers and 6 relays, and in one process
  mixnn run -f examples/lenet5-mnist.yaml --data DIR   the same on MNIST
  mixnn serve -f examples/lenet5.yaml --from run/lenet5-1   serve what was trained
  mixnn validate -f examples/mlp.yaml                  everything that is wrong with a file, at once
  mixnn topology -f examples/mlp.yaml                  layers, shapes, costs, and how to balance them
  mixnn data preview -n 8                              look at the generated digits
  mixnn init                                           write a model's file from a few answers
  mixnn status lenet5 -n vision                        how a model on a cluster fares"
)]
pub struct Cli {
    /// Colours on the terminal.
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto)]
    pub color: Colour,
    #[command(subcommand)]
    pub command: Command,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Subcommand)]
pub enum Command {
    /// Train a model over layer processes and mix relays on this machine
    Run(RunArgs),
    /// Train the same model in one process
    Reference(ModelArgs),
    /// Serve a model over layer processes and mix relays on this machine: REST and gRPC
    Serve(ServeArgs),
    /// Ask a served model for answers to samples of its data
    Predict(PredictArgs),
    /// Make a run that begins with weights from a safetensors file, to go on with by run --resume
    Import(ImportArgs),
    /// Write the weights of a run's checkpoint as a safetensors file under PyTorch's names
    Export(ExportArgs),
    /// Put two runs, or a run and its reference, beside each other: accuracy, curves, times, bits
    Compare(CompareArgs),
    /// Show a run in a browser: curves, who sees what, faults, privacy, checkpoints
    Page(PageArgs),
    /// Write a model's file from a program of torch.export, or as far as a safetensors file tells it
    Convert(ConvertArgs),
    /// Check models' files: everything that is wrong, with line and column
    Validate(ValidateArgs),
    /// Show a model as a pipeline of pods: shapes, parameters, FLOPs, bytes, cells, memory
    Topology(TopologyArgs),
    /// Write a model's file from a few answers
    Init(InitArgs),
    /// Look at the checkpoints of a run, check them, remove old ones
    #[command(subcommand)]
    Checkpoints(CheckpointsCommand),
    /// Make or look at data
    #[command(subcommand)]
    Data(DataCommand),
    /// On a cluster: how models fare
    Status(StatusArgs),
    /// On a cluster: whether models can run in a namespace, and what to mend
    Check(CheckArgs),
    /// On a cluster: events of a model
    Events(EventsArgs),
    /// What a model's designer says, or one of its layers; of a run on this machine, too
    Logs(LogsArgs),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  mixnn completions bash > ~/.local/share/bash-completion/completions/mixnn"
    )]
    Completions { shell: clap_complete::Shell },
    /// Write manual pages
    Man(ManArgs),
}

/// What a training needs.
#[derive(Args, Clone)]
pub struct ModelArgs {
    /// The MixNNModel
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Folder or object store of the data's files: DIR, s3://BUCKET/.., gs://.., az://.. (settings from
    /// the environment: AWS_ACCESS_KEY_ID, AWS_ENDPOINT ..)
    #[arg(long, value_name = "PLACE")]
    pub data: Option<Place>,
    /// File of the owner's 256-bit secret, from which initial weights, dropout and shuffling follow;
    /// made if it does not exist [default: in the run folder]
    #[arg(long, value_name = "FILE")]
    pub owner_secret: Option<PathBuf>,
    /// Where to keep logs, secret and weights [default: run/NAME-N]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Form of the result on standard output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn run --compare -f examples/lenet5.yaml
  mixnn run -f examples/lenet5-mnist.yaml --data ~/mnist -o json
  mixnn run -f examples/lenet5.yaml --page 127.0.0.1:8765 --tensorboard curves
  mixnn run -f examples/lenet5.yaml --timings --trace trace.json
  mixnn run --resume run/lenet5-1 -f examples/lenet5.yaml")]
pub struct RunArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Train in one process too, and compare time and bits
    #[arg(long)]
    pub compare: bool,
    /// Show the run in a browser at this address, while it is made; port 0: a free one
    #[arg(long, value_name = "ADDRESS")]
    pub page: Option<SocketAddr>,
    /// Write curves for TensorBoard below this folder, in a folder named after the run
    #[arg(long, value_name = "DIR")]
    pub tensorboard: Option<PathBuf>,
    #[command(flatten)]
    pub mlflow: MlflowArgs,
    #[command(flatten)]
    pub times: TimesArgs,
    /// Seconds without a word from any layer before a step is taken back
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub stall: u64,
    /// Seconds without an answer before a process is taken for frozen, ended and replaced
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub liveness: u64,
    /// Begin with these weights (safetensors under PyTorch's names) in place of drawn ones
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub weights: Option<PathBuf>,
    /// Rewrite the names of the tensors of --weights: conv1=conv1.0
    #[arg(long, value_name = "OLD=NEW", requires = "weights")]
    pub rename: Vec<String>,
    /// Go on with the run in this folder from its newest checkpoint. Relays and hops may differ
    #[arg(long, value_name = "DIR", conflicts_with = "run_dir")]
    pub resume: Option<PathBuf>,
    /// Where to keep checkpoints: a folder, or s3://, gs:// or az:// with a bucket [default: in the run
    /// folder]
    #[arg(long, value_name = "STORE")]
    pub checkpoints: Option<Place>,
    /// Steps from one checkpoint to the next; 0: none but the last
    #[arg(long, default_value_t = 100, value_name = "STEPS")]
    pub checkpoint_every: u64,
    /// How many checkpoints to keep
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub checkpoint_keep: u64,
    /// Go on from the newest checkpoint in the store even if a newer one had been written
    #[arg(long)]
    pub accept_older: bool,
    /// Go on from a checkpoint of another numeric profile: the bits will differ from an undisturbed run
    #[arg(long)]
    pub accept_profile: bool,
}

/// Whether curves go to an MLflow server.
#[derive(Args)]
pub struct MlflowArgs {
    /// Send curves to this MLflow tracking server (who may write there: MLFLOW_TRACKING_TOKEN, _USERNAME, _PASSWORD)
    #[arg(long, value_name = "URL")]
    pub mlflow: Option<String>,
    /// The experiment there, made if it does not exist
    #[arg(long, value_name = "NAME", requires = "mlflow", default_value = "mixnn")]
    pub mlflow_experiment: String,
}

/// Whether it is told where the time of steps goes.
#[derive(Args)]
pub struct TimesArgs {
    /// Let layers tell where their time goes: at the end a table says it, and timings.svg in the run's folder shows
    /// it of one step. The layers' hosts learn that somebody asks
    #[arg(long)]
    pub timings: bool,
    /// Write all times as a trace for Perfetto (ui.perfetto.dev) or chrome://tracing
    #[arg(long, value_name = "FILE", requires = "timings")]
    pub trace: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn serve -f examples/lenet5.yaml --from run/lenet5-1
  mixnn serve -f model.yaml --weights trained.safetensors --address 127.0.0.1:8000 --tokens tokens
  curl -s http://127.0.0.1:8000/v2/models/lenet5

The interface is the Open Inference Protocol: /openapi.json of the running server describes it.")]
pub struct ServeArgs {
    /// The MixNNModel
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Place of the data's files, where the model does not say the shape of a sample
    #[arg(long, value_name = "PLACE")]
    pub data: Option<Place>,
    /// Folder of a run: its newest checkpoint is served, and each newer one once it is there
    #[arg(
        long,
        value_name = "RUN_DIR",
        required_unless_present = "weights",
        conflicts_with = "weights"
    )]
    pub from: Option<PathBuf>,
    /// Where the run's checkpoints are, if not in its folder
    #[arg(long, value_name = "STORE", requires = "from")]
    pub checkpoints: Option<Place>,
    /// Weights to serve: a safetensors file, or a folder of N.safetensors for versions N
    #[arg(long, value_name = "PATH")]
    pub weights: Option<PathBuf>,
    /// Rewrite the names of tensors in files of weights: conv1=conv1.0
    #[arg(long, value_name = "OLD=NEW", requires = "weights")]
    pub rename: Vec<String>,
    #[command(flatten)]
    pub front: FrontArgs,
    /// Serve in one process, without relays and layer processes
    #[arg(long)]
    pub one_process: bool,
    /// Where to keep logs [default: run/NAME-serve-N]
    #[arg(long, value_name = "DIR")]
    pub run_dir: Option<PathBuf>,
    /// Seconds without an answer before a batch is sent again over a ring that was repaired
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub stall: u64,
    /// Seconds without an answer before a process is taken for frozen, ended and replaced
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub liveness: u64,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn import -f model.yaml --weights pretrained.safetensors
  mixnn import -f model.yaml --weights state.safetensors --rename conv1=conv1.0 --rename fc=fc.1
  mixnn run --resume run/model-1 -f model.yaml")]
pub struct ImportArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The weights: every tensor of the model under PyTorch's names, and no other
    #[arg(long, value_name = "FILE")]
    pub weights: PathBuf,
    /// Rewrite the names of tensors: OLD is a whole name, or a prefix that ends at a dot
    #[arg(long, value_name = "OLD=NEW")]
    pub rename: Vec<String>,
    /// Where to keep the checkpoint, if not in the run's folder
    #[arg(long, value_name = "STORE")]
    pub checkpoints: Option<Place>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn export run/lenet5-1 --out lenet5.safetensors
  mixnn export lenet5 -n vision --out lenet5.safetensors     from a cluster, through a forwarded port
  python3 -c \"from safetensors.torch import load_file; model.load_state_dict(load_file('lenet5.safetensors'))\"")]
pub struct ExportArgs {
    /// Folder of the run, or the MixNNModel on a cluster
    pub run: PathBuf,
    /// Where to write the weights: a file, or s3://, gs:// or az:// with bucket and name
    #[arg(long, value_name = "FILE")]
    pub out: Place,
    /// Which checkpoint [default: the newest]
    #[arg(long, value_name = "NUMBER")]
    pub number: Option<u64>,
    /// Where the checkpoints are kept, if not in the run's folder
    #[arg(long, value_name = "STORE")]
    pub checkpoints: Option<Place>,
    /// File of the owner's checkpoint keys, if not in the run's folder
    #[arg(long, value_name = "FILE")]
    pub checkpoint_key: Option<PathBuf>,
    /// File of the owner's secret, if not in the run's folder
    #[arg(long, value_name = "FILE")]
    pub owner_secret: Option<PathBuf>,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn compare run/lenet5-1                      with its reference (mixnn run --compare)
  mixnn compare run/lenet5-1 run/lenet5-2 --svg curves.svg
  mixnn compare run/lenet5-1 run/lenet5-2 -o json")]
pub struct CompareArgs {
    /// Folder of a run, which may still be going on
    pub run: PathBuf,
    /// Folder of another run [default: the reference in the same folder]
    pub other: Option<PathBuf>,
    /// Write the curves as a picture
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write table and curves as a page that needs no other file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Form of the result on standard output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn page run/lenet5-1
  mixnn page lenet5 -n vision           of a model on a cluster, through a forwarded port
  mixnn page run/lenet5-1 --serving http://127.0.0.1:8000 -f examples/lenet5.yaml     with a box to try pictures

While a run is made, mixnn run --page 127.0.0.1:8765 shows the same.")]
pub struct PageArgs {
    /// Folder of the run, or the MixNNModel on a cluster
    pub run: PathBuf,
    /// Where to show it; port 0: a free one
    #[arg(long, default_value = "127.0.0.1:8765", value_name = "ADDRESS")]
    pub address: SocketAddr,
    /// Where the model is served: pictures can be tried on it then
    #[arg(long, value_name = "URL", requires = "file")]
    pub serving: Option<String>,
    /// The MixNNModel: it says how pixels become numbers
    #[arg(short, long, value_name = "FILE", requires = "serving")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn convert lenet.pt2 --out lenet.yaml --weights lenet.safetensors
  mixnn convert resnet.safetensors --out resnet.yaml

A program that torch.export.save wrote says what is computed; what has no counterpart here is told, and left out. A
file of weights says nothing of activations, pooling, strides or the order of layers: the result is to be filled in
by a person.")]
pub struct ConvertArgs {
    /// What torch.export.save wrote (.pt2), or a safetensors file
    pub file: PathBuf,
    /// Of a program: write its weights here, as a safetensors file under the model's names
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// File to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn predict -f examples/lenet5.yaml -n 5
  mixnn predict -f model.yaml --data ~/mnist --url https://models.example:8000 --token-file token -o json
  mixnn predict -f examples/lenet5.yaml --image seven.png
  mixnn predict -f examples/lenet5.yaml --idx ~/mnist/t10k-images-idx3-ubyte.gz --index 7")]
pub struct PredictArgs {
    /// Ask about this picture instead, PNG or JPEG; it is scaled, and normalised as in training
    #[arg(long, value_name = "FILE", conflicts_with = "idx")]
    pub image: Option<PathBuf>,
    /// Ask about a picture of this IDX file instead, gzip or not
    #[arg(long, value_name = "FILE")]
    pub idx: Option<PathBuf>,
    /// Which picture of the IDX file, from 0
    #[arg(long, default_value_t = 0, value_name = "N", requires = "idx")]
    pub index: usize,
    /// Where the model is served
    #[arg(long, default_value = "http://127.0.0.1:8000", value_name = "URL")]
    pub url: String,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Which samples; they go through the same transforms as in training
    #[command(flatten)]
    pub samples: PreviewArgs,
}

/// Whom to trust, and what to show, where a model is served.
#[derive(Args, Clone, Default)]
pub struct TrustArgs {
    /// The CA that the server's certificate is from, in PEM, if the system does not know it
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File of the bearer token to show
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum CheckpointsCommand {
    /// List checkpoints, oldest first
    #[command(after_help = "Examples:
  mixnn checkpoints ls run/lenet5-1 -o json
  mixnn checkpoints ls lenet5 -n vision     of a model on a cluster, through a forwarded port")]
    Ls {
        #[command(flatten)]
        vault: VaultArgs,
        #[command(flatten)]
        place: Where,
    },
    /// Check that every checkpoint opens and every shard is the one that was written
    Verify(VaultArgs),
    /// Remove all but the newest checkpoints
    #[command(after_help = "Example:\n  mixnn checkpoints prune run/lenet5-1 --keep 1")]
    Prune {
        #[command(flatten)]
        vault: VaultArgs,
        /// How many to keep, at least 1
        #[arg(long, default_value_t = 1)]
        keep: usize,
    },
}

/// Where checkpoints are.
#[derive(Args)]
pub struct VaultArgs {
    /// Folder of the run; to list them, the MixNNModel on a cluster
    pub run: PathBuf,
    /// Where they are kept, if not in the run's folder
    #[arg(long, value_name = "STORE")]
    pub checkpoints: Option<Place>,
    /// File of the owner's checkpoint keys, if not in the run's folder
    #[arg(long, value_name = "FILE")]
    pub checkpoint_key: Option<PathBuf>,
    /// Form of the result on standard output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn validate -f examples/lenet5.yaml
  mixnn validate -f examples/*.yaml -o json
  mixnn validate -f model.yaml --data s3://bucket/flowers     opens the data too

Exit status: 0 if all files are valid, 1 if not.")]
pub struct ValidateArgs {
    /// The MixNNModels
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true, num_args = 1..)]
    pub files: Vec<PathBuf>,
    /// Folder or object store of the data's files: they are opened and checked too
    #[arg(long, value_name = "PLACE")]
    pub data: Option<Place>,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn topology -f examples/lenet5.yaml
  mixnn topology -f examples/lenet5.yaml --picture
  mixnn topology -f examples/lenet5.yaml --svg lenet5.svg -o json")]
pub struct TopologyArgs {
    /// The MixNNModel
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Folder or object store of the data's files, where the model does not say the shape of a sample
    #[arg(long, value_name = "PLACE")]
    pub data: Option<Place>,
    /// Draw the pipeline instead of a table
    #[arg(long)]
    pub picture: bool,
    /// Write a picture of the pipeline
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn init                                                     asks
  mixnn init --yes                                               takes every default
  mixnn init --dataset images --size 64 --classes 5 --out flowers.yaml
  mixnn init --dataset parquet --features area,rooms --task number --target price")]
pub struct InitArgs {
    /// File to write
    #[arg(long, default_value = "model.yaml", value_name = "FILE")]
    pub out: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
    /// Take the default of everything that no flag says
    #[arg(short, long, conflicts_with = "ask")]
    pub yes: bool,
    /// Ask even without a terminal
    #[arg(long, hide = true)]
    pub ask: bool,
    /// Name of the model
    #[arg(long)]
    pub name: Option<String>,
    /// What it learns from
    #[arg(long, value_enum)]
    pub dataset: Option<InitData>,
    /// Number of classes
    #[arg(long)]
    pub classes: Option<u32>,
    /// Side of the pictures, in pixels, a multiple of 4; bytes of text that the model sees at once
    #[arg(long)]
    pub size: Option<u32>,
    /// Columns of numbers in CSV and Parquet files
    #[arg(long, value_delimiter = ',', value_name = "COLUMN,..")]
    pub features: Option<Vec<String>>,
    /// What to tell from them
    #[arg(long, value_enum)]
    pub task: Option<InitTask>,
    /// Column of what is to be told
    #[arg(long, value_name = "COLUMN")]
    pub target: Option<String>,
    /// Passes over the training data
    #[arg(long)]
    pub epochs: Option<u32>,
    /// Samples of a step
    #[arg(long)]
    pub batch_size: Option<u32>,
    /// Mix relays
    #[arg(long)]
    pub relays: Option<u32>,
    /// Relays on each lane, 1 to 5
    #[arg(long)]
    pub hops: Option<u32>,
}

/// Data that `init` has an architecture for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InitData {
    /// Generated digits: nothing to download.
    Digits,
    /// The files of the MNIST family.
    Idx,
    /// Folders of PNG or JPEG pictures.
    Images,
    /// A CSV file.
    Csv,
    /// A Parquet file.
    Parquet,
    /// A text, of which the model tells the next byte.
    Text,
}

/// What a model is to tell from columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InitTask {
    /// One of several classes.
    Class,
    /// A number.
    Number,
}

/// Text to and from the names that the command line has for it.
macro_rules! by_name {
    ($type:ty, $expected:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.to_possible_value().as_ref().map_or("", |v| v.get_name()))
            }
        }

        impl std::str::FromStr for $type {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                <Self as ValueEnum>::from_str(text, true).map_err(|_| $expected)
            }
        }
    };
}

by_name!(InitData, "it must be digits, idx, images, csv, parquet or text");
by_name!(InitTask, "it must be class or number");

#[derive(Args)]
#[command(after_help = "Example:\n  mixnn man --out ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Folder for the pages, made if it does not exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Subcommand)]
pub enum DataCommand {
    /// Write generated digits as IDX files
    Digits(DigitsArgs),
    /// Show what a model's data are: format, place, samples, classes
    Ls(DataArgs),
    /// Show samples in the terminal: pictures, numbers, tokens
    #[command(alias = "show")]
    Preview(PreviewArgs),
}

#[derive(Args)]
#[command(
    after_help = "Example:\n  mixnn data digits --out digits --train 60000 --test 10000 --gzip"
)]
pub struct DigitsArgs {
    /// Folder for the four files, made if it does not exist
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Samples to train on
    #[arg(long, default_value_t = 12_000)]
    pub train: u32,
    /// Samples to test on
    #[arg(long, default_value_t = 2_000)]
    pub test: u32,
    /// Seed of the generator
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Compress the files
    #[arg(long)]
    pub gzip: bool,
}

/// Which data.
#[derive(Args)]
#[command(after_help = "Examples:
  mixnn data ls -f model.yaml --data ~/flowers
  mixnn data ls -f model.yaml --data s3://bucket/flowers --count -o json
  mixnn data ls --data ~/mnist")]
pub struct DataArgs {
    /// The MixNNModel whose data they are; without it, IDX files of --data, or generated digits
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Folder or object store of the files: DIR, s3://BUCKET/.., gs://.., az://..
    #[arg(long, value_name = "PLACE")]
    pub data: Option<Place>,
    /// Read all samples, and count those of each class
    #[arg(long)]
    pub count: bool,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn data preview -n 4
  mixnn data preview --data ~/mnist --split test
  mixnn data preview -f model.yaml --data s3://bucket/flowers --skip 100")]
pub struct PreviewArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// How many
    #[arg(short, default_value_t = 4)]
    pub n: u64,
    /// Which samples
    #[arg(long, value_enum, default_value_t = WhichSplit::Train)]
    pub split: WhichSplit,
    /// So many are left out at the beginning
    #[arg(long, default_value_t = 0)]
    pub skip: u64,
}

/// Which samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhichSplit {
    /// To train on.
    Train,
    /// To test on.
    Test,
}

/// Form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[value(alias = "table")]
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}
