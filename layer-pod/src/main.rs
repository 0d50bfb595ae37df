//! `mixnn-layer`: one layer pod.

use clap::Parser;
use mixnn_layer_pod::Pod;
use mixnn_node::{DeadManArgs, NodeArgs};

/// A layer pod: starts blank, registers, and computes the one layer that its owner assigns.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:
  mixnn-layer --registry https://mixnn-operator.mixnn:8443 --registry-ca ca.pem --token-file token --listen 0.0.0.0:7000"
)]
struct Args {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    dead_man: DeadManArgs,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let started = mixnn_node::start(&args.node)?;
    mixnn_node::end_when_told()?;
    let profile = mixnn_nn::profile::pin()?;
    Pod::register(&args.node, started, profile, args.dead_man.switch())?.run()
}
