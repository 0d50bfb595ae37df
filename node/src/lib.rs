//! What every MixNN process does alike: flags, hygiene, logs, registration.
//!
//! ```text
//! let started = mixnn_node::start(&args)?;                 // no core dumps, logs, listeners
//! let registry = RegistryClient::new(&args)?;              // HTTPS to a pinned CA
//! let me = registry.register(NodeClass::Relay, &started.url, keys.public()).await?;
//! let directory = registry.directory().await?;
//! ```

mod args;
mod dead_man;
mod error;
mod hygiene;
mod listen;
mod logging;
mod registry;
mod shutdown;

pub use args::{LogFormat, NodeArgs, SuiteArg};
pub use dead_man::{DeadMan, DeadManArgs, Verdict};
pub use error::NodeError;
pub use hygiene::{die_with_parent, no_core_dumps};
pub use listen::{Started, start};
pub use logging::init as init_logging;
pub use registry::RegistryClient;
pub use shutdown::{end_when_told, shutdown_signal};
