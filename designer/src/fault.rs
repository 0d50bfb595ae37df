//! What interrupts a training: faults that it recovers from, and what ends it.

use crate::DesignerError;
use mixnn_data::DataError;
use mixnn_nn::NnError;
use mixnn_node::NodeError;
use mixnn_transport::LaneId;

/// What a training recovers from.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nothing came for too long.
    Stalled {
        /// Seconds that it was waited.
        seconds: u64,
        /// What was waited for.
        what: String,
    },
    /// Nodes that are in use are no longer in the directory.
    Lost(String),
    /// The checkpoint store does not do what it is asked for; it may later.
    Store(String),
    /// A checkpoint that was needed is damaged: an older one has taken its place.
    Damaged(String),
    /// A layer could not compute what was sent to be served.
    Failed(String),
    /// Layers or lanes that did not answer a halt.
    Silent {
        /// Lanes that may be at fault.
        lanes: Vec<LaneId>,
        /// Lanes that have just been seen to work.
        proven: Vec<LaneId>,
        /// Layers that did not answer.
        layers: Vec<usize>,
        /// In the owner's terms.
        what: String,
    },
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stalled { seconds, what } => write!(f, "nothing came for {seconds} s: {what}"),
            Self::Lost(who) => write!(f, "lost {who}"),
            Self::Damaged(what) => write!(f, "{what}: going back to the checkpoint before it"),
            Self::Store(what) | Self::Failed(what) | Self::Silent { what, .. } => f.write_str(what),
        }
    }
}

/// What interrupts a training.
#[derive(Debug)]
pub(crate) enum Interrupt {
    /// It recovers from this.
    Fault(Fault),
    /// This ends it.
    Fatal(DesignerError),
}

impl From<Fault> for Interrupt {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DesignerError> for Interrupt {
    fn from(error: DesignerError) -> Self {
        match error {
            DesignerError::Vault(error) if error.is_passing() => {
                Fault::Store(error.to_string()).into()
            }
            error => Self::Fatal(error),
        }
    }
}

impl From<NnError> for Interrupt {
    fn from(error: NnError) -> Self {
        Self::Fatal(error.into())
    }
}

impl From<DataError> for Interrupt {
    fn from(error: DataError) -> Self {
        Self::Fatal(error.into())
    }
}

impl From<NodeError> for Interrupt {
    fn from(error: NodeError) -> Self {
        Self::Fatal(error.into())
    }
}
