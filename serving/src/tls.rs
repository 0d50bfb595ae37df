//! TLS from a certificate and a key in PEM, read anew when they change, or from one that is made:
//! certificates are renewed while servers run.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// A certificate chain and its private key: from files, or made here.
pub struct Tls {
    source: Source,
    state: Mutex<State>,
}

enum Source {
    Files { certificate: PathBuf, key: PathBuf },
    Made { issue: Box<Issue>, every: Duration },
}

/// Makes a fresh certificate, or says why not.
type Issue = dyn Fn() -> Result<Issued, String> + Send + Sync;

/// A certificate that was made.
pub struct Issued {
    /// The certificate, and those that lead to its CA.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: PrivateKeyDer<'static>,
}

struct State {
    config: Arc<ServerConfig>,
    changed: [Option<SystemTime>; 2],
    looked: Instant,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The files.
    #[error("TLS certificate {} and key {}: {problem}", certificate.display(), key.display())]
    Files {
        /// File of the certificate chain.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// None could be made.
    #[error("no TLS certificate could be made: {0}")]
    Made(String),
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not belong together.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        match load(&certificate, &key) {
            Ok(config) => {
                let changed = [changed(&certificate), changed(&key)];
                Ok(Self::new(Source::Files { certificate, key }, config, changed))
            }
            Err(problem) => Err(TlsError::Files { certificate, key, problem }),
        }
    }

    /// Takes certificates that are made: now, and `every` so often.
    ///
    /// # Errors
    /// The first one cannot be made.
    pub fn made(
        every: Duration,
        issue: impl Fn() -> Result<Issued, String> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let config = issue().and_then(config).map_err(TlsError::Made)?;
        Ok(Self::new(Source::Made { issue: Box::new(issue), every }, config, [None; 2]))
    }

    fn new(source: Source, config: ServerConfig, changed: [Option<SystemTime>; 2]) -> Self {
        let state = State { config: Arc::new(config), changed, looked: Instant::now() };
        Self { source, state: Mutex::new(state) }
    }

    /// What the next connection is met with. What cannot be renewed leaves the last good one in use.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let age = state.looked.elapsed();
        let renewed = match &self.source {
            Source::Files { certificate, key } if age >= LOOK => {
                let now = [changed(certificate), changed(key)];
                let is_new = now != state.changed;
                is_new.then(|| load(certificate, key).inspect(|_| state.changed = now))
            }
            Source::Made { issue, every } if age >= *every => Some(issue().and_then(config)),
            _ => return state.config.clone(),
        };
        state.looked = Instant::now();
        match renewed {
            Some(Ok(config)) => state.config = Arc::new(config),
            Some(Err(problem)) => {
                tracing::warn!(problem, "the new certificate cannot be used; the old one stays");
            }
            None => {}
        }
        state.config.clone()
    }
}

fn changed(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

fn load(certificate: &Path, key: &Path) -> Result<ServerConfig, String> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| format!("the certificate: {e}"))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("the key: {e}"))?;
    config(Issued { chain, key })
}

fn config(Issued { chain, key }: Issued) -> Result<ServerConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| e.to_string())?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
