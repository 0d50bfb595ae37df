//! Why a process cannot start or register.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a process cannot start or register.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; choose another address, or port 0 for a free one"
    )]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {what} {path}: {source}")]
    File {
        /// What the file is for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A flag's value is of no use.
    #[error("{flag}: {problem}")]
    Flag {
        /// Which flag.
        flag: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The system refuses what keeps secrets out of files.
    #[error("cannot turn off core dumps: {0}")]
    Hygiene(std::io::Error),
    /// The registration service cannot be reached or does not answer.
    #[error(
        "the registration service {url} does not answer: {detail}; is it running, and is the CA its own?"
    )]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What went wrong.
        detail: String,
    },
    /// The registration service refused.
    #[error("the registration service refused ({reason}): {message}")]
    Refused {
        /// A stable name.
        reason: String,
        /// In words.
        message: String,
    },
    /// The answer is not what the protocol says.
    #[error("the registration service's answer is not understood: {0}")]
    Answer(String),
    /// Something did not come in time.
    #[error("gave up after {seconds} s: {what}")]
    Deadline {
        /// How long it was waited.
        seconds: u64,
        /// What was waited for, and how it stood.
        what: String,
    },
}
