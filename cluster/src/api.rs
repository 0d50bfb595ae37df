//! The API server, by the credentials that are mounted into the pod.

use crate::ClusterError;
use k8s_openapi::api::core::v1::Secret;
use kube::config::{AuthInfo, Config};
use kube::{Api, Client};
use mixnn_crds::MixNNModel;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;

/// For one request.
const REQUEST: Duration = Duration::from_secs(10);
/// For an API server that does not answer: a restarted one is back by then.
const OUTAGE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// The API server, as the designer of one model sees it.
pub struct Cluster {
    pub(crate) runtime: Runtime,
    pub(crate) models: Api<MixNNModel>,
    pub(crate) secrets: Api<Secret>,
    /// As the operator wrote it into the pod: with namespace, name, uid and generation.
    pub(crate) model: MixNNModel,
    pub(crate) name: String,
}

impl Cluster {
    /// Connects by `token` and `ca.crt` in a folder, to the address that every pod is told by
    /// `KUBERNETES_SERVICE_HOST` and `_PORT`. The token is read anew as it is renewed.
    ///
    /// # Errors
    /// Something of it is missing.
    pub fn connect(credentials: &Path, model: MixNNModel) -> Result<Self, ClusterError> {
        let variable =
            |name: &'static str| std::env::var(name).map_err(|_| ClusterError::NoCluster(name));
        let (host, port) =
            (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
        Self::connect_to((&host, &port), credentials, model)
    }

    /// The same, to this host and port.
    ///
    /// # Errors
    /// Something of the credentials is missing.
    pub fn connect_to(
        address: (&str, &str),
        credentials: &Path,
        model: MixNNModel,
    ) -> Result<Self, ClusterError> {
        let name = model.metadata.name.clone().ok_or(ClusterError::NoName("name"))?;
        let namespace = model.metadata.namespace.clone();
        let namespace = namespace.ok_or(ClusterError::NoName("namespace"))?;
        if model.metadata.uid.is_none() {
            return Err(ClusterError::NoName("uid"));
        }
        let config = config(address, credentials)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(async { Client::try_from(config) });
        let what = || "connecting to the API server".to_owned();
        let client = client.map_err(|e| ClusterError::Api { what: what(), source: Box::new(e) })?;
        Ok(Self {
            runtime,
            models: Api::namespaced(client.clone(), &namespace),
            secrets: Api::namespaced(client, &namespace),
            model,
            name,
        })
    }

    /// Asks again while the API server is away. What it refuses is an error at once.
    pub(crate) fn ask<T, F: Future<Output = kube::Result<T>>>(
        &self,
        what: &str,
        mut ask: impl FnMut() -> F,
    ) -> Result<T, ClusterError> {
        let tries = OUTAGE.as_millis() / PAUSE.as_millis();
        let mut last = None;
        self.runtime.block_on(async {
            for _ in 0..tries {
                match tokio::time::timeout(REQUEST, ask()).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(kube::Error::Api(status))) if is_final(&status) => {
                        return Err(api(what, kube::Error::Api(status)));
                    }
                    Ok(Err(error)) => last = Some(error),
                    Err(_) => {}
                }
                tokio::time::sleep(PAUSE).await;
            }
            let silent = || ClusterError::Silent { what: what.into(), seconds: OUTAGE.as_secs() };
            Err(last.map_or_else(silent, |error| api(what, error)))
        })
    }
}

/// Whether the API server's answer is a word, and not an excuse.
pub(crate) const fn is_final(status: &kube::core::Status) -> bool {
    status.code < 500 && status.code != 429
}

fn api(what: &str, error: kube::Error) -> ClusterError {
    ClusterError::Api { what: what.into(), source: Box::new(error) }
}

fn config((host, port): (&str, &str), credentials: &Path) -> Result<Config, ClusterError> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let file = credentials.join("ca.crt");
    let problem = |problem: String| ClusterError::Credentials { path: file.clone(), problem };
    let pem = std::fs::read(&file).map_err(|e| problem(e.to_string()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|e| problem(e.to_string()))?;
    if certificates.is_empty() {
        return Err(problem("holds no certificate".into()));
    }
    let url = format!("https://{host}:{port}");
    let mut config = Config::new(url.parse().map_err(|_| {
        problem(format!("KUBERNETES_SERVICE_HOST and _PORT make no address: {url}"))
    })?);
    config.root_cert = Some(certificates.iter().map(|c| c.to_vec()).collect());
    let token = credentials.join("token").display().to_string();
    config.auth_info = AuthInfo { token_file: Some(token), ..AuthInfo::default() };
    config.connect_timeout = Some(REQUEST);
    Ok(config)
}
