//! `mixnn run` and `mixnn reference`: the operator's part, played on this machine.

mod children;
mod fleet;
mod folder;
mod platform;
mod serve;
mod weights;

pub use serve::serve;
pub use weights::{export, import};

use crate::args::{Format, MlflowArgs, ModelArgs, RunArgs};
use crate::page;
use crate::progress::Progress;
use crate::table::{Comparison, draw_one};
use crate::{output, table, timings};
use anyhow::{Context, bail};
use children::{Children, Exit};
use fleet::{Fleet, Slot};
use folder::RunFolder;
pub use folder::record_of;
use mixnn_crds::MixNNModel;
use mixnn_events::{Event, Outcome};
use mixnn_place::Place;
use mixnn_protocol::registration::NodeClass;
use platform::Platform;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long the designer may take to say why it ended, once another process has.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The process that trains alone, and what its files begin with.
pub const REFERENCE: &str = "reference";
/// What the files of a training over relays begin with.
pub const MODEL: &str = "model";
/// The slot of the designer.
const DESIGNER: &str = "designer";

/// How a command ended, if not with an error.
pub enum Ending {
    /// All as it should be.
    Good,
    /// The weights differ.
    Bad,
    /// By the user.
    Interrupted,
}

/// Trains over layer processes and relays; compares with one process if asked to.
pub async fn run(args: RunArgs) -> anyhow::Result<Ending> {
    let model = mixnn_crds::parse_file(&args.model.file)?;
    let folder = RunFolder::make(&args.model, args.resume.as_deref(), &model)?;
    let mut children = Children::new();
    let ended = tokio::select! {
        ended = both(&args, &model, &folder, &mut children) => Some(ended),
        () = mixnn_node::shutdown_signal() => None,
    };
    children.end_all().await;
    let Some(ended) = ended else {
        output::note(format!(
            "interrupted: every process has been ended; logs and secret are in {}",
            folder.path().display()
        ));
        return Ok(Ending::Interrupted);
    };
    let (distributed, reference) =
        ended.with_context(|| format!("logs are in {}", folder.path().display())).map_err(turn)?;
    let ending = report(&args.model, distributed, reference, &folder);
    if args.times.timings {
        timings::tell(&args, folder.path())?;
    }
    Ok(ending)
}

/// The cause first, then where to look.
fn turn(error: anyhow::Error) -> anyhow::Error {
    let place = error.to_string();
    anyhow::anyhow!("{}\n{place}", error.root_cause())
}

async fn both(
    args: &RunArgs,
    model: &MixNNModel,
    folder: &RunFolder,
    children: &mut Children,
) -> anyhow::Result<(Outcome, Option<Outcome>)> {
    let _shown = match args.page {
        Some(address) => {
            let designer = Arc::new(page::Designer::of(folder.path())?);
            let record = record_of(folder.path(), MODEL);
            Some(page::show(address, folder.path(), record, Some(designer)).await?)
        }
        None => None,
    };
    if let Some(file) = &args.weights {
        let store = args.checkpoints.as_ref();
        weights::bring_in(&args.model, (file, &args.rename), store, folder).await?;
    }
    let distributed = distributed(args, model, folder, children).await?;
    // The relays have nothing left to do, and must not take time from what is compared.
    children.end_all().await;
    if !args.compare {
        return Ok((distributed, None));
    }
    let curves = curve_flags(args, folder, REFERENCE)?;
    let reference = one_process(&args.model, curves, folder, children).await?;
    Ok((distributed, Some(reference)))
}

fn report(
    args: &ModelArgs,
    distributed: Outcome,
    reference: Option<Outcome>,
    folder: &RunFolder,
) -> Ending {
    let kept = format!("weights, logs and secret are in {}", folder.path().display());
    let Some(reference) = reference else {
        print(args.output, &distributed, || draw_one("over mix relays", &distributed));
        output::note(kept);
        return Ending::Good;
    };
    let comparison = Comparison::new(distributed, reference);
    print(args.output, &comparison, || comparison.draw());
    output::note(kept);
    if comparison.same_bits { Ending::Good } else { Ending::Bad }
}

fn print(format: Format, json: &impl serde::Serialize, text: impl FnOnce() -> String) {
    output::line(match format {
        Format::Text => text(),
        Format::Json => serde_json::to_string_pretty(json).unwrap_or_default(),
        Format::Yaml => mixnn_crds::yaml_of(json).unwrap_or_default().trim_end().to_owned(),
    });
}

/// Trains in one process.
pub async fn reference(args: ModelArgs) -> anyhow::Result<Ending> {
    let model = mixnn_crds::parse_file(&args.file)?;
    let folder = RunFolder::make(&args, None, &model)?;
    let mut children = Children::new();
    let ended = tokio::select! {
        ended = one_process(&args, Vec::new(), &folder, &mut children) => Some(ended),
        () = mixnn_node::shutdown_signal() => None,
    };
    children.end_all().await;
    let Some(ended) = ended else {
        output::note(format!("interrupted; logs and secret are in {}", folder.path().display()));
        return Ok(Ending::Interrupted);
    };
    let outcome = ended?;
    print(args.output, &outcome, || table::draw_one("in one process", &outcome));
    output::note(format!("weights, logs and secret are in {}", folder.path().display()));
    Ok(Ending::Good)
}

async fn one_process(
    args: &ModelArgs,
    more: Vec<OsString>,
    folder: &RunFolder,
    children: &mut Children,
) -> anyhow::Result<Outcome> {
    folder.begin_record(REFERENCE)?;
    let mut designer: Vec<OsString> = vec!["reference".into(), "--die-with-parent".into()];
    designer.extend(model_flags(args, folder, REFERENCE)?);
    designer.extend(more);
    let initial = folder.path().join(weights::INITIAL);
    if initial.exists() {
        designer.extend(["--initial".into(), initial.into()]);
    }
    let (send, events) = mpsc::channel(64);
    children.start(REFERENCE, &binary("mixnn-designer")?, designer, folder, Some(send))?;
    follow("one process", events, children).await
}

async fn distributed(
    args: &RunArgs,
    model: &MixNNModel,
    folder: &RunFolder,
    children: &mut Children,
) -> anyhow::Result<Outcome> {
    if args.resume.is_none() {
        folder.begin_record(MODEL)?;
    }
    let mut fleet = fleet_of(model, folder, args.liveness, children).await?;
    let mut flags: Vec<OsString> = vec!["train".into()];
    flags.extend(model_flags(&args.model, folder, MODEL)?);
    flags.extend(curve_flags(args, folder, MODEL)?);
    flags.extend(["--stall".into(), args.stall.to_string().into()]);
    flags.extend(args.times.timings.then(|| "--timings".into()));
    if args.page.is_some() {
        flags.extend(page::designer_flags(folder.path())?);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    flags.extend(["--cores".into(), cores.to_string().into()]);
    flags.extend(checkpoint_flags(args, folder)?);
    let (send, events) = mpsc::channel(64);
    let slot = Slot::new(NodeClass::Designer, binary("mixnn-designer")?, flags).with_events(send);
    fleet.start(DESIGNER.to_owned(), slot, children)?;
    follow_fleet(events, &mut fleet, children).await
}

/// The platform, and all nodes of a model but its designer.
async fn fleet_of<'f>(
    model: &MixNNModel,
    folder: &'f RunFolder,
    liveness: u64,
    children: &mut Children,
) -> anyhow::Result<Fleet<'f>> {
    let spec = &model.spec;
    let (relay, layer) = (binary("mixnn-relay")?, binary("mixnn-layer")?);
    let platform = Platform::start(folder, spec.relays.suite).await?;
    let mut fleet = Fleet::new(platform, folder, Duration::from_secs(liveness))?;
    for i in 1..=spec.relays.replicas {
        let slot = Slot::new(NodeClass::Relay, relay.clone(), Vec::new());
        fleet.start(format!("relay-{i}"), slot, children)?;
    }
    for i in 1..=spec.layers.len() {
        let slot = Slot::new(NodeClass::Layer, layer.clone(), Vec::new());
        fleet.start(format!("layer-{i}"), slot, children)?;
    }
    Ok(fleet)
}

fn checkpoint_flags(args: &RunArgs, folder: &RunFolder) -> anyhow::Result<Vec<OsString>> {
    let store = args.checkpoints.clone();
    let store = store.unwrap_or_else(|| Place::Folder(folder.path().join("checkpoints")));
    let store = store.absolute().with_context(|| format!("the path {store}"))?;
    let mut flags: Vec<OsString> = vec![
        "--checkpoints".into(),
        store.to_flag(),
        "--checkpoint-key".into(),
        folder.path().join("checkpoint-key").into(),
        "--checkpoint-every".into(),
        args.checkpoint_every.to_string().into(),
        "--checkpoint-keep".into(),
        args.checkpoint_keep.to_string().into(),
    ];
    let switches =
        [("--accept-older", args.accept_older), ("--accept-profile", args.accept_profile)];
    flags.extend(switches.into_iter().filter(|(_, on)| *on).map(|(flag, _)| flag.into()));
    Ok(flags)
}

/// Draws the designer's events until it is done, and replaces processes that end before.
async fn follow_fleet(
    mut events: mpsc::Receiver<Event>,
    fleet: &mut Fleet<'_>,
    children: &mut Children,
) -> anyhow::Result<Outcome> {
    let mut progress = Progress::new("over mix relays");
    let mut look = tokio::time::interval(fleet::LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            event = events.recv() => {
                let Some(event) = event else { bail!("the designer has gone") };
                progress.event(&event);
                if let Some(verdict) = judge(event) {
                    fleet.keep_head()?;
                    return verdict;
                }
            }
            exit = children.next_exit() => {
                if exit.in_order {
                    // A layer that its owner is done with ends by itself.
                    continue;
                }
                // What a signal ends is replaced, the designer too: it goes on in a higher term.
                if exit.name == DESIGNER && !exit.by_signal {
                    let words = tokio::time::timeout(LAST_WORDS, verdict(&mut events)).await;
                    return match words {
                        Ok(Some(verdict)) => verdict,
                        Ok(None) | Err(_) => Err(exit.error()),
                    };
                }
                progress.hide(|| fleet.replace(&exit, children))?;
            }
            _ = look.tick() => {
                fleet.keep_head()?;
                fleet.check(children).await?;
            }
        }
    }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("the path {}", path.display()))
}

/// Absolute paths: the designer does not run in this process's folder.
fn model_flags(args: &ModelArgs, folder: &RunFolder, name: &str) -> anyhow::Result<Vec<OsString>> {
    let mut flags = owner_flags(args, folder)?;
    let weights = folder.path().join(format!("{name}.safetensors"));
    let record = record_of(folder.path(), name);
    flags.extend(["--weights".into(), weights.into(), "--record".into(), record.into()]);
    Ok(flags)
}

/// Where curves go: for TensorBoard a folder, for MLflow a run, for each training of each run.
fn curve_flags(args: &RunArgs, folder: &RunFolder, name: &str) -> anyhow::Result<Vec<OsString>> {
    let mut flags: Vec<OsString> = Vec::new();
    let run = folder.path().file_name().unwrap_or_default();
    if let Some(below) = &args.tensorboard {
        flags.extend(["--tensorboard".into(), absolute(below)?.join(run).join(name).into()]);
    }
    let MlflowArgs { mlflow, mlflow_experiment } = &args.mlflow;
    if let Some(server) = mlflow {
        let key = format!("{}-{name}", folder.key()?);
        flags.extend(["--mlflow".into(), server.into(), "--mlflow-key".into(), key.into()]);
        flags.extend(["--mlflow-experiment".into(), mlflow_experiment.into()]);
        flags.extend(["--mlflow-name".into(), Path::new(run).join(name).into()]);
    }
    Ok(flags)
}

/// The model, its data and its owner's secret.
fn owner_flags(args: &ModelArgs, folder: &RunFolder) -> anyhow::Result<Vec<OsString>> {
    let secret = args.owner_secret.clone().unwrap_or_else(|| folder.path().join("owner-secret"));
    let mut flags: Vec<OsString> = vec![
        "--file".into(),
        absolute(&args.file)?.into(),
        "--owner-secret".into(),
        absolute(&secret)?.into(),
    ];
    if let Some(data) = &args.data {
        let place = data.absolute().with_context(|| format!("the path {data}"))?;
        flags.extend(["--data".into(), place.to_flag()]);
    }
    Ok(flags)
}

/// Draws a designer's events until it is done, or a process ends before its time.
async fn follow(
    title: &'static str,
    mut events: mpsc::Receiver<Event>,
    children: &mut Children,
) -> anyhow::Result<Outcome> {
    let mut progress = Progress::new(title);
    loop {
        let event = tokio::select! {
            biased;
            event = events.recv() => event,
            exit = children.next_exit() => {
                if exit.in_order || exit.name != REFERENCE {
                    // Nodes of the run before are ended by us.
                    continue;
                }
                let words = tokio::time::timeout(LAST_WORDS, verdict(&mut events)).await;
                return match words {
                    Ok(Some(verdict)) => verdict,
                    Ok(None) | Err(_) => Err(exit.error()),
                };
            }
        };
        let Some(event) = event else {
            return Err(children.next_exit().await.error());
        };
        progress.event(&event);
        if let Some(verdict) = judge(event) {
            return verdict;
        }
    }
}

/// The designer's last word, if it has one.
async fn verdict(events: &mut mpsc::Receiver<Event>) -> Option<anyhow::Result<Outcome>> {
    loop {
        if let Some(verdict) = judge(events.recv().await?) {
            return Some(verdict);
        }
    }
}

fn judge(event: Event) -> Option<anyhow::Result<Outcome>> {
    match event {
        Event::Done(outcome) => Some(Ok(outcome)),
        Event::Failed(failed) => Some(Err(anyhow::anyhow!(failed.message))),
        _ => None,
    }
}

impl Exit {
    fn error(&self) -> anyhow::Error {
        let tail = self.tail();
        let tail =
            if tail.is_empty() { String::new() } else { format!("; its last lines:\n{tail}") };
        anyhow::anyhow!("{} ended before its time ({}){tail}", self.name, self.how)
    }
}

/// A binary beside this one, or in the folder that `MIXNN_BIN_DIR` names.
fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let folder = if let Some(folder) = std::env::var_os("MIXNN_BIN_DIR") {
        PathBuf::from(folder)
    } else {
        let own = std::env::current_exe().context("finding the own program")?;
        own.parent().unwrap_or(Path::new(".")).to_owned()
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!(
            "{} is missing: build everything with `make build`, or set MIXNN_BIN_DIR",
            path.display()
        );
    }
    Ok(path)
}
