//! The platform's part: tokens, and the registration service over HTTPS with a CA of its own.

use super::folder::RunFolder;
use anyhow::Context;
use mixnn_crds::SuiteName;
use mixnn_directory::{Identity, ModelKey, Patience, Registry, Service, StaticTokens, serve};
use mixnn_protocol::Suite;
use mixnn_protocol::admission::Issuer;
use mixnn_protocol::registration::NodeClass;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What is known before the service starts.
pub struct Platform {
    suite: Suite,
    tokens: StaticTokens,
}

/// The running service; ends when dropped.
pub struct Running {
    url: String,
    ca: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Platform {
    /// No node yet.
    pub fn new(suite: SuiteName) -> Self {
        let suite = match suite {
            SuiteName::XWing => Suite::XWing,
            SuiteName::X25519 => Suite::X25519,
        };
        Self { suite, tokens: StaticTokens::default() }
    }

    /// Makes a relay's token; gives the flags that name it.
    pub fn admit_relay(&mut self, folder: &RunFolder, i: u32) -> anyhow::Result<Vec<OsString>> {
        self.admit(folder, &format!("relay-{i}"), NodeClass::Relay)
    }

    /// Makes a layer pod's token.
    pub fn admit_layer(&mut self, folder: &RunFolder, i: usize) -> anyhow::Result<Vec<OsString>> {
        self.admit(folder, &format!("layer-{i}"), NodeClass::Layer)
    }

    /// Makes the designer's token.
    pub fn admit_designer(&mut self, folder: &RunFolder) -> anyhow::Result<Vec<OsString>> {
        self.admit(folder, "designer", NodeClass::Designer)
    }

    fn admit(
        &mut self,
        folder: &RunFolder,
        name: &str,
        class: NodeClass,
    ) -> anyhow::Result<Vec<OsString>> {
        let of_model = class != NodeClass::Relay;
        let token = self.tokens.issue(Identity {
            uid: name.to_owned(),
            class,
            model: of_model.then(|| ModelKey("local".into())),
            // Each process stands for a team of its own: on one machine nobody is apart anyway.
            host_domain: name.to_owned(),
            node_domain: "local".to_owned(),
        });
        let path = folder.write_for_node(&token)?;
        Ok(vec!["--token-file".into(), path.into()])
    }

    /// Starts the registration service.
    pub async fn serve(self, folder: &RunFolder) -> anyhow::Result<Running> {
        let (tls, ca) = certificates().context("making certificates")?;
        let ca = folder.write_for_node(&ca)?;
        let issuer = tokio::task::spawn_blocking(Issuer::generate).await??;
        let registry = Registry::new(self.suite, issuer.public_der()?);
        let service = Service::new(self.tokens, issuer, registry);
        let listener =
            TcpListener::bind(("127.0.0.1", 0)).await.context("the registration service")?;
        let url = format!("https://{}", listener.local_addr()?);
        let task = tokio::spawn(serve(listener, Arc::new(tls), service, Patience::default()));
        Ok(Running { url, ca, task })
    }
}

impl Running {
    /// Flags that every node gets.
    pub fn flags(&self, suite: &str) -> Vec<OsString> {
        vec![
            "--registry".into(),
            self.url.clone().into(),
            "--registry-ca".into(),
            self.ca.clone().into(),
            "--suite".into(),
            suite.into(),
            "--die-with-parent".into(),
        ]
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
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
