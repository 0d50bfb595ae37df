//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Trains deep learning models with every layer in a process of its own, behind mix relays.
#[derive(Parser)]
#[command(
    name = "mixnn",
    version,
    after_help = "Examples:
  mixnn run --compare -f examples/lenet5.yaml          train over 5 layers and 6 relays, and in one process
  mixnn run -f examples/lenet5-mnist.yaml --data DIR   the same on MNIST
  mixnn check -f examples/mlp.yaml                     shapes and parameters of a model
  mixnn data show -n 8                                 look at the generated digits"
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
    /// Check a model's file and show its shapes
    Check(CheckArgs),
    /// Make or look at data
    #[command(subcommand)]
    Data(DataCommand),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  mixnn completions bash > ~/.local/share/bash-completion/completions/mixnn"
    )]
    Completions { shell: clap_complete::Shell },
}

/// What a training needs.
#[derive(Args, Clone)]
pub struct ModelArgs {
    /// The MixNNModel
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Folder of the data, where the model asks for IDX files (gzip or not)
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
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
  mixnn run -f examples/lenet5-mnist.yaml --data ~/mnist -o json")]
pub struct RunArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Train in one process too, and compare time and bits
    #[arg(long)]
    pub compare: bool,
    /// Seconds without a word from any layer before a step is taken back, and then given up
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub stall: u64,
}

#[derive(Args)]
#[command(after_help = "Example:\n  mixnn check -f examples/lenet5.yaml")]
pub struct CheckArgs {
    /// The MixNNModel
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Folder of the data, where the model asks for IDX files
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum DataCommand {
    /// Write generated digits as IDX files
    Digits(DigitsArgs),
    /// Draw some samples in the terminal
    Show(ShowArgs),
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

#[derive(Args)]
#[command(after_help = "Examples:\n  mixnn data show -n 4\n  mixnn data show --data ~/mnist")]
pub struct ShowArgs {
    /// Folder of IDX files; generated digits if not given
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How many
    #[arg(short, long, default_value_t = 4)]
    pub n: usize,
}

/// Form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}
