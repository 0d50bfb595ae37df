//! Runs the containers of pods as processes of this machine: each pod has a loopback address and a folder
//! of its own, in which its volumes are, as a kubelet would mount them.

use super::team::pod_token;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Volume};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::Notify;

/// What images set in the environment.
const OF_IMAGES: [(&str, &str); 2] = [("ATEN_CPU_CAPABILITY", "avx2"), ("OMP_NUM_THREADS", "1")];
/// Seconds that pods live on alone.
const DEAD_MAN: &str = "20";
/// Lines of each process's log that a failed test shows.
const LINES: usize = 40;
/// Between a container's end and its next start.
const AGAIN: Duration = Duration::from_millis(500);

/// Processes of pods.
pub struct Machine {
    client: Client,
    folder: tempfile::TempDir,
    api_port: u16,
    /// Second byte of the pods' addresses: tests that run beside this one use another.
    net: u8,
    next: AtomicU32,
    pods: Mutex<HashMap<String, Running>>,
}

#[derive(Clone)]
struct Running {
    stop: Arc<Notify>,
    crash: Arc<Notify>,
}

/// A pod's volumes by where they are mounted.
type Mounts = Vec<(String, PathBuf)>;

impl Machine {
    pub fn new(client: Client, api_port: u16) -> Arc<Self> {
        Arc::new(Self {
            client,
            folder: tempfile::tempdir().unwrap(),
            api_port,
            net: (std::process::id() % 250 + 2) as u8,
            next: AtomicU32::new(1),
            pods: Mutex::default(),
        })
    }

    /// Starts a pod's container; starts it again where its pod says so.
    pub async fn start(self: &Arc<Self>, pod: Pod) {
        let uid = pod.uid().unwrap();
        let running = Running { stop: Arc::default(), crash: Arc::default() };
        if self.pods.lock().unwrap().insert(uid, running.clone()).is_some() {
            return;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let ip = format!("127.{}.{}.{}", self.net, number / 250, number % 250 + 1);
        let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
        self.patch(&pod, &status).await;
        let machine = self.clone();
        tokio::spawn(async move { machine.run(pod, ip, running).await });
    }

    /// Ends a pod's process for good.
    pub fn stop(&self, pod: &Pod) {
        if let Some(running) = self.pods.lock().unwrap().get(&pod.uid().unwrap()) {
            running.stop.notify_one();
        }
    }

    /// Ends a pod's process as a crash would.
    pub fn crash(&self, pod: &Pod) {
        self.pods.lock().unwrap()[&pod.uid().unwrap()].crash.notify_one();
    }

    /// The folder of a volume claim.
    pub fn claim(&self, namespace: &str, name: &str) -> PathBuf {
        let path = self.folder.path().join("claims").join(namespace).join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// All that processes have said.
    pub fn logs(&self) -> String {
        let entries = std::fs::read_dir(self.folder.path()).unwrap().map(|e| e.unwrap().path());
        let logs = entries.filter(|path| path.extension().is_some_and(|e| e == "log"));
        let one = |path: PathBuf| {
            let text = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
            format!("--- {}\n{last}\n", path.file_name().unwrap().display())
        };
        logs.map(one).collect()
    }

    async fn patch(&self, pod: &Pod, status: &serde_json::Value) {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap());
        let patch = Patch::Merge(status);
        let _ = api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await;
    }

    async fn run(&self, pod: Pod, ip: String, running: Running) {
        let spec = pod.spec.as_ref().unwrap();
        let again = spec.restart_policy.as_deref() == Some("Always");
        loop {
            let mounts = self.mounts(&pod).await;
            let mut child = self.command(&pod, &ip, &mounts).spawn().unwrap();
            let ended = tokio::select! {
                ended = child.wait() => Some(ended.unwrap().success()),
                () = running.crash.notified() => {
                    child.kill().await.unwrap();
                    Some(false)
                }
                () = running.stop.notified() => None,
            };
            let Some(well) = ended else { return child.kill().await.unwrap() };
            if !again {
                let phase = if well { "Succeeded" } else { "Failed" };
                return self.patch(&pod, &json!({"status": {"phase": phase}})).await;
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = running.stop.notified() => return,
            }
        }
    }

    fn command(&self, pod: &Pod, ip: &str, mounts: &Mounts) -> Command {
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let image = container.image.as_deref().unwrap();
        let name = image.split(['/', '@']).nth(1).unwrap();
        let mut command = Command::new(bin_dir().join(format!("mixnn-{name}")));
        command.env_clear().envs(OF_IMAGES).env("MIXNN_DIE_WITH_PARENT", "true");
        // A test does not wait for a quarter of an hour.
        command.env("MIXNN_DEAD_MAN", DEAD_MAN);
        // MIXNN_PROCESS_LOG=debug shows what the processes do.
        let level = std::env::var("MIXNN_PROCESS_LOG").unwrap_or_else(|_| "info".into());
        command.env("MIXNN_LOG", level);
        command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
        command.env("KUBERNETES_SERVICE_PORT", self.api_port.to_string());
        for variable in container.env.iter().flatten() {
            // Pods share this machine's network: what would be any address is the pod's.
            let value = variable.value.as_deref().unwrap_or(ip);
            let value = value.replace("$(POD_IP)", ip).replace("0.0.0.0", ip);
            command.env(&variable.name, within(&value, mounts));
        }
        command.args(container.args.iter().flatten().map(|arg| within(arg, mounts)));
        let file = format!("{}-{}.log", pod.namespace().unwrap(), pod.name_any());
        let log = File::options().create(true).append(true).open(self.folder.path().join(file));
        let log = log.unwrap();
        command.current_dir("/").kill_on_drop(true).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    async fn mounts(&self, pod: &Pod) -> Mounts {
        let spec = pod.spec.as_ref().unwrap();
        let mut mounts = Mounts::new();
        for mount in spec.containers[0].volume_mounts.iter().flatten() {
            let volume = spec.volumes.iter().flatten().find(|v| v.name == mount.name).unwrap();
            mounts.push((mount.mount_path.clone(), self.volume(pod, volume).await));
        }
        mounts
    }

    async fn volume(&self, pod: &Pod, volume: &Volume) -> PathBuf {
        let namespace = pod.namespace().unwrap();
        if let Some(claim) = &volume.persistent_volume_claim {
            return self.claim(&namespace, &claim.claim_name);
        }
        let folder = self.folder.path().join(pod.uid().unwrap()).join(&volume.name);
        std::fs::create_dir_all(&folder).unwrap();
        let write = |path: &str, bytes: &[u8]| std::fs::write(folder.join(path), bytes).unwrap();
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &namespace);
        if let Some(map) = &volume.config_map {
            let map = maps.get(&map.name).await.unwrap();
            map.data.iter().flatten().for_each(|(key, text)| write(key, text.as_bytes()));
        }
        if let Some(source) = &volume.secret {
            let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
            let found = secrets.get_opt(source.secret_name.as_deref().unwrap()).await.unwrap();
            assert!(found.is_some() || source.optional == Some(true), "{source:?}");
            let items = source.items.as_ref();
            for (key, bytes) in found.and_then(|s| s.data).unwrap_or_default() {
                match items.map(|items| items.iter().find(|i| i.key == key)) {
                    None => write(&key, &bytes.0),
                    Some(Some(item)) => write(&item.path, &bytes.0),
                    Some(None) => {}
                }
            }
        }
        for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            if let Some(token) = &source.service_account_token {
                let audience = token.audience.as_deref();
                let bearer = pod_token(&self.client, pod, audience).await;
                write(&token.path, bearer.as_bytes());
            }
            if let Some(map) = &source.config_map {
                let found = maps.get(&map.name).await.unwrap();
                let data = found.data.unwrap();
                let items = map.items.iter().flatten();
                items.for_each(|item| write(&item.path, data[&item.key].as_bytes()));
            }
        }
        folder
    }
}

/// A path of the pod as a path of this machine; anything else as it is.
fn within(text: &str, mounts: &Mounts) -> String {
    let inside = |(at, folder): &(String, PathBuf)| {
        let rest = text.strip_prefix(at.as_str())?;
        let rest = if rest.is_empty() { rest } else { rest.strip_prefix('/')? };
        Some(folder.join(rest).display().to_string())
    };
    mounts.iter().find_map(inside).unwrap_or_else(|| text.to_owned())
}

/// The folder of the binaries: that of this test, two levels up.
pub fn bin_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder: &Path = test.parent().unwrap().parent().unwrap();
    for name in ["mixnn", "mixnn-designer", "mixnn-layer", "mixnn-relay"] {
        let there = folder.join(name).is_file();
        assert!(there, "{name} is not built: run `cargo build --workspace` first");
    }
    folder.to_owned()
}
