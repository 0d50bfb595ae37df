//! What computes: the one thing that this crate does not know.

use crate::{Datatype, Tensor};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// A tensor that a model takes or gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub datatype: Datatype,
    /// Shape of one sample, without the batch dimension.
    pub sample: Vec<usize>,
    /// Where elements are whole numbers of a set, such as tokens: from 0 up to, not including, this.
    pub below: Option<u64>,
}

impl TensorInfo {
    /// The shape as the protocol shows it: -1 for the batch.
    pub fn shape(&self) -> Vec<i64> {
        std::iter::once(-1).chain(self.sample.iter().map(|&s| s as i64)).collect()
    }
}

/// What a model takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// What runs it, as `mixnn`.
    pub platform: String,
    /// What it takes, in the backend's order.
    pub inputs: Vec<TensorInfo>,
    /// What it gives, in the backend's order.
    pub outputs: Vec<TensorInfo>,
}

/// A version of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its name: a number.
    pub name: String,
    /// Whether it is the one that answers, now or once something has been repaired.
    pub served: bool,
    /// Whether it answers now.
    pub ready: bool,
    /// Why not, if not.
    pub reason: String,
}

/// What a batch gave.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The version that computed it: one for the whole batch.
    pub version: Arc<str>,
    /// In the order of [`ModelInfo::outputs`], as many samples as went in.
    pub outputs: Vec<Tensor>,
}

/// Why a batch was not computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// Not now: something is being replaced.
    #[error("{message}")]
    Unavailable {
        /// What is missing, without a secret.
        message: String,
        /// When it is worth another try.
        retry_after: Duration,
    },
    /// The computation failed.
    #[error("{0}")]
    Failed(String),
}

/// Turns batches into answers. Several batches may be under way at once.
///
/// # Guarantees that a backend gives
/// * An answer belongs to its batch: after a fault a batch fails, or waits; it is never answered with
///   another one's tensors.
/// * All samples of a batch are computed with one version.
pub trait Backend: Send + Sync + 'static {
    /// What the model takes and gives.
    fn model(&self) -> &ModelInfo;

    /// The versions, oldest first. At least one.
    fn versions(&self) -> Vec<Version>;

    /// Computes a batch whose tensors are those of [`ModelInfo::inputs`], checked and in order.
    fn infer(&self, inputs: Vec<Tensor>) -> BoxFuture<'static, Result<Answer, BackendError>>;
}
