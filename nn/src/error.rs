//! What can go wrong with tensors.

use tch::TchError;

/// Why a computation failed.
#[derive(Debug, thiserror::Error)]
pub enum NnError {
    /// libtorch could not get memory.
    #[error(
        "{context}: out of memory ({detail}); give the layer's pod class more memory, or use smaller micro-batches"
    )]
    OutOfMemory {
        /// What was being computed.
        context: String,
        /// libtorch's first line.
        detail: String,
    },
    /// libtorch refused.
    #[error("{context}: {detail}")]
    Torch {
        /// What was being computed.
        context: String,
        /// libtorch's first line.
        detail: String,
    },
    /// A tensor does not have the shape or type that it must have.
    #[error("{0}")]
    Mismatch(String),
    /// A value that is not finite.
    #[error(
        "{0} is not finite: the training diverged; lower the learning rate, or look for broken data"
    )]
    NotFinite(String),
    /// The process does not run under the pinned numeric profile.
    #[error("{0}")]
    Profile(String),
    /// Saved state that does not belong to this layer.
    #[error("state does not fit the layer: {0}")]
    State(String),
    /// A call out of order: a mistake of the caller.
    #[error("{0}")]
    Order(String),
}

impl NnError {
    /// A libtorch error with what was being done.
    pub(crate) fn torch(context: impl Into<String>, error: &TchError) -> Self {
        let text = error.to_string();
        let detail = text.lines().next().unwrap_or_default().to_owned();
        let context = context.into();
        let out_of_memory =
            ["DefaultCPUAllocator", "bad_alloc", "out of memory", "not enough memory"];
        if out_of_memory.iter().any(|mark| text.contains(mark)) {
            Self::OutOfMemory { context, detail }
        } else {
            Self::Torch { context, detail }
        }
    }
}

/// Adds to a libtorch error what was being done.
pub(crate) trait Context<T> {
    fn context(self, what: &str) -> Result<T, NnError>;
}

impl<T> Context<T> for Result<T, TchError> {
    fn context(self, what: &str) -> Result<T, NnError> {
        self.map_err(|e| NnError::torch(what, &e))
    }
}
