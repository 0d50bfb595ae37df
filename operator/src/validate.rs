//! From a MixNNModel to what is wanted, checked. Pure.

use crate::plan::Wants;
use crate::record::{Pin, WorkloadRef};
use crate::settings::Settings;
use kube::ResourceExt;
use mixnn_crds::MixNNModel;
use mixnn_model::{Model, ModelErrors};
use std::collections::BTreeMap;

/// Why a model cannot be accepted. The variants are the reasons of the condition.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// Layers do not fit each other or the data.
    #[error("{0}")]
    InvalidModel(ModelErrors),
    /// A class that is named is not there.
    #[error(
        "{what} names pod class '{class}', which spec.podClasses does not have (it has {have})"
    )]
    UnknownClass {
        /// Who.
        what: String,
        /// The class.
        class: String,
        /// Those that are.
        have: String,
    },
    /// The shared pool is asked for, and there is none.
    #[error(
        "spec.relays.shared is true, but this platform has no shared relays: set it to false, or ask for --shared-relays"
    )]
    NoSharedRelays,
    /// The shared pool has another suite or is too small.
    #[error("{0}")]
    SharedRelays(String),
    /// Numbers of relays do not fit.
    #[error("{0}")]
    InvalidRelays(String),
}

impl Invalid {
    /// In one word.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::InvalidModel(_) => "InvalidModel",
            Self::UnknownClass { .. } => "UnknownPodClass",
            Self::NoSharedRelays => "NoSharedRelays",
            Self::SharedRelays(_) => "SharedRelays",
            Self::InvalidRelays(_) => "InvalidRelays",
        }
    }
}

/// What a model wants.
///
/// # Errors
/// It cannot run as it is.
pub fn validate(model: &MixNNModel, settings: &Settings) -> Result<Wants, Invalid> {
    let spec = &model.spec;
    let layers = spec.layers_by_class();
    known_classes(model, &layers)?;
    relays(model, settings)?;
    shapes(model)?;
    Ok(Wants {
        workload: workload(model),
        layers,
        spares: spec.placement.spares,
        relays: if spec.relays.shared { 0 } else { spec.relays.replicas },
        max_layers_per_host: spec.placement.max_layers_per_host,
        timeout: spec.placement.timeout.0,
        suspend: spec.suspend,
        serving: model.serving().is_some(),
        pin: pin(model, settings),
    })
}

/// Whose pods a model's are.
pub fn workload(model: &MixNNModel) -> WorkloadRef {
    WorkloadRef {
        uid: model.uid().unwrap_or_default(),
        namespace: model.namespace().unwrap_or_default(),
        name: model.name_any(),
    }
}

fn pin(model: &MixNNModel, settings: &Settings) -> Pin {
    Pin {
        layer_image: settings.pods.layer_image.clone(),
        relay_image: settings.pods.relay_image.clone(),
        designer_image: settings.pods.designer_image.clone(),
        suite: model.spec.relays.suite,
        classes: model.spec.pod_classes.clone(),
        relay_class: settings.relay_class(),
        protocol_version: mixnn_protocol::VERSION,
    }
}

fn known_classes(model: &MixNNModel, layers: &BTreeMap<String, u32>) -> Result<(), Invalid> {
    let spec = &model.spec;
    let Some(class) = layers.keys().find(|c| !spec.pod_classes.contains_key(*c)) else {
        return Ok(());
    };
    let layer = spec.layers.iter().find(|l| l.class == *class);
    Err(Invalid::UnknownClass {
        what: layer.map_or("spec.layerCounts".to_owned(), |l| format!("layer {}", l.name)),
        class: class.clone(),
        have: spec.pod_classes.keys().cloned().collect::<Vec<_>>().join(", "),
    })
}

fn relays(model: &MixNNModel, settings: &Settings) -> Result<(), Invalid> {
    let relays = &model.spec.relays;
    if !relays.shared {
        return relays.problem().map_or(Ok(()), |p| Err(Invalid::InvalidRelays(p)));
    }
    if settings.shared_relays == 0 {
        return Err(Invalid::NoSharedRelays);
    }
    if relays.suite != settings.shared_suite {
        let (own, shared) = (relays.suite, settings.shared_suite);
        return Err(Invalid::SharedRelays(format!(
            "spec.relays.suite is {own:?}, the shared relays speak {shared:?}: use that suite, or relays of your own"
        )));
    }
    if relays.hops > settings.shared_relays {
        let (hops, shared) = (relays.hops, settings.shared_relays);
        return Err(Invalid::SharedRelays(format!(
            "spec.relays.hops is {hops}, more than the {shared} shared relays: a lane passes no relay twice"
        )));
    }
    Ok(())
}

/// In sealed mode, and for data whose shape only their files tell, the designer checks shapes.
fn shapes(model: &MixNNModel) -> Result<(), Invalid> {
    use mixnn_model::{DatasetSpec, Labels};
    let spec = &model.spec;
    let dataset = &spec.training.dataset;
    let classes = match dataset {
        DatasetSpec::Digits(_) => 10,
        DatasetSpec::Images(images) => images.classes as usize,
        _ => return Ok(()),
    };
    let sample = dataset.declared_shape().filter(|_| spec.layers_from.is_none());
    let Some(sample) = sample else { return Ok(()) };
    Model::new(spec.layers.clone(), spec.training.clone(), &sample, &Labels::Class { classes })
        .map(drop)
        .map_err(Invalid::InvalidModel)
}
