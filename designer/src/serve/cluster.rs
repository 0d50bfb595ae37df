//! Serving in a pod: what `spec.serving` says, as flags say it elsewhere; walls and status; its end.

use super::ServeArgs;
use super::certificates::Authority;
use super::clients::Clients;
use super::front::Wall;
use crate::{DesignerError, Emitter};
use mixnn_cluster::{Cluster, Reporter, wait_for_keys};
use mixnn_crds::{Authentication, MixNNModel, ServingSpec, ServingStatus, serving_audience};
use mixnn_nn::OwnerSecret;
use mixnn_node::{NodeArgs, RegistryClient};
use mixnn_serving::FrontArgs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio_util::sync::CancellationToken;

/// Where the owner's certificate is mounted.
const CERTIFICATE: &str = "/etc/mixnn-serving";
/// Seconds for requests under way at the end: pods are given ten.
const DRAIN: u64 = 7;

/// A model that is served in a cluster.
pub(super) struct Served {
    credentials: PathBuf,
    model: MixNNModel,
    spec: ServingSpec,
    /// As flags.
    pub(super) front: FrontArgs,
}

impl Served {
    /// Reads what is wanted, and waits until the owner's keys are there.
    pub(super) fn open(credentials: &Path, args: &ServeArgs) -> Result<Self, DesignerError> {
        let model = mixnn_crds::parse_file(&args.served.model.file)?;
        let keys: Vec<&Path> =
            [Some(&args.served.model.owner_secret), args.served.checkpoint_key.as_ref()]
                .into_iter()
                .flatten()
                .map(PathBuf::as_path)
                .collect();
        wait_for_keys(&model, &keys)?;
        let cluster = Cluster::connect(credentials, model.clone())?;
        let Some(spec) = cluster.serving()? else {
            return Err(DesignerError::Serving("spec.serving.enabled is false by now".into()));
        };
        let front = front(&spec, args.node.listen.ip());
        Ok(Self { credentials: credentials.to_owned(), model, spec, front })
    }

    /// Certificate and clients; the status is written from now on.
    pub(super) fn wall<W: Write>(
        &self,
        node: &NodeArgs,
        owner: &OwnerSecret,
        emit: &mut Emitter<W>,
    ) -> Result<Wall, DesignerError> {
        let hosts = self.model.serving_hosts();
        let url = format!("https://{}:{}", hosts[0], self.spec.port);
        let (authenticator, audience) = match self.spec.authentication {
            Authentication::None => (None, None),
            Authentication::TokenReview => {
                let clients = Clients::new(RegistryClient::new(node)?);
                let clients = clients.map_err(DesignerError::Serving)?;
                let text = |t: &Option<String>| t.clone().unwrap_or_default();
                let metadata = &self.model.metadata;
                let audience = serving_audience(&text(&metadata.namespace), &text(&metadata.name));
                (Some(Arc::new(clients) as _), Some(audience))
            }
        };
        let mut own = None;
        if self.spec.tls.is_none() {
            // By a forwarded port it is asked as localhost.
            let names = hosts.into_iter().chain(["localhost".to_owned()]).collect();
            own = Some(Authority::of(owner, names).map_err(DesignerError::Serving)?);
        }
        let ca_bundle = own.as_ref().map(Authority::pem);
        let tls = own.map(Authority::tls).transpose().map_err(DesignerError::Serving)?;
        let offer = ServingStatus { url: url.clone(), audience, ca_bundle, ..Default::default() };
        let cluster = Cluster::connect(&self.credentials, self.model.clone())?;
        let reporter = Reporter::of_served(cluster, offer)?;
        emit.observe(move |event| reporter.tell(event));
        if let Some(tls) = &self.spec.tls
            && !["tls.crt", "tls.key"].iter().all(|f| Path::new(CERTIFICATE).join(f).exists())
        {
            return Err(DesignerError::NoCertificate { secret: tls.secret_ref.name.clone() });
        }
        Ok(Wall { tls, authenticator, url: Some(url) })
    }

    /// Has the server drain once the model is not to be served like this any more, and then says so.
    pub(super) fn watch(self, enough: CancellationToken) -> Result<Arc<AtomicBool>, DesignerError> {
        let off = Arc::new(AtomicBool::new(false));
        let cluster = Cluster::connect(&self.credentials, self.model)?;
        let said = off.clone();
        let watch = move || {
            cluster.until_not_served(&self.spec);
            said.store(true, Ordering::Release);
            enough.cancel();
        };
        let thread = std::thread::Builder::new().name("wishes".into()).spawn(watch);
        thread.map_err(|e| DesignerError::Serving(e.to_string()))?;
        Ok(off)
    }
}

fn front(spec: &ServingSpec, listen: IpAddr) -> FrontArgs {
    let file = |name: &str| spec.tls.as_ref().map(|_| Path::new(CERTIFICATE).join(name));
    let (batching, limits) = (&spec.batching, &spec.limits);
    FrontArgs {
        address: SocketAddr::new(listen, spec.port),
        max_batch: batching.max_size,
        max_delay: u64::from(batching.max_delay_milliseconds),
        in_flight: batching.in_flight,
        no_merge: !batching.merge,
        tokens: None,
        tls_cert: file("tls.crt"),
        tls_key: file("tls.key"),
        max_body: limits.max_body_mebibytes,
        max_connections: limits.max_connections,
        max_rate: limits.requests_per_second.and_then(NonZeroU32::new),
        request_timeout: limits.request_timeout.0.as_secs().max(1),
        drain: DRAIN,
        drain_notice: 0,
    }
}
