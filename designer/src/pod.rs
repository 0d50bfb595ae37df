//! A designer in a pod, after its training: it becomes the server of its model, or rests.
//!
//! One process does not do both: the server takes the layers over in a term of its own, as after a loss, so there
//! is one way into serving.

use crate::args::{Command, TrainArgs};
use mixnn_cluster::Cluster;
use mixnn_crds::MixNNModel;
use mixnn_designer::DesignerError;
use std::cell::Cell;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

/// Whether the model is to be served.
pub(crate) struct Wishes {
    cluster: Option<Cluster>,
    stays: Cell<bool>,
}

impl Wishes {
    /// Of a training, in a cluster or not.
    pub(crate) fn of(args: &TrainArgs, model: &MixNNModel) -> Result<Self, DesignerError> {
        // Only what checkpoints keep can be served.
        let keeps = args.checkpoints.checkpoints.is_some();
        let connect = |credentials: &PathBuf| Cluster::connect(credentials, model.clone());
        let cluster = args.cluster.as_ref().filter(|_| keeps).map(connect).transpose()?;
        Ok(Self { cluster, stays: Cell::new(false) })
    }

    /// Asks whether the layers are to be served now that they are trained.
    pub(crate) fn serves(&self) -> bool {
        let asked = self.cluster.as_ref().map(Cluster::serving);
        let wanted = asked.and_then(|answer| {
            // The operator makes the pods anew if it is.
            answer.inspect_err(|error| tracing::warn!(%error, "the layers are let go of")).ok()
        });
        self.stays.set(wanted.flatten().is_some());
        self.stays.get()
    }

    /// What was said then.
    pub(crate) const fn stays(&self) -> bool {
        self.stays.get()
    }
}

/// This process becomes the server of what it has trained. Gives why that failed.
pub(crate) fn serve(args: &TrainArgs) -> DesignerError {
    let program = std::env::current_exe();
    let error = match program {
        Ok(program) => std::process::Command::new(program).args(arguments(args)).exec(),
        Err(error) => error,
    };
    DesignerError::Serving(format!("the server cannot be started: {error}"))
}

fn arguments(args: &TrainArgs) -> Vec<OsString> {
    let file = |path: &Path| path.as_os_str().to_owned();
    let given = [
        ("--file", Some(file(&args.model.file))),
        ("--layers", args.model.layers.as_deref().map(file)),
        ("--data", args.model.data.as_ref().map(mixnn_place::Place::to_flag)),
        ("--owner-secret", Some(file(&args.model.owner_secret))),
        ("--checkpoints", args.checkpoints.checkpoints.as_ref().map(mixnn_place::Place::to_flag)),
        ("--checkpoint-key", Some(file(&args.checkpoints.checkpoint_key))),
        ("--cluster", args.cluster.as_deref().map(file)),
        ("--record", args.model.page.record.as_deref().map(file)),
        ("--page", args.model.page.page.map(|page| page.to_string().into())),
    ];
    let flags = given.into_iter().filter_map(|(flag, value)| Some([flag.into(), value?]));
    std::iter::once("serve".into()).chain(flags.flatten()).collect()
}

/// Credentials and model's file of a command in a cluster.
fn credentials(command: &Command) -> Option<(&Path, &Path)> {
    match command {
        Command::Train(args) => Some((args.cluster.as_deref()?, &args.model.file)),
        Command::Serve(args) => Some((args.cluster.as_deref()?, args.file())),
        _ => None,
    }
}

/// Returns once the model is to be served: then this container starts again, as at its first start.
pub(crate) fn rest(command: &Command) -> Result<(), DesignerError> {
    let Some((credentials, file)) = credentials(command) else { return Ok(()) };
    mixnn_node::end_when_told().map_err(|e| DesignerError::Stopped(e.to_string()))?;
    let model = mixnn_crds::parse_file(file)?;
    Cluster::connect(credentials, model)?.until_served();
    Ok(())
}
