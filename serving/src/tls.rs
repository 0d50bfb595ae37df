//! TLS from a certificate and a key in PEM, read anew when they change: certificates are renewed while
//! servers run.

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// A certificate chain and its private key.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    changed: [Option<SystemTime>; 2],
    looked: Instant,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS certificate {} and key {}: {problem}", certificate.display(), key.display())]
pub struct TlsError {
    certificate: PathBuf,
    key: PathBuf,
    problem: String,
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
                let state = State { config: Arc::new(config), changed, looked: Instant::now() };
                Ok(Self { certificate, key, state: Mutex::new(state) })
            }
            Err(problem) => Err(TlsError { certificate, key, problem }),
        }
    }

    /// What the next connection is met with. Files that are broken leave the last good ones in use.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            let now = [changed(&self.certificate), changed(&self.key)];
            if now != state.changed {
                match load(&self.certificate, &self.key) {
                    Ok(config) => (state.config, state.changed) = (Arc::new(config), now),
                    Err(problem) => tracing::warn!(
                        problem,
                        "the new certificate cannot be used; the old one stays"
                    ),
                }
            }
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
