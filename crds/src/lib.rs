//! The Kubernetes API of MixNN: the types, and the YAML generated from them.
//!
//! The same file is taken by `kubectl apply` and by `mixnn run -f`.

mod amount;
mod file;
mod mixnnhost;
mod mixnnmodel;
mod serving;
mod status;
mod validate;

pub use amount::{Amount, Span};
pub use file::{FileError, parse_file, parse_layers, parse_str};
pub use kube::CustomResourceExt;
pub use mixnnhost::{AllowedOwners, HostedRole, MixNNHost, MixNNHostSpec, PullSecret};
pub use mixnnmodel::{
    CheckpointStore, CheckpointsSpec, CoverRate, CoverTraffic, DESIGNER_PAGE_PORT, DesignerSpec,
    LayersFrom, MixNNModel, MixNNModelSpec, MlflowSpec, PlacementSpec, PodClass, PodResources,
    RelaysSpec, SealedLayers, SuiteName,
};
pub use serving::{
    Authentication, BatchingSpec, ServingClients, ServingLimits, ServingSpec, ServingTls,
    serving_audience,
};
pub use status::{
    Counted, LossCurve, MixNNHostStatus, MixNNModelStatus, PrivacyStatus, ServingStatus,
    TrainingStatus, condition,
};
pub use validate::{Document, Position, Problem};

/// The generated CustomResourceDefinitions by file name, as YAML with a comment on where it comes from.
///
/// # Errors
/// A schema cannot be written: a mistake of the types.
pub fn crd_yamls() -> Result<[(&'static str, String); 2], serde_yaml::Error> {
    let head = "# Generated from crds/src by `make generate`. Do not edit.\n";
    let yaml = |crd| file::to_yaml(&crd).map(|yaml| format!("{head}{yaml}"));
    Ok([("mixnnmodel.yaml", yaml(MixNNModel::crd())?), ("mixnnhost.yaml", yaml(MixNNHost::crd())?)])
}

/// A model as a file that [`parse_file`] takes.
///
/// # Errors
/// It cannot be written: a mistake of the types.
pub fn model_yaml(model: &MixNNModel) -> Result<String, serde_yaml::Error> {
    file::to_yaml(model)
}

/// Any value as YAML, for `-o yaml`.
///
/// # Errors
/// It cannot be written: a mistake of the types.
pub fn yaml_of(value: &impl serde::Serialize) -> Result<String, serde_yaml::Error> {
    file::to_yaml(value)
}
