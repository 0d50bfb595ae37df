//! The Kubernetes API of MixNN: the types, and the YAML generated from them.
//!
//! The same file is taken by `kubectl apply` and by `mixnn run -f`.

mod file;
mod mixnnmodel;
mod validate;

pub use file::{FileError, parse_file, parse_str};
pub use kube::CustomResourceExt;
pub use mixnnmodel::{CoverRate, CoverTraffic, MixNNModel, MixNNModelSpec, RelaysSpec, SuiteName};
pub use validate::{Document, Position, Problem};

/// The generated CustomResourceDefinition, as YAML with a comment on where it comes from.
///
/// # Errors
/// The schema cannot be written: a mistake of the types.
pub fn crd_yaml() -> Result<String, serde_yaml::Error> {
    let yaml = file::to_yaml(&MixNNModel::crd())?;
    Ok(format!("# Generated from crds/src by `make generate`. Do not edit.\n{yaml}"))
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
