//! The platform's part: tokens, and the registration service over HTTPS with a CA of its own.

use super::folder::RunFolder;
use anyhow::{Context, bail};
use mixnn_crds::SuiteName;
use mixnn_directory::{Identity, ModelKey, Patience, Registry, Service, StaticTokens, serve};
use mixnn_protocol::Suite;
use mixnn_protocol::admission::Issuer;
use mixnn_protocol::registration::{Head, NodeClass};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;

/// The running registration service; ends when dropped.
pub struct Platform {
    tokens: StaticTokens,
    /// There as soon as the issuer has its key: processes load meanwhile.
    service: Arc<OnceLock<Arc<Service<StaticTokens>>>>,
    /// How far the model had come when this run began.
    restored: Head,
    suite: &'static str,
    url: String,
    ca: PathBuf,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Platform {
    /// Starts the service for a pool of one suite. Who asks it before its key is made waits.
    pub async fn start(folder: &RunFolder, suite: SuiteName) -> anyhow::Result<Self> {
        let (suite, flag) = match suite {
            SuiteName::XWing => (Suite::XWing, "x-wing"),
            SuiteName::X25519 => (Suite::X25519, "x25519"),
        };
        let (tls, ca) = certificates().context("making certificates")?;
        let ca = folder.write_for_node(&ca)?;
        let restored = folder.read_head()?;
        let tokens = StaticTokens::default();
        let listener =
            TcpListener::bind(("127.0.0.1", 0)).await.context("the registration service")?;
        let url = format!("https://{}", listener.local_addr()?);
        let service: Arc<OnceLock<_>> = Arc::default();
        let (place, auth) = (service.clone(), tokens.clone());
        let task = tokio::spawn(async move {
            let issuer = tokio::task::spawn_blocking(Issuer::generate).await??;
            let mut registry = Registry::new(suite, issuer.public_der()?);
            registry.restore_head(model(), restored);
            let service = place.get_or_init(|| Service::new(auth, issuer, registry)).clone();
            serve(listener, Arc::new(tls), service, Patience::default()).await;
            Ok(())
        });
        Ok(Self { tokens, service, restored, suite: flag, url, ca, task })
    }

    /// Looks whether the service still runs.
    ///
    /// # Errors
    /// Why it has ended.
    pub async fn check(&mut self) -> anyhow::Result<()> {
        if !self.task.is_finished() {
            return Ok(());
        }
        (&mut self.task).await?.context("the registration service")?;
        bail!("the registration service has ended")
    }

    /// Makes a token for a new process of a slot; gives the flags that name it.
    pub fn admit(
        &self,
        folder: &RunFolder,
        slot: &str,
        uid: &str,
        class: NodeClass,
    ) -> anyhow::Result<Vec<OsString>> {
        let of_model = class != NodeClass::Relay;
        let token = self.tokens.issue(Identity {
            uid: uid.to_owned(),
            class,
            model: of_model.then(model),
            // Each slot stands for a team of its own: on one machine nobody is apart anyway.
            host_domain: slot.to_owned(),
            node_domain: "local".to_owned(),
        });
        let path = folder.write_for_node(&token)?;
        Ok(vec!["--token-file".into(), path.into()])
    }

    /// A process is gone: its node leaves the directory, its token is no longer good. Gives whether it
    /// had registered.
    pub fn retire(&self, uid: &str) -> bool {
        self.tokens.revoke(uid);
        let Some(service) = self.service.get() else { return false };
        let mut registry = service.registry();
        let had_registered = registry.is_registered(uid);
        registry.remove(uid);
        had_registered
    }

    /// How far the model has come.
    pub fn head(&self) -> Head {
        self.service.get().map_or(self.restored, |service| service.registry().head(&model()))
    }

    /// Where a registered process listens.
    pub fn url(&self, uid: &str) -> Option<String> {
        self.service.get()?.registry().url(uid).map(str::to_owned)
    }

    /// Flags that every node gets.
    pub fn flags(&self) -> Vec<OsString> {
        vec![
            "--registry".into(),
            self.url.clone().into(),
            "--registry-ca".into(),
            self.ca.clone().into(),
            "--suite".into(),
            self.suite.into(),
            "--die-with-parent".into(),
        ]
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The one model of a local run.
fn model() -> ModelKey {
    ModelKey("local".into())
}

/// A CA for this run alone, whose key never leaves memory, and a certificate for loopback.
fn certificates() -> anyhow::Result<(rustls::ServerConfig, String)> {
    let mut ca = CertificateParams::new(Vec::<String>::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &ca)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    Ok((tls, ca.pem()))
}
