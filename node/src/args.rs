//! Flags that every node takes. Each can come from the environment, as a pod's template sets it.

use clap::{Args, ValueEnum};
use mixnn_protocol::Suite;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Flags that every node takes.
#[derive(Args, Clone, Debug)]
pub struct NodeArgs {
    /// Registration service: https://host:port.
    #[arg(long, env = "MIXNN_REGISTRY", value_name = "URL")]
    pub registry: String,
    /// The only CA that the registration service's certificate may come from, in PEM.
    #[arg(
        long,
        env = "MIXNN_REGISTRY_CA",
        value_name = "FILE",
        required_unless_present = "registry_ca_pem"
    )]
    pub registry_ca: Option<PathBuf>,
    /// The same as text: a pod gets it in its spec, with no volume to mount.
    #[arg(
        long,
        env = "MIXNN_REGISTRY_CA_PEM",
        value_name = "PEM",
        conflicts_with = "registry_ca",
        hide_env_values = true
    )]
    pub registry_ca_pem: Option<String>,
    /// Bearer token for the registration service. Read anew for each request.
    #[arg(long, env = "MIXNN_TOKEN_FILE", value_name = "FILE")]
    pub token_file: PathBuf,
    /// Where to listen for cells and letters. Port 0 takes a free one.
    #[arg(long, env = "MIXNN_LISTEN", default_value = "127.0.0.1:0", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// How others reach this node; the address it listens on if not given.
    #[arg(long, env = "MIXNN_ADVERTISE", value_name = "URL")]
    pub advertise: Option<String>,
    /// HPKE suite of the key. All nodes of a pool use the same.
    #[arg(long, env = "MIXNN_SUITE", value_enum, default_value_t = SuiteArg::XWing)]
    pub suite: SuiteArg,
    /// Where to serve metrics (GET /metrics); nowhere if not given.
    #[arg(long, env = "MIXNN_METRICS_LISTEN", value_name = "ADDR:PORT")]
    pub metrics_listen: Option<SocketAddr>,
    /// End as soon as the process that started this one ends.
    #[arg(long, env = "MIXNN_DIE_WITH_PARENT")]
    pub die_with_parent: bool,
    /// Form of log lines on standard error. Their level comes from MIXNN_LOG.
    #[arg(long, env = "MIXNN_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// The HPKE suites by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SuiteArg {
    /// Hybrid: holds while ML-KEM-768 or X25519 holds.
    XWing,
    /// Classical.
    X25519,
}

impl From<SuiteArg> for Suite {
    fn from(arg: SuiteArg) -> Self {
        match arg {
            SuiteArg::XWing => Self::XWing,
            SuiteArg::X25519 => Self::X25519,
        }
    }
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
