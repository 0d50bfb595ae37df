//! The rules of registration, over HTTPS with the client that nodes use.

#![allow(clippy::unwrap_used)]

use clap::Parser;
use mixnn_directory::{Identity, ModelKey, Patience, Registry, Service, StaticTokens, serve};
use mixnn_node::{NodeArgs, NodeError, RegistryClient};
use mixnn_protocol::admission::{Issuer, TokenRequest, Turnstile};
use mixnn_protocol::control::Profile;
use mixnn_protocol::registration::NodeClass;
use mixnn_protocol::{AdmissionKey, ClaimKey, KeyPair, Suite, SystemRng};
use mixnn_transport::Counters;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

struct Platform {
    url: String,
    folder: tempfile::TempDir,
    counters: Arc<Counters>,
}

const WHO: [(&str, NodeClass, &str); 6] = [
    ("relay", NodeClass::Relay, ""),
    ("layer", NodeClass::Layer, "mine"),
    ("second-layer", NodeClass::Layer, "mine"),
    ("foreign-layer", NodeClass::Layer, "theirs"),
    ("designer", NodeClass::Designer, "mine"),
    ("foreign-designer", NodeClass::Designer, "theirs"),
];

impl Platform {
    async fn start() -> Self {
        Self::with_patience(Patience::default()).await
    }

    async fn with_patience(patience: Patience) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = StaticTokens::default();
        for (name, class, model) in WHO {
            let token = tokens.issue(Identity {
                uid: name.into(),
                class,
                model: (!model.is_empty()).then(|| ModelKey(model.into())),
                host_domain: "team".into(),
                node_domain: "machine".into(),
            });
            std::fs::write(folder.path().join(name), token).unwrap();
        }
        std::fs::write(folder.path().join("nobody"), "not-a-token").unwrap();
        let tls = certificates(folder.path());
        let issuer = Issuer::generate().unwrap();
        let registry = Registry::new(Suite::X25519, issuer.public_der().unwrap());
        let service = Service::new(tokens, issuer, registry);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let counters = service.counters().clone();
        tokio::spawn(serve(listener, Arc::new(tls), service, patience));
        Self { url, folder, counters }
    }

    /// A connection of its own, as anybody can open one.
    async fn connect(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        let pem = std::fs::read(self.folder.path().join("ca.pem")).unwrap();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect(name, self.socket().await).await.unwrap()
    }

    async fn socket(&self) -> TcpStream {
        TcpStream::connect(self.url.strip_prefix("https://").unwrap()).await.unwrap()
    }

    /// Waits until something has been counted `n` times.
    async fn counted(&self, reason: &'static str, n: u64) {
        let start = Instant::now();
        while self.counters.dropped(reason) < n {
            assert!(start.elapsed() < Duration::from_secs(30), "{reason} is not counted");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(self.counters.dropped(reason), n, "{reason}");
    }

    fn client(&self, who: &str) -> RegistryClient {
        self.client_with_ca(who, self.folder.path().join("ca.pem"))
    }

    fn client_with_ca(&self, who: &str, ca: PathBuf) -> RegistryClient {
        let token = self.folder.path().join(who);
        let args = ["x", "--registry", &self.url, "--registry-ca", ca.to_str().unwrap()];
        let token = ["--token-file", token.to_str().unwrap()];
        let args = Args::try_parse_from(args.into_iter().chain(token)).unwrap();
        RegistryClient::new(&args.node).unwrap()
    }
}

fn certificates(folder: &Path) -> rustls::ServerConfig {
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = CertifiedIssuer::self_signed(ca, rcgen::KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.pem"), ca.pem()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &ca).unwrap();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap()
}

fn keys() -> KeyPair {
    KeyPair::generate(Suite::X25519, &mut SystemRng)
}

fn reason(error: NodeError) -> String {
    match error {
        NodeError::Refused { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

const URL: &str = "http://127.0.0.1:9";

#[tokio::test]
async fn one_identity_has_one_key() {
    let platform = Platform::start().await;
    let client = platform.client("relay");
    let key = keys();
    let first = client.register(NodeClass::Relay, URL, key.public()).await.unwrap();
    let again = client.register(NodeClass::Relay, URL, key.public()).await.unwrap();
    assert_eq!(first, again, "the same request, the same answer");
    let other = client.register(NodeClass::Relay, URL, keys().public()).await.unwrap_err();
    assert_eq!(reason(other), "conflict");
}

#[tokio::test]
async fn what_is_not_right_is_refused_with_its_reason() {
    let platform = Platform::start().await;
    let key = keys();
    let nobody = platform.client("nobody").register(NodeClass::Relay, URL, key.public()).await;
    assert_eq!(reason(nobody.unwrap_err()), "unauthorized");
    let client = platform.client("relay");
    let class = client.register(NodeClass::Designer, URL, key.public()).await;
    assert_eq!(reason(class.unwrap_err()), "forbidden");
    let url = client.register(NodeClass::Relay, "http://relay/", key.public()).await;
    assert_eq!(reason(url.unwrap_err()), "bad-request");
    let x_wing = KeyPair::generate(Suite::XWing, &mut SystemRng);
    let suite = client.register(NodeClass::Relay, URL, x_wing.public()).await;
    assert_eq!(reason(suite.unwrap_err()), "bad-request");
    let profile = Profile { libtorch: "2".repeat(65), threads: 1, cpu_capability: "avx2".into() };
    let long = platform.client("relay").with_profile(profile);
    let profile = long.register(NodeClass::Relay, URL, key.public()).await;
    assert_eq!(reason(profile.unwrap_err()), "bad-request");
    let claims = client.publish_claims(Vec::new()).await;
    assert_eq!(reason(claims.unwrap_err()), "forbidden");
    let tokens = client.tokens(vec![vec![0; 256]]).await;
    assert_eq!(reason(tokens.unwrap_err()), "forbidden");
}

#[tokio::test]
async fn another_ca_is_not_trusted() {
    let (platform, other) = (Platform::start().await, Platform::start().await);
    let client = platform.client_with_ca("relay", other.folder.path().join("ca.pem"));
    assert!(matches!(client.directory().await, Err(NodeError::Unreachable { .. })));
}

#[tokio::test]
async fn a_layer_waits_for_a_claim_of_its_own_model() {
    let platform = Platform::start().await;
    let (mine, theirs) = (ClaimKey::generate(&mut SystemRng), ClaimKey::generate(&mut SystemRng));
    let foreign = platform.client("foreign-designer");
    foreign.publish_claims(vec![theirs.claim()]).await.unwrap();
    let (layer, key) = (platform.client("layer"), keys());
    let registration = layer.register(NodeClass::Layer, URL, key.public());
    let publication = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        platform.client("designer").publish_claims(vec![mine.claim()]).await.unwrap();
    };
    let (registered, ()) = tokio::join!(registration, publication);
    assert_eq!(registered.unwrap().claim, Some(mine.claim()));
}

#[tokio::test]
async fn each_sees_no_more_than_it_needs() {
    let platform = Platform::start().await;
    for (designer, n) in [("designer", 2), ("foreign-designer", 1)] {
        let claims = (0..n).map(|_| ClaimKey::generate(&mut SystemRng).claim()).collect();
        platform.client(designer).publish_claims(claims).await.unwrap();
    }
    for (name, class, _) in WHO {
        platform.client(name).register(class, URL, keys().public()).await.unwrap();
    }
    let seen = async |who| platform.client(who).directory().await.unwrap().nodes;
    let relay = seen("relay").await;
    assert_eq!(relay.len(), 6);
    assert!(relay.iter().all(|node| node.detail.is_none()));
    let layer = seen("layer").await;
    assert_eq!(layer.len(), 1, "relays alone");
    assert!(layer[0].detail.is_none());
    let designer = seen("designer").await;
    assert_eq!(designer.len(), 1 + 2 + 1, "relays, its own layers, itself");
    assert!(designer.iter().all(|node| node.detail.is_some()));
}

#[tokio::test]
async fn tokens_admit_once_to_their_relay() {
    let platform = Platform::start().await;
    let client = platform.client("designer");
    let me = client.register(NodeClass::Designer, URL, keys().public()).await.unwrap();
    let key = AdmissionKey::from_der(&me.admission_key).unwrap();
    let request = TokenRequest::new(&key, me.id, &mut SystemRng).unwrap();
    let answers = client.tokens(vec![request.blinded().to_vec()]).await.unwrap();
    let token = request.finish(&key, &answers[0]).unwrap();
    let mut turnstile = Turnstile::new(me.id, key);
    assert!(turnstile.spend(&token).is_ok());
    assert!(turnstile.spend(&token).is_err());
}

/// Sends bytes over TLS and gives the status line of the answer.
async fn raw(platform: &Platform, bytes: &[u8]) -> String {
    let mut stream = platform.connect().await;
    // The service may answer and end the connection before it has read all.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

fn post(path: &str, token: &str, length: usize, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[tokio::test]
async fn rubbish_changes_nothing_and_is_counted() {
    let platform = Platform::start().await;
    let token = std::fs::read_to_string(platform.folder.path().join("relay")).unwrap();
    let mut plain = platform.socket().await;
    plain.write_all(b"GET /v1/directory HTTP/1.1\r\n\r\n").await.unwrap();
    platform.counted("bad-tls", 1).await;
    raw(&platform, b"\0\0\0\0 this is not HTTP\r\n\r\n").await;
    platform.counted("bad-http", 1).await;
    let broken = raw(&platform, &post("/v1/register", &token, 9, "{\"class\":")).await;
    assert!(broken.contains("400"), "{broken}");
    let unknown = raw(&platform, &post("/v1/register", &token, 10, "{\"more\":1}")).await;
    assert!(unknown.contains("422"), "{unknown}");
    platform.counted("malformed", 2).await;
    let large =
        raw(&platform, &post("/v1/register", &token, 1 << 30, &" ".repeat(300 << 10))).await;
    assert!(large.contains("413"), "{large}");
    platform.counted("too-large", 1).await;
    let path = raw(&platform, &post("/v1/admin", &token, 0, "")).await;
    assert!(path.contains("404"), "{path}");
    platform.counted("no-such-request", 1).await;
    let stranger = raw(&platform, &post("/v1/register", "guess", 2, "{}")).await;
    assert!(stranger.contains("401"), "{stranger}");
    platform.counted("unauthorized", 1).await;
    let client = platform.client("designer");
    client.register(NodeClass::Designer, URL, keys().public()).await.unwrap();
    assert_eq!(client.directory().await.unwrap().nodes.len(), 1, "nobody else got in");
}

#[tokio::test]
async fn slow_drips_are_cut_off() {
    let patience =
        Patience { read: Duration::from_millis(1500), request: Duration::from_millis(1500) };
    let platform = Platform::with_patience(patience).await;
    let token = std::fs::read_to_string(platform.folder.path().join("relay")).unwrap();
    let silent = platform.socket().await;
    let mut header = platform.connect().await;
    header.write_all(b"POST /v1/register HTTP/1.1\r\nHo").await.unwrap();
    let mut body = platform.connect().await;
    body.write_all(&post("/v1/register", &token, 100, "{")).await.unwrap();
    for reason in ["slow-handshake", "slow-request", "bad-http"] {
        platform.counted(reason, 1).await;
    }
    for mut stream in [header, body] {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest));
        let _ = ended.await.expect("the service ends the connection");
    }
    drop(silent);
}
