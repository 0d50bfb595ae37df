//! `mixnn serve`: layers, relays and a designer that serves, until it is interrupted.

use super::children::Children;
use super::fleet::{self, Fleet, Slot};
use super::folder::RunFolder;
use super::{DESIGNER, Ending, LAST_WORDS, REFERENCE, absolute, binary, fleet_of, turn};
use crate::args::ServeArgs;
use crate::output;
use crate::progress::Progress;
use anyhow::{Context, bail};
use mixnn_crds::MixNNModel;
use mixnn_events::{Event, Recovered};
use mixnn_place::Place;
use mixnn_protocol::registration::NodeClass;
use std::ffi::OsString;
use std::time::Duration;
use tokio::sync::mpsc;

/// On top of what requests under way are given.
const MARGIN: Duration = Duration::from_secs(5);

/// Serves until interrupted.
pub async fn serve(args: ServeArgs) -> anyhow::Result<Ending> {
    let model = mixnn_crds::parse_file(&args.file)?;
    let folder = RunFolder::for_serving(args.run_dir.as_deref(), &model)?;
    let mut children = Children::new();
    let ended = tokio::select! {
        ended = serving(&args, &model, &folder, &mut children) => Some(ended),
        () = mixnn_node::shutdown_signal() => None,
    };
    if ended.is_none() {
        output::note("draining: requests under way are answered, none is taken any more");
        let within = Duration::from_secs(args.front.drain + args.front.drain_notice) + MARGIN;
        let name = if args.one_process { REFERENCE } else { DESIGNER };
        children.ask_to_end(name, within).await;
    }
    children.end_all().await;
    match ended {
        None => Ok(Ending::Good),
        Some(ended) => {
            let place = format!("logs are in {}", folder.path().display());
            ended.with_context(|| place).map_err(turn)
        }
    }
}

/// Serves; gives why it ended by itself.
async fn serving(
    args: &ServeArgs,
    model: &MixNNModel,
    folder: &RunFolder,
    children: &mut Children,
) -> anyhow::Result<Ending> {
    let flags = flags(args, folder)?;
    let (send, events) = mpsc::channel(64);
    if args.one_process {
        let all = [vec!["serve-reference".into(), "--die-with-parent".into()], flags].concat();
        children.start(REFERENCE, &binary("mixnn-designer")?, all, folder, Some(send))?;
        return follow(events, None, children).await;
    }
    let mut fleet = fleet_of(model, folder, args.liveness, children).await?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let of_ring: Vec<OsString> = vec![
        "serve".into(),
        "--stall".into(),
        args.stall.to_string().into(),
        "--cores".into(),
        cores.to_string().into(),
        "--records".into(),
        Place::Folder(folder.path().join("records")).to_flag(),
        "--records-key".into(),
        folder.path().join("records-key").into(),
    ];
    let all = [of_ring, flags].concat();
    let slot = Slot::new(NodeClass::Designer, binary("mixnn-designer")?, all).with_events(send);
    fleet.start(DESIGNER.to_owned(), slot, children)?;
    follow(events, Some(&mut fleet), children).await
}

/// Draws what happens, and replaces processes that end before their time.
async fn follow(
    mut events: mpsc::Receiver<Event>,
    mut fleet: Option<&mut Fleet<'_>>,
    children: &mut Children,
) -> anyhow::Result<Ending> {
    let mut progress = Progress::new("serving");
    let mut look = tokio::time::interval(fleet::LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => {
                match event {
                    Event::Failed(failed) => bail!(failed.message),
                    Event::Recovered(recovered) => progress.hide(|| say_recovered(&recovered)),
                    event => progress.event(&event),
                }
            }
            exit = children.next_exit() => {
                let is_server = exit.name == DESIGNER || exit.name == REFERENCE;
                match fleet.as_deref_mut() {
                    Some(fleet) if !is_server || exit.by_signal => {
                        progress.hide(|| fleet.replace(&exit, children))?;
                    }
                    _ => {
                        let words = tokio::time::timeout(LAST_WORDS, last_words(&mut events)).await;
                        return match words {
                            Ok(Some(message)) => Err(anyhow::anyhow!(message)),
                            Ok(None) | Err(_) => Err(exit.error()),
                        };
                    }
                }
            }
            _ = look.tick() => {
                if let Some(fleet) = fleet.as_deref_mut() {
                    fleet.keep_head()?;
                    fleet.check(children).await?;
                }
            }
        }
    }
}

fn say_recovered(recovered: &Recovered) {
    let layers = match recovered.layers.as_slice() {
        [] => String::new(),
        names => format!("; another pod for {}", names.join(", ")),
    };
    output::note(format!(
        "serving: answers go on after {:.0} ms; {} lanes redrawn{layers}",
        recovered.milliseconds, recovered.lanes
    ));
}

async fn last_words(events: &mut mpsc::Receiver<Event>) -> Option<String> {
    loop {
        if let Event::Failed(failed) = events.recv().await? {
            return Some(failed.message);
        }
    }
}

fn flags(args: &ServeArgs, folder: &RunFolder) -> anyhow::Result<Vec<OsString>> {
    let mut flags: Vec<OsString> = vec!["--file".into(), absolute(&args.file)?.into()];
    if let Some(data) = &args.data {
        let place = data.absolute().with_context(|| format!("the path {data}"))?;
        flags.extend(["--data".into(), place.to_flag()]);
    }
    if let Some(run) = &args.from {
        let run = absolute(run)?;
        if !run.join("checkpoint-key").is_file() {
            bail!("{} holds no run with checkpoints: train first with mixnn run", run.display());
        }
        let store = args.checkpoints.clone();
        let store = store.unwrap_or_else(|| Place::Folder(run.join("checkpoints")));
        let store = store.absolute().with_context(|| format!("the path {store}"))?;
        flags.extend(["--owner-secret".into(), run.join("owner-secret").into()]);
        flags.extend(["--checkpoints".into(), store.to_flag()]);
        flags.extend(["--checkpoint-key".into(), run.join("checkpoint-key").into()]);
    }
    if let Some(weights) = &args.weights {
        flags.extend(["--owner-secret".into(), folder.path().join("owner-secret").into()]);
        flags.extend(["--weights".into(), absolute(weights)?.into()]);
        for rule in &args.rename {
            flags.extend(["--rename".into(), rule.into()]);
        }
    }
    flags.extend(args.front.flags().context("the working folder")?);
    Ok(flags)
}
