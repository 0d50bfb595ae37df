//! What the API server does not give.

use std::path::PathBuf;

/// What the API server does not give.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A file of the credentials.
    #[error("cannot read {}: {problem}", path.display())]
    Credentials {
        /// Which one.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// The process is in no pod.
    #[error("{0} is not set: --cluster is for pods of a Kubernetes cluster")]
    NoCluster(&'static str),
    /// The model's file does not say whose it is.
    #[error("the model's file has no metadata.{0}: in a cluster the operator writes it")]
    NoName(&'static str),
    /// The API.
    #[error("{what}: {source}")]
    Api {
        /// What was tried.
        what: String,
        /// What the API said.
        source: Box<kube::Error>,
    },
    /// The API did not answer.
    #[error("{what}: the API server has not answered for {seconds} s")]
    Silent {
        /// What was tried.
        what: String,
        /// How long it was waited.
        seconds: u64,
    },
    /// The Secret is there, and is not mounted.
    #[error(
        "Secret {name} is there, but {} has not come within {seconds} s: does the Secret have this key?",
        path.display()
    )]
    NotMounted {
        /// The Secret.
        name: String,
        /// The file that was waited for.
        path: PathBuf,
        /// How long.
        seconds: u64,
    },
    /// No thread, no runtime.
    #[error("cannot start: {0}")]
    Start(#[from] std::io::Error),
}
