//! Arguments of the commands that look at a cluster.

use crate::args::Format;
use clap::Args;
use std::path::PathBuf;

/// Which cluster, which namespace: as kubectl has it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub struct Where {
    /// The kubeconfig [default: KUBECONFIG, ~/.kube/config, or the pod's own account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace [default: the context's]
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn status                          models of the namespace
  mixnn status lenet5 -n vision         one model as a tree
  mixnn status lenet5 --watch           drawn again as it changes, until it is trained
  mixnn status -A -o json

Which layer runs in which pod is known to nobody but the designer, and is not shown.")]
pub struct StatusArgs {
    /// The MixNNModel [default: a line for each]
    pub name: Option<String>,
    /// Models of all namespaces
    #[arg(short = 'A', long, conflicts_with_all = ["name", "namespace"])]
    pub all_namespaces: bool,
    /// Draw again with each change, until the model is trained or deleted
    #[arg(short, long, requires = "name")]
    pub watch: bool,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn check -n vision                 whether models can run in this namespace
  mixnn check lenet5 -n vision          and what this model needs
  mixnn check -f model.yaml             before it is applied
  mixnn check -o json

What you may not read is said, and is no failure: ask again as somebody who may. Exit status: 0 if nothing fails, else 1.")]
pub struct CheckArgs {
    /// A MixNNModel of the namespace
    pub name: Option<String>,
    /// A MixNNModel that is not applied yet
    #[arg(short, long, value_name = "FILE", conflicts_with = "name")]
    pub file: Option<PathBuf>,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args)]
#[command(after_help = "Example:\n  mixnn events lenet5 -n vision")]
pub struct EventsArgs {
    /// The MixNNModel
    pub name: String,
    /// Form of the result
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    #[command(flatten)]
    pub place: Where,
}

#[derive(Args)]
#[command(after_help = "Examples:
  mixnn logs lenet5 -n vision --follow
  mixnn logs lenet5 --previous          of the designer's container before this one
  mixnn logs lenet5 --raw | jq -c 'select(.event == \"step\")'
  mixnn logs lenet5 --layer conv1       what that layer tells its owner
  mixnn logs run/lenet5-1 --layer conv1 the same of a run on this machine

The designer's pod ends when the model is trained, and its log with it. A layer's log comes to its owner over the layer's
lane; what layer pods and relays write to standard error belongs to their hosts, and says nothing of a model.")]
pub struct LogsArgs {
    /// The MixNNModel, or the folder of a run on this machine
    pub name: String,
    /// What this layer tells its owner
    #[arg(long, value_name = "LAYER", conflicts_with = "previous")]
    pub layer: Option<String>,
    /// Go on as lines come
    #[arg(short, long)]
    pub follow: bool,
    /// Of the container that ended before
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
    /// The newest lines only
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u32>,
    /// Lines as the designer writes them: JSON
    #[arg(long)]
    pub raw: bool,
    #[command(flatten)]
    pub place: Where,
}
