//! The processes of a control plane.

use base64::Engine;
use kube::config::{AuthInfo, Config};
use kube::{Client, Config as KubeConfig};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

const ADMIN: &str = "admin-token-of-a-test";

/// A control plane. Its processes end with it.
pub struct Cluster {
    folder: tempfile::TempDir,
    assets: PathBuf,
    api: u16,
    etcd: u16,
    etcd_peer: u16,
    processes: Vec<(&'static str, Child)>,
}

/// Where the binaries are: `KUBEBUILDER_ASSETS`, or what `scripts/kube-assets.sh` built. Without them
/// the tests that need a cluster are skipped, loudly.
pub fn assets() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let found = Command::new(root.join("scripts/kube-assets.sh")).arg("--path").output().unwrap();
    if found.status.success() {
        return Some(PathBuf::from(String::from_utf8(found.stdout).unwrap().trim()));
    }
    let why = String::from_utf8_lossy(&found.stderr).into_owned();
    assert!(
        std::env::var_os("MIXNN_NEED_CLUSTER").is_none(),
        "MIXNN_NEED_CLUSTER is set, but {why}"
    );
    // Not by eprintln: that is shown for tests that fail alone.
    let _ =
        writeln!(std::io::stderr(), "SKIPPED: this test needs a Kubernetes control plane. {why}");
    None
}

impl Cluster {
    /// Brings a control plane up, or says that there is none to be had.
    pub async fn start() -> Option<Self> {
        let assets = assets()?;
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        std::fs::write(
            folder.path().join("tokens.csv"),
            format!("{ADMIN},admin,admin,system:masters\n"),
        )
        .unwrap();
        let [api, etcd, etcd_peer] = free_ports();
        let mut cluster = Self { folder, assets, api, etcd, etcd_peer, processes: Vec::new() };
        cluster.start_etcd();
        cluster.start_api();
        cluster.ready().await;
        cluster.start_rest();
        Some(cluster)
    }

    fn spawn(&mut self, name: &'static str, args: &[String]) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("{name}.log")))
            .unwrap();
        let mut command = Command::new(self.assets.join(name));
        command.args(args).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.processes.push((name, command.spawn().unwrap()));
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Where the API server listens, on 127.0.0.1.
    pub const fn api_port(&self) -> u16 {
        self.api
    }

    /// Starts etcd over its data.
    pub fn start_etcd(&mut self) {
        let client = format!("http://127.0.0.1:{}", self.etcd);
        let peer = format!("http://127.0.0.1:{}", self.etcd_peer);
        let args = [
            format!("--data-dir={}", self.path("etcd")),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
            "--unsafe-no-fsync".into(),
            "--log-level=error".into(),
        ];
        self.spawn("etcd", &args);
    }

    /// Starts the API server.
    pub fn start_api(&mut self) {
        let args = [
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            format!("--secure-port={}", self.api),
            format!("--tls-cert-file={}", self.path("api.crt")),
            format!("--tls-private-key-file={}", self.path("api.key")),
            format!("--token-auth-file={}", self.path("tokens.csv")),
            format!("--service-account-key-file={}", self.path("sa.pub")),
            format!("--service-account-signing-key-file={}", self.path("sa.key")),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            "--service-cluster-ip-range=10.0.0.0/24".into(),
            "--authorization-mode=RBAC".into(),
            "--feature-gates=MutatingAdmissionPolicy=true".into(),
            "--runtime-config=admissionregistration.k8s.io/v1beta1=true".into(),
            "--endpoint-reconciler-type=none".into(),
            "--profiling=false".into(),
            "--v=1".into(),
        ];
        self.spawn("kube-apiserver", &args);
    }

    fn start_rest(&mut self) {
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig(ADMIN));
        let controllers = [
            kubeconfig.clone(),
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
            "--controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller,statefulset-controller,resourcequota-controller,root-ca-certificate-publisher-controller".into(),
            format!("--service-account-private-key-file={}", self.path("sa.key")),
            format!("--root-ca-file={}", self.path("ca.crt")),
            "--kube-api-qps=500".into(),
            "--kube-api-burst=1000".into(),
        ];
        self.spawn("kube-controller-manager", &controllers);
        let scheduler = [
            kubeconfig,
            "--leader-elect=false".into(),
            "--secure-port=0".into(),
            "--kube-api-qps=500".into(),
            "--kube-api-burst=1000".into(),
        ];
        self.spawn("kube-scheduler", &scheduler);
    }

    /// A kubeconfig with this token.
    pub fn kubeconfig(&self, token: &str) -> String {
        let name = if token == ADMIN { "kubeconfig" } else { "kubeconfig-other" };
        let (api, ca, path) = (self.api, self.path("ca.crt"), self.path(name));
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{api}', certificate-authority: '{ca}'}}}}]\nusers: [{{name: u, user: {{token: {token}}}}}]\ncontexts: [{{name: x, context: {{cluster: c, user: u}}}}]\ncurrent-context: x\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The kubeconfig of an administrator.
    pub fn admin_kubeconfig(&self) -> String {
        self.kubeconfig(ADMIN)
    }

    /// Ends one process at once, as a crash would.
    pub fn kill(&mut self, name: &str) {
        let at = self.processes.iter().position(|(n, _)| *n == name).unwrap();
        let (_, mut child) = self.processes.swap_remove(at);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops a process for a while: it neither answers nor ends.
    pub async fn pause(&self, name: &str, time: Duration) {
        self.signal(name, "-STOP");
        tokio::time::sleep(time).await;
        self.signal(name, "-CONT");
    }

    /// Sends a process a signal: `-STOP`, `-CONT`.
    pub fn signal(&self, name: &str, signal: &str) {
        let (_, child) = self.processes.iter().find(|(n, _)| *n == name).unwrap();
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Takes an object out of etcd, past the API server.
    pub async fn lose(&self, key: &str) {
        let key = base64::engine::general_purpose::STANDARD.encode(key);
        let url = format!("http://127.0.0.1:{}/v3/kv/deleterange", self.etcd);
        let request = reqwest::Client::new().post(url).json(&serde_json::json!({"key": key}));
        let answer: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        assert_eq!(answer["deleted"], "1", "{answer}");
    }

    /// Waits until the API server answers.
    pub async fn ready(&self) {
        let client = self.client();
        super::until("the API server is ready", || async {
            let request = http_get("/readyz");
            client.request_text(request).await.ok()
        })
        .await;
    }

    /// The API, as an administrator.
    pub fn client(&self) -> Client {
        self.client_with(ADMIN)
    }

    /// The API, with a token.
    pub fn client_with(&self, token: &str) -> Client {
        Client::try_from(self.config(token)).unwrap()
    }

    /// The API, with a token, through something that may die.
    pub fn client_through(&self, token: &str, mortal: &super::mortal::Mortal) -> Client {
        let builder = kube::client::ClientBuilder::try_from(self.config(token)).unwrap();
        builder.with_layer(mortal).build()
    }

    fn config(&self, token: &str) -> KubeConfig {
        let mut config = Config::new(format!("https://127.0.0.1:{}", self.api).parse().unwrap());
        config.root_cert = Some(vec![std::fs::read(self.path("ca.der")).unwrap()]);
        config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
        config.connect_timeout = Some(Duration::from_secs(5));
        config
    }

    /// Waits until the API server serves the CRDs. `kubectl wait` fails on one that has no status yet.
    pub async fn serves_crds(&self) {
        super::until("the CRDs are served", || async {
            let args = ["wait", "--for=condition=Established", "--timeout=60s"];
            let crds = ["crd/mixnnmodels.mixnn.dev", "crd/mixnnhosts.mixnn.dev"];
            self.kubectl(&[&args[..], &crds].concat(), "").0.then_some(())
        })
        .await;
    }

    /// What a pod of an administrator's would have mounted.
    pub fn credentials(&self, folder: &Path) {
        std::fs::copy(self.path("ca.crt"), folder.join("ca.crt")).unwrap();
        std::fs::write(folder.join("token"), ADMIN).unwrap();
    }

    /// kubectl, to be run.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.assets.join("kubectl"));
        command.arg(format!("--kubeconfig={}", self.path("kubeconfig"))).args(args);
        command
    }

    /// Runs kubectl; gives whether it went well, and what it said.
    pub fn kubectl(&self, args: &[&str], input: &str) -> (bool, String) {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap();
        let text = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The API server before etcd: without it, it does not end.
        for (_, child) in self.processes.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("kube-apiserver.log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(5).collect();
            let _ = writeln!(std::io::stderr(), "last lines of the API server: {tail:#?}");
        }
    }
}

fn http_get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).unwrap()
}

/// Below the range that the kernel gives to outgoing connections: the API server opens a hundred of
/// those before it listens itself.
fn free_ports() -> [u16; 3] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 20_000 + (std::process::id() % 100) as u16 * 100;
    let next = |()| loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 1000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    };
    [(); 3].map(next)
}

fn certificates(folder: &Path) {
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "ca of a test");
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.crt"), ca.pem()).unwrap();
    std::fs::write(folder.join("ca.der"), ca.der()).unwrap();
    let names = ["127.0.0.1", "10.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
    let key = KeyPair::generate().unwrap();
    let mut api = CertificateParams::new(names.to_vec()).unwrap();
    api.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let api = api.signed_by(&key, &ca).unwrap();
    std::fs::write(folder.join("api.crt"), api.pem()).unwrap();
    std::fs::write(folder.join("api.key"), key.serialize_pem()).unwrap();
    let accounts = KeyPair::generate().unwrap();
    std::fs::write(folder.join("sa.key"), accounts.serialize_pem()).unwrap();
    std::fs::write(folder.join("sa.pub"), accounts.public_key_pem()).unwrap();
}
