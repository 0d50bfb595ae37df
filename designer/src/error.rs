//! What ends a training, in the owner's terms.

use mixnn_node::NodeError;
use mixnn_protocol::control::{Failure, FailureReason, Profile};
use std::path::PathBuf;

/// What ends a training, in the owner's terms.
#[derive(Debug, thiserror::Error)]
pub enum DesignerError {
    /// The model does not fit itself or its data.
    #[error("{file}: {problems}")]
    Model {
        /// The model's file.
        file: String,
        /// All that is wrong.
        problems: mixnn_model::ModelErrors,
    },
    /// Sealed mode: the layers cannot be read.
    #[error("the sealed layers (Secret {secret}): {problem}")]
    Sealed {
        /// Secret and key.
        secret: String,
        /// What is wrong.
        problem: String,
    },
    /// Sealed mode: pods were made for other layers.
    #[error(
        "spec.layerCounts says {{{wanted}}}, the sealed layers are {{{found}}}: make another MixNNModel whose counts fit"
    )]
    LayerCounts {
        /// As the model says.
        wanted: String,
        /// As the Secret says.
        found: String,
    },
    /// The cluster that the designer runs in.
    #[error(transparent)]
    Cluster(#[from] mixnn_cluster::ClusterError),
    /// The model's file.
    #[error(transparent)]
    File(#[from] mixnn_crds::FileError),
    /// The data.
    #[error(transparent)]
    Data(#[from] mixnn_data::DataError),
    /// Tensors.
    #[error("designer: {0}")]
    Nn(#[from] mixnn_nn::NnError),
    /// Registration.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The owner's secret.
    #[error("owner's secret {}: {problem}", path.display())]
    Secret {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file that could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something did not come in time.
    #[error("gave up after {seconds} s: {what}")]
    Deadline {
        /// How long it was waited.
        seconds: u64,
        /// What was waited for, and how it stood.
        what: String,
    },
    /// Pods that would compute other bits.
    #[error(
        "{pods} layer pods have another numeric profile ({found:?}) than this run ({wanted:?}), and there are none in their place: keep them off such nodes (nodeSelector of the MixNNHost), or use the same image everywhere"
    )]
    Profile {
        /// How many.
        pods: usize,
        /// The profile of one of them.
        found: Profile,
        /// The run's.
        wanted: Profile,
    },
    /// Faults came faster than steps.
    #[error("gave up after {tries} recoveries in {seconds} s without a step: {last}")]
    Unrecovered {
        /// Recoveries in a row.
        tries: u32,
        /// Since the last step.
        seconds: u64,
        /// The last fault, in the owner's terms.
        last: String,
    },
    /// Another designer drives the model now.
    #[error("another designer of this model has taken over; this one ends")]
    Superseded,
    /// A layer said that it cannot go on.
    #[error("layer \"{layer}\": {}", say(failure))]
    Layer {
        /// The layer's name.
        layer: String,
        /// What its pod said.
        failure: Failure,
    },
    /// A lane does not work as it must.
    #[error(
        "lane {lane}: {problem}: a relay of this lane or its other end misbehaves; nothing was taken from it"
    )]
    Lane {
        /// Which lane, in the owner's terms.
        lane: String,
        /// What happened.
        problem: String,
    },
    /// A layer's sealed state does not open.
    #[error("the sealed state of layer \"{layer}\": {problem}")]
    Shard {
        /// The layer's name.
        layer: String,
        /// Why not.
        problem: mixnn_protocol::shard::ShardError,
    },
    /// A checkpoint that cannot be gone on from.
    #[error("checkpoint {number} {problem}")]
    Checkpoint {
        /// Its number.
        number: u64,
        /// Why not, and what to do.
        problem: String,
    },
    /// The checkpoint store.
    #[error(transparent)]
    Vault(#[from] mixnn_vault::VaultError),
    /// Weights from outside that cannot be used, or a place that holds none.
    #[error("{0}")]
    Weights(String),
    /// The owner's certificate has not come into the pod.
    #[error(
        "Secret {secret} of spec.serving.tls is not mounted with tls.crt and tls.key: make it, of type kubernetes.io/tls; if the designer's pod is older than the field, delete the pod: the next one goes on from the newest checkpoint"
    )]
    NoCertificate {
        /// The Secret.
        secret: String,
    },
    /// Where requests are to come in.
    #[error("serving: {0}")]
    Serving(String),
    /// A tensor or a state does not fit into a lane.
    #[error("layer \"{layer}\": {what}")]
    TooLarge {
        /// The layer's name.
        layer: String,
        /// What, and what to do.
        what: String,
    },
    /// Letters could not be made.
    #[error("setting up lanes: {0}")]
    Letter(#[from] mixnn_protocol::letter::LetterError),
    /// Admission tokens.
    #[error("admission tokens: {0}")]
    Admission(#[from] mixnn_protocol::admission::AdmissionError),
    /// The endpoint ended.
    #[error("{0}")]
    Stopped(String),
}

impl DesignerError {
    /// In one word.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Model { .. } | Self::File(_) => "InvalidModel",
            Self::Sealed { .. } => "SealedLayers",
            Self::LayerCounts { .. } => "LayerCounts",
            Self::Data(_) => "Data",
            Self::Secret { .. } => "OwnerSecret",
            Self::Write { .. } | Self::Vault(_) => "Store",
            Self::Checkpoint { .. } | Self::Shard { .. } => "Checkpoint",
            Self::Cluster(_) => "Cluster",
            Self::Node(_) => "Registration",
            Self::Deadline { .. } => "NobodyCame",
            Self::Profile { .. } => "NumericProfile",
            Self::Unrecovered { .. } => "Unrecovered",
            Self::Superseded => "Superseded",
            Self::Layer { .. } => "LayerFailed",
            Self::Lane { .. } => "LaneFailed",
            Self::TooLarge { .. } => "TooLarge",
            Self::Weights(_) => "Weights",
            Self::NoCertificate { .. } => "NoCertificate",
            Self::Serving(_) => "Front",
            Self::Nn(_) | Self::Letter(_) | Self::Admission(_) | Self::Stopped(_) => "Failed",
        }
    }
}

fn say(failure: &Failure) -> String {
    let hint = match failure.reason {
        FailureReason::OutOfMemory | FailureReason::NotFinite => "",
        FailureReason::Assignment => "its pod cannot take the layer: ",
        FailureReason::Protocol => "it got what does not fit: ",
        FailureReason::Lane => "its lane takes no more: ",
        FailureReason::Internal => "it cannot compute: ",
    };
    format!("{hint}{}", failure.message)
}
