//! What the operator is told at its start, by flags or the environment.

use clap::{Args, Parser, ValueEnum};
use mixnn_crds::{Amount, PodClass, PodResources, SuiteName};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The operator of MixNN: makes MixNNModels run in the namespaces that MixNNHosts open to them.
#[derive(Parser, Clone, Debug)]
#[command(
    version,
    after_help = "Example:
  mixnn-operator --namespace mixnn --layer-image registry/mixnn-layer@sha256:... --relay-image registry/mixnn-relay@sha256:... --designer-image registry/mixnn-designer@sha256:..."
)]
pub struct Settings {
    /// The platform's namespace: records, registrations and keys are kept there.
    #[arg(long, env = "MIXNN_NAMESPACE", default_value = "mixnn")]
    pub namespace: String,
    /// Name of this replica, as the Lease shows it; the host name if not given.
    #[arg(long, env = "MIXNN_IDENTITY")]
    pub identity: Option<String>,
    #[command(flatten)]
    /// What pods are made from.
    pub pods: PodSettings,
    #[command(flatten)]
    /// The registration service.
    pub registration: RegistrationSettings,
    #[command(flatten)]
    /// Leader election.
    pub lease: LeaseSettings,
    /// Relays of the shared pool; 0 for none.
    #[arg(long, env = "MIXNN_SHARED_RELAYS", default_value_t = 0)]
    pub shared_relays: u32,
    /// Suite of the shared pool: `x-wing` or `x25519`.
    #[arg(long, env = "MIXNN_SHARED_SUITE", default_value = "x-wing", value_parser = suite)]
    pub shared_suite: SuiteName,
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(
        long,
        env = "MIXNN_HEALTH_LISTEN",
        default_value = "0.0.0.0:8080",
        value_name = "ADDR:PORT"
    )]
    pub health_listen: SocketAddr,
    /// Models reconciled at the same time.
    #[arg(long, env = "MIXNN_CONCURRENCY", default_value_t = 16)]
    pub concurrency: u16,
    /// Form of log lines.
    #[arg(long, env = "MIXNN_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// What pods are made from.
#[derive(Args, Clone, Debug)]
pub struct PodSettings {
    /// Image of layer pods, by digest.
    #[arg(long, env = "MIXNN_LAYER_IMAGE", value_parser = image)]
    pub layer_image: String,
    /// Image of relays, by digest.
    #[arg(long, env = "MIXNN_RELAY_IMAGE", value_parser = image)]
    pub relay_image: String,
    /// Image of designers, by digest.
    #[arg(long, env = "MIXNN_DESIGNER_IMAGE", value_parser = image)]
    pub designer_image: String,
    /// Cores of a relay.
    #[arg(long, env = "MIXNN_RELAY_CPU", default_value = "1", value_parser = amount)]
    pub relay_cpu: Amount,
    /// Memory of a relay.
    #[arg(long, env = "MIXNN_RELAY_MEMORY", default_value = "1536Mi", value_parser = amount)]
    pub relay_memory: Amount,
    /// Seconds after which a pod on an unreachable node counts as lost and is removed by force.
    #[arg(long, env = "MIXNN_LOST_AFTER", default_value = "60", value_parser = seconds)]
    pub lost_after: Duration,
    /// Labels of namespaces that may read relays' metrics, at port 9090 of new relays; none serves any if not given.
    #[arg(long, env = "MIXNN_METRICS_READERS", value_name = "KEY=VALUE,..", value_parser = readers)]
    pub metrics_readers: Option<BTreeMap<String, String>>,
}

/// The registration service.
#[derive(Args, Clone, Debug)]
pub struct RegistrationSettings {
    /// Where it listens.
    #[arg(
        long,
        env = "MIXNN_REGISTRATION_LISTEN",
        default_value = "0.0.0.0:8443",
        value_name = "ADDR:PORT"
    )]
    pub registration_listen: SocketAddr,
    /// The name by which pods call it; its certificate is for this name. `mixnn-operator.NAMESPACE.svc` if not given.
    #[arg(long, env = "MIXNN_REGISTRATION_HOST")]
    pub registration_host: Option<String>,
    /// The port by which pods call it.
    #[arg(long, env = "MIXNN_REGISTRATION_PORT", default_value_t = 8443)]
    pub registration_port: u16,
    /// ClusterIP of the service: pods find it without DNS.
    #[arg(long, env = "MIXNN_REGISTRATION_IP")]
    pub registration_ip: Option<IpAddr>,
    /// Audience that pods' tokens must be made for.
    #[arg(long, env = "MIXNN_AUDIENCE", default_value = "mixnn.dev/registration")]
    pub audience: String,
    /// Days that a CA is good for.
    #[arg(long, env = "MIXNN_CA_DAYS", default_value_t = 730, value_parser = clap::value_parser!(u32).range(2..))]
    pub ca_days: u32,
}

/// Leader election, with the times of client-go.
#[derive(Args, Clone, Debug)]
pub struct LeaseSettings {
    /// Seconds after which a silent leader's Lease may be taken.
    #[arg(long, env = "MIXNN_LEASE_DURATION", default_value = "15", value_parser = seconds)]
    pub lease_duration: Duration,
    /// Seconds for which the leader tries to renew.
    #[arg(long, env = "MIXNN_LEASE_RENEW", default_value = "10", value_parser = seconds)]
    pub lease_renew: Duration,
    /// Seconds between tries.
    #[arg(long, env = "MIXNN_LEASE_RETRY", default_value = "2", value_parser = seconds)]
    pub lease_retry: Duration,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// The name by which pods call the registration service.
    pub fn registration_host(&self) -> String {
        let default = || format!("mixnn-operator.{}.svc", self.namespace);
        self.registration.registration_host.clone().unwrap_or_else(default)
    }

    /// URL of the registration service.
    pub fn registration_url(&self) -> String {
        format!("https://{}:{}", self.registration_host(), self.registration.registration_port)
    }

    /// The class of relays.
    pub fn relay_class(&self) -> PodClass {
        let cpu = ("cpu".to_owned(), self.pods.relay_cpu.clone());
        let memory = ("memory".to_owned(), self.pods.relay_memory.clone());
        PodClass { resources: PodResources { limits: [cpu, memory].into() } }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| "give whole seconds".to_owned())
}

fn readers(text: &str) -> Result<BTreeMap<String, String>, String> {
    let label = |part: &str| {
        let (key, value) = part.split_once('=').filter(|(key, _)| !key.is_empty())?;
        Some((key.to_owned(), value.to_owned()))
    };
    let labels: Option<_> = text.split(',').map(label).collect();
    labels.ok_or_else(|| "write labels as KEY=VALUE,KEY=VALUE".to_owned())
}

fn amount(text: &str) -> Result<Amount, String> {
    let amount = Amount(text.to_owned());
    amount.millis().map(|_| amount).ok_or_else(|| "write it as 500m, 2 or 1Gi".to_owned())
}

fn suite(text: &str) -> Result<SuiteName, String> {
    match text {
        "x-wing" => Ok(SuiteName::XWing),
        "x25519" => Ok(SuiteName::X25519),
        _ => Err("give x-wing or x25519".to_owned()),
    }
}

fn image(text: &str) -> Result<String, String> {
    let digest = text.split_once("@sha256:").map(|(_, digest)| digest);
    let good = digest.is_some_and(|d| d.len() == 64 && d.bytes().all(|b| b.is_ascii_hexdigit()));
    let error = || {
        "name the image by digest, as registry/name@sha256:..: a tag can change under a run"
            .to_owned()
    };
    good.then(|| text.to_owned()).ok_or_else(error)
}
