//! `mixnn-relay`: one mix relay.

use anyhow::Context;
use clap::Parser;
use mixnn_mix_relay::{Budget, Relay, RelayCore};
use mixnn_node::{
    DeadMan, DeadManArgs, NodeArgs, RegistryClient, Started, Verdict, shutdown_signal,
};
use mixnn_protocol::AdmissionKey;
use mixnn_protocol::registration::{Directory, NodeClass};
use mixnn_transport::{Authority, Counters, Limits, serve_metrics};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::LocalOptions;

/// How often the directory is read when nothing asks for it.
const REFRESH: Duration = Duration::from_secs(30);
/// How soon it is read again when something asks.
const REFRESH_LEAST: Duration = Duration::from_millis(200);
/// For what is queued when the relay is told to end.
const FINISH: Duration = Duration::from_secs(3);

/// A mix relay: opens, re-seals and forwards cells and letters of lanes it knows nothing else of.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:
  mixnn-relay --registry https://mixnn-operator.mixnn:8443 --registry-ca ca.pem --token-file token --listen 0.0.0.0:7000"
)]
struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// Memory for lanes, in MiB. A lane that could need more than what is left is refused.
    #[arg(long, env = "MIXNN_LANE_MEMORY", default_value_t = 1024, value_name = "MIB")]
    lane_memory: usize,
    #[command(flatten)]
    dead_man: DeadManArgs,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let started = mixnn_node::start(&args.node)?;
    // Many threads would take 1.66 times the CPU for the same cells.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build_local(LocalOptions::default())?.block_on(run(args, started))
}

async fn run(args: Args, started: Started) -> anyhow::Result<()> {
    let registry = RegistryClient::new(&args.node)?;
    let budget = Budget::new(args.lane_memory.saturating_mul(1 << 20));
    let mut core = RelayCore::new(args.node.suite.into(), budget);
    let registered = registry.register(NodeClass::Relay, &started.url, core.public_key()).await?;
    core.admit(registered.id, AdmissionKey::from_der(&registered.admission_key)?);
    tracing::info!(url = started.url, "registered");
    let counters = Arc::new(Counters::default());
    if let Some(metrics) = started.metrics {
        let metrics = TcpListener::from_std(metrics).context("metrics listener")?;
        tokio::task::spawn_local(serve_metrics(metrics, counters.clone()));
    }
    let listener = TcpListener::from_std(started.listener).context("listener")?;
    let relay = Relay::new(core, Limits::default(), counters.clone());
    relay.set_clock(registry.clock());
    let mut alone = false;
    tokio::select! {
        () = relay.clone().serve(listener, Limits::default()) => {}
        () = follow_directory(&relay, &registry) => {}
        () = alone_too_long(&relay, &registry, args.dead_man.switch()) => alone = true,
        () = shutdown_signal() => tracing::info!("told to end"),
    }
    relay.finish(FINISH).await;
    tracing::info!(counts = counters.encode(), "ended");
    anyhow::ensure!(
        !alone,
        "this relay has had no valid cell, and the platform is silent: it ends"
    );
    Ok(())
}

/// Returns once neither owners nor the platform have been heard for too long.
async fn alone_too_long(relay: &Rc<Relay>, registry: &RegistryClient, mut switch: DeadMan) {
    loop {
        switch.heard(relay.heard());
        match switch.verdict(Instant::now()) {
            Verdict::Wait(pause) => tokio::time::sleep(pause).await,
            Verdict::Ask if registry.knows_me().await => switch.heard(Instant::now()),
            Verdict::Ask => switch.asked(Instant::now()),
            Verdict::Dead => return,
        }
    }
}

async fn follow_directory(relay: &Rc<Relay>, registry: &RegistryClient) {
    loop {
        match registry.directory().await {
            Ok(directory) => {
                relay.set_clock(registry.clock());
                relay.set_directory(addresses(directory));
            }
            Err(error) => tracing::warn!(%error, "the directory cannot be read"),
        }
        tokio::time::sleep(REFRESH_LEAST).await;
        let _ = tokio::time::timeout(REFRESH, relay.wants_directory.notified()).await;
    }
}

fn addresses(directory: Directory) -> HashMap<mixnn_protocol::NodeId, Authority> {
    let known = directory.nodes.into_iter().filter_map(|node| {
        let authority = Authority::from_url(&node.url);
        authority
            .inspect_err(|error| tracing::warn!(%error, "bad URL in the directory"))
            .ok()
            .map(|authority| (node.id, authority))
    });
    known.collect()
}
