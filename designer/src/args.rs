//! The command line.

use clap::{Args, Subcommand};
use mixnn_designer::{
    ExportArgs, ImportArgs, KeepArgs, MlflowArgs, PageArgs, ServeArgs, ServeReferenceArgs,
};
use mixnn_node::NodeArgs;
use mixnn_place::Place;
use std::path::PathBuf;

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Train over layer pods and mix relays.
    Train(Box<TrainArgs>),
    /// Serve over layer pods and mix relays: Open Inference Protocol over REST and gRPC.
    Serve(Box<ServeArgs>),
    /// Serve the same in this one process.
    ServeReference(Box<ServeReferenceArgs>),
    /// Make a checkpoint that a training begins with, from a file of weights.
    Import(Box<ImportArgs>),
    /// Write the weights of a checkpoint as one safetensors file.
    Export(Box<ExportArgs>),
    /// Show checkpoints, and nothing else, on a page until told to end: for kubectl mixnn, where no training runs.
    Keep(Box<KeepArgs>),
    /// Train the same in this one process.
    Reference {
        #[command(flatten)]
        model: Box<ModelArgs>,
        /// Weights to begin with (safetensors), if not those that the owner's secret gives.
        #[arg(long, value_name = "FILE")]
        initial: Option<PathBuf>,
        /// End as soon as the process that started this one ends.
        #[arg(long, env = "MIXNN_DIE_WITH_PARENT")]
        die_with_parent: bool,
    },
}

/// A training over pods.
#[derive(Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
    /// Seconds without a word from any layer before a step is taken back.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..), value_name = "SECONDS")]
    pub(crate) stall: u64,
    /// CPU cores of all relays and layer pods together, by which `rate: auto` chooses the rate of cover
    /// [default: one for each]
    #[arg(long, value_name = "N")]
    pub(crate) cores: Option<f64>,
    /// Steps from one checkpoint to the next; 0: none.
    #[arg(long, default_value_t = 100, value_name = "STEPS")]
    pub(crate) checkpoint_every: u64,
    /// Let layers tell where their time of each step goes, and keep it in the record
    #[arg(long, requires = "record")]
    pub(crate) timings: bool,
    #[command(flatten)]
    pub(crate) checkpoints: CheckpointArgs,
    /// In a Kubernetes cluster: folder with `token` and `ca.crt` of the API server. The status of the
    /// MixNNModel is written, owner's keys that are missing are made into a Secret, and after the
    /// training this process waits to be told to end.
    #[arg(long, value_name = "DIR")]
    pub(crate) cluster: Option<PathBuf>,
}

/// The model.
#[derive(Args)]
pub(crate) struct ModelArgs {
    /// The MixNNModel.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// In sealed mode (`spec.layersFrom`): the file with the layers, a list as `spec.layers`.
    #[arg(long, value_name = "FILE")]
    pub(crate) layers: Option<PathBuf>,
    /// Folder or object store of the data's files (DIR, s3://BUCKET/.., gs://.., az://..), where the
    /// model does not say it.
    #[arg(long, value_name = "PLACE")]
    pub(crate) data: Option<Place>,
    /// File of the owner's 256-bit secret, made if it does not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) owner_secret: PathBuf,
    /// Where to write the trained weights (safetensors): a file, or s3://, gs:// or az:// with bucket and name.
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<Place>,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    #[command(flatten)]
    pub(crate) mlflow: MlflowArgs,
    /// Folder in which curves for TensorBoard are written.
    #[arg(long, value_name = "DIR")]
    pub(crate) tensorboard: Option<PathBuf>,
}

/// Checkpoints.
#[derive(Args)]
pub(crate) struct CheckpointArgs {
    /// Where to keep checkpoints: a folder, or s3://, gs:// or az:// with a bucket. Nowhere if not
    /// given: then a lost layer takes the training back to its beginning. What is there is gone on from.
    #[arg(long, value_name = "STORE")]
    pub(crate) checkpoints: Option<Place>,
    /// File of the owner's checkpoint keys, made if it does not exist.
    #[arg(long, value_name = "FILE", default_value = "checkpoint-key")]
    pub(crate) checkpoint_key: PathBuf,
    /// How many checkpoints to keep.
    #[arg(long, default_value_t = 3, value_name = "COUNT")]
    pub(crate) checkpoint_keep: usize,
    /// Go on from the newest checkpoint in the store even if a newer one had been written.
    #[arg(long)]
    pub(crate) accept_older: bool,
    /// Go on from a checkpoint of another numeric profile. The bits will differ from an undisturbed
    /// run.
    #[arg(long)]
    pub(crate) accept_profile: bool,
}
