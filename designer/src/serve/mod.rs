//! Serving: the Open Inference Protocol in front of the ring, or of one process.
//!
//! ```text
//! shelf        checkpoints or files      -> versions, checked
//! front        REST and gRPC             -> batches
//! gate         batches                   -> lanes, and again after a fault
//! ring         one session               -> outputs; faults are recovered from, newer versions taken up
//! one_process  the same without lanes
//! cluster      in a pod: spec.serving, the Service's names, clients by TokenReview, certificates
//! ```

mod catalogue;
mod certificates;
mod clients;
mod cluster;
mod convert;
mod front;
mod gate;
mod one_process;
mod ring;
mod shelf;

pub(crate) use convert::{from_wire, model_info, to_wire};
pub(crate) use shelf::{Loaded, read_states, weights_of};

use crate::prepare::{Blueprint, BlueprintArgs};
use crate::session::RingSpec;
use crate::{Beside, CheckpointSpec, DesignerError, Emitter, PageArgs};
use catalogue::Catalogue;
use clap::Args;
use cluster::Served;
use front::{Front, Wall};
use gate::{Gate, RingBackend};
use mixnn_events::{Event, Record, Recovered, ServingEnded};
use mixnn_node::NodeArgs;
use mixnn_page::Booth;
use mixnn_place::Place;
use mixnn_protocol::control::Profile;
use mixnn_serving::{Backend, FrontArgs};
use mixnn_weights::Rename;
use one_process::OneProcess;
use shelf::{Shelf, Source};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::time::Duration;

/// What `mixnn-designer serve` takes.
#[derive(Args)]
pub struct ServeArgs {
    #[command(flatten)]
    served: ServedArgs,
    #[command(flatten)]
    front: FrontArgs,
    #[command(flatten)]
    page: PageArgs,
    /// How to register.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Seconds without an answer before a batch is sent again over a ring that was repaired.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..), value_name = "SECONDS")]
    stall: u64,
    /// CPU cores of all relays and layer pods together, by which `rate: auto` chooses the rate of cover
    /// [default: one for each]
    #[arg(long, value_name = "N")]
    cores: Option<f64>,
    /// Where a designer that takes this one's place finds what it must know, sealed under the
    /// checkpoint keys of RECORDS_KEY [default: where the checkpoints are]. Nowhere if neither is given:
    /// then all layer pods have to be made anew, too
    #[arg(long, value_name = "STORE", requires = "records_key")]
    records: Option<Place>,
    /// File of the keys of RECORDS, made if it does not exist.
    #[arg(long, value_name = "FILE", requires = "records")]
    records_key: Option<PathBuf>,
    /// In a Kubernetes cluster: folder with `token` and `ca.crt` of the API server. What of the flags above is
    /// about requests comes from spec.serving instead, until that says something else; the status of the
    /// MixNNModel is written.
    #[arg(long, value_name = "DIR", requires = "checkpoints")]
    pub cluster: Option<PathBuf>,
}

/// What `mixnn-designer serve-reference` takes.
#[derive(Args)]
pub struct ServeReferenceArgs {
    #[command(flatten)]
    served: ServedArgs,
    #[command(flatten)]
    front: FrontArgs,
    /// End as soon as the process that started this one ends.
    #[arg(long, env = "MIXNN_DIE_WITH_PARENT")]
    pub die_with_parent: bool,
}

/// What is served.
#[derive(Args)]
struct ServedArgs {
    #[command(flatten)]
    model: BlueprintArgs,
    /// The checkpoints to serve: the newest is used, and each newer one once it is there.
    #[arg(
        long,
        value_name = "STORE",
        requires = "checkpoint_key",
        required_unless_present = "weights",
        conflicts_with = "weights"
    )]
    checkpoints: Option<Place>,
    /// File of the owner's checkpoint keys.
    #[arg(long, value_name = "FILE")]
    checkpoint_key: Option<PathBuf>,
    /// The weights to serve: a safetensors file, or a folder of N.safetensors for versions N.
    #[arg(long, value_name = "PATH")]
    weights: Option<PathBuf>,
    /// Rewrite the names of tensors in files of weights: conv1=conv1.0.
    #[arg(long, value_name = "OLD=NEW")]
    rename: Vec<String>,
}

impl ServedArgs {
    fn blueprint(&self) -> Result<Arc<Blueprint>, DesignerError> {
        self.model.blueprint().map(Arc::new)
    }

    /// The store that is served from, and its keys.
    fn stored(&self) -> Result<Option<CheckpointSpec>, DesignerError> {
        let place = self.checkpoints.as_ref().zip(self.checkpoint_key.as_ref());
        place.map(|(store, key)| stored(store, key, false)).transpose()
    }

    fn source(&self) -> Result<Source, DesignerError> {
        match (&self.weights, &self.checkpoints, &self.checkpoint_key) {
            (Some(path), ..) => {
                let rename = Rename::parse(&self.rename).map_err(DesignerError::Weights)?;
                Ok(Source::Files(path.clone(), rename))
            }
            (None, Some(store), Some(key)) if key.exists() => {
                Ok(Source::Checkpoints(store.clone(), key.clone()))
            }
            (_, _, key) => {
                let key = key.as_deref().map(|k| k.display().to_string()).unwrap_or_default();
                Err(DesignerError::Weights(format!(
                    "the checkpoint key {key} is missing: no checkpoint opens without it"
                )))
            }
        }
    }
}

impl ServeArgs {
    /// The model's file.
    pub fn file(&self) -> &std::path::Path {
        &self.served.model.file
    }

    /// The owner's page, in front of what is served.
    fn show(&self, blueprint: &Blueprint, backend: Arc<dyn Backend>) -> Result<(), DesignerError> {
        let model = &blueprint.model;
        let (dataset, labels) = (&model.training().dataset, model.labels());
        let booth = Booth::of(dataset, labels, Vec::new(), backend);
        let oracle = booth.map(|booth| Arc::new(booth) as _);
        let checkpoints = self.served.stored()?;
        self.page.show(&blueprint.name, &blueprint.owner, Beside { oracle, checkpoints })
    }

    fn keeping(&self) -> Result<Option<CheckpointSpec>, DesignerError> {
        let checkpoints = self.served.checkpoints.as_ref().zip(self.served.checkpoint_key.as_ref());
        let own = self.records.as_ref().zip(self.records_key.as_ref());
        let place = own.or(checkpoints);
        place.map(|(store, key)| stored(store, key, own.is_some())).transpose()
    }
}

/// A store out of which a model is served.
pub(crate) fn stored(
    store: &Place,
    key: &std::path::Path,
    accept_older: bool,
) -> Result<CheckpointSpec, DesignerError> {
    Ok(CheckpointSpec {
        store: store.clone(),
        keys: Arc::new(mixnn_vault::load_or_make(key)?),
        // Nothing is ever written that could be too many.
        keep: usize::MAX,
        accept_older,
        // Answers are those of this profile, whatever the weights were trained under.
        accept_profile: true,
    })
}

/// What a designer does once it serves no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It was told to end: another one may follow.
    End,
    /// The model is not to be served any more: the layers have ended.
    Rest,
}

impl After {
    fn said(self) -> ServingEnded {
        let (reason, message) = match self {
            Self::End => ("DesignerEnded", "the designer was told to end; the next one serves on"),
            Self::Rest => {
                ("TurnedOff", "spec.serving says that the model is not served so any more")
            }
        };
        ServingEnded { reason: reason.into(), message: message.into() }
    }
}

/// Says what happens.
struct Told<'a> {
    emit: &'a mut dyn FnMut(Event),
    model: String,
    last: Option<u64>,
}

impl Told<'_> {
    /// A version answers; told once.
    fn serving(&mut self, url: &str, version: u64) {
        if self.last.replace(version) != Some(version) {
            let (url, model) = (url.to_owned(), self.model.clone());
            (self.emit)(Event::Serving(mixnn_events::Serving { url, model, version }));
        }
    }

    /// A line of a layer's log.
    fn said(&mut self, said: mixnn_events::Said) {
        (self.emit)(Event::Said(said));
    }

    fn fault(&mut self, fault: &crate::fault::Fault) {
        let message = fault.to_string();
        tracing::warn!("{message}");
        (self.emit)(Event::Fault(mixnn_events::Fault { message }));
    }

    fn recovered(&mut self, recovered: Recovered) {
        (self.emit)(Event::Recovered(recovered));
    }
}

/// Looks after the versions on a thread of its own; gives the first, and the way of the others.
fn versions(
    blueprint: &Arc<Blueprint>,
    source: &Source,
    catalogue: &Catalogue,
) -> Result<(Loaded, Receiver<Loaded>), DesignerError> {
    let mut shelf = Shelf::open(blueprint.clone(), source, catalogue.clone())?;
    let first = shelf.first()?;
    catalogue.await_version(first.number);
    // One at a time: a newer one waits until the last has been taken up.
    let (send, receive) = sync_channel(0);
    let watch = move || shelf.watch(&send);
    let thread = std::thread::Builder::new().name("shelf".into()).spawn(watch);
    thread.map_err(|e| DesignerError::Serving(e.to_string()))?;
    Ok((first, receive))
}

/// Serves over the ring until SIGTERM or SIGINT, and what was under way then has been answered.
///
/// # Errors
/// What ended it.
pub fn run<W: Write>(
    args: &ServeArgs,
    profile: Profile,
    started: mixnn_node::Started,
    emit: &mut Emitter<W>,
) -> Result<After, DesignerError> {
    let served = args.cluster.as_ref().map(|c| Served::open(c, args)).transpose()?;
    let front = served.as_ref().map_or(&args.front, |served| &served.front);
    let blueprint = args.served.blueprint()?;
    if let Some(path) = &args.page.record {
        let failed = |source| DesignerError::Write { path: path.clone(), source };
        emit.record(Record::open(path).map_err(failed)?);
    }
    let catalogue = Catalogue::default();
    let wall = match &served {
        Some(served) => served.wall(&args.node, &blueprint.owner, emit)?,
        None => Wall::default(),
    };
    let (first, versions) = versions(&blueprint, &args.served.source()?, &catalogue)?;
    let Blueprint { name, model, relays, layers_per_host, owner } = &*blueprint;
    let batching = front.batching();
    let spec = RingSpec {
        model,
        relays,
        layers_per_host: *layers_per_host as usize,
        owner,
        args: &args.node,
        profile,
        in_flight: batching.in_flight,
        batch: batching.max_size,
        // Nothing is learned.
        total_steps: 1,
        stall: Duration::from_secs(args.stall),
        cores: args.cores,
        snapshot_every: 0,
        timed: false,
        checkpoints: args.keeping()?,
    };
    let gate = Gate::new(model_info(name, model), catalogue.clone());
    let backend: Arc<dyn Backend> = Arc::new(RingBackend(gate.clone()));
    args.show(&blueprint, backend.clone())?;
    let front = Front::start(front, wall, backend)?;
    let off = served.map(|served| served.watch(front.enough.clone())).transpose()?;
    let stay = || off.as_ref().is_some_and(|off| !off.load(Ordering::Acquire));
    let mut say = |event| match event {
        Event::Said(_) => emit.keep(&event),
        event => emit.emit(&event),
    };
    let told = Told { emit: &mut say, model: name.clone(), last: None };
    let serving = ring::Serving { gate, catalogue, front, versions, next: None, told, stay: &stay };
    serving.run(&spec, started, first)?;
    if off.is_none() {
        return Ok(After::End);
    }
    let after = if stay() { After::End } else { After::Rest };
    emit.emit(&Event::ServingEnded(after.said()));
    Ok(after)
}

/// Serves the same in this process.
///
/// # Errors
/// What ended it.
pub fn run_reference<W: Write>(
    args: &ServeReferenceArgs,
    emit: &mut Emitter<W>,
) -> Result<(), DesignerError> {
    let blueprint = args.served.blueprint()?;
    let catalogue = Catalogue::default();
    let (first, versions) = versions(&blueprint, &args.served.source()?, &catalogue)?;
    let Blueprint { name, model, owner, .. } = &*blueprint;
    let mut reference = mixnn_nn::Reference::new(model, owner, 1)?;
    let (jobs, work) = channel();
    let backend = OneProcess { model: model_info(name, model), catalogue: catalogue.clone(), jobs };
    let front = Front::start(&args.front, Wall::default(), Arc::new(backend))?;
    let mut say = |event| emit.emit(&event);
    let mut told = Told { emit: &mut say, model: name.clone(), last: None };
    one_process::compute(&mut reference, &first, (&work, &versions), &catalogue, |loaded| {
        told.serving(&front.url, loaded.number);
    })
}
