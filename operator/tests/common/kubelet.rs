//! What kubelets would do: run pods that have a node, and confirm that pods ended.

use super::machine::Machine;
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// Plays the kubelets of all nodes but the dead ones.
pub struct Kubelet {
    task: JoinHandle<()>,
    dead: Arc<Mutex<HashSet<String>>>,
}

impl Kubelet {
    /// Begins. With a machine, containers run on it as processes.
    pub fn start(client: Client, machine: Option<Arc<Machine>>) -> Self {
        let dead = Arc::new(Mutex::new(HashSet::new()));
        let silent = dead.clone();
        let task = tokio::spawn(async move {
            let pods = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default());
            let pods = pods.default_backoff().applied_objects();
            futures::pin_mut!(pods);
            loop {
                match pods.try_next().await {
                    Ok(Some(pod)) => serve(&client, &silent, machine.as_ref(), pod).await,
                    Ok(None) => return,
                    Err(_) => {}
                }
            }
        });
        Self { task, dead }
    }

    /// A node falls silent.
    pub fn kill(&self, node: &str) {
        self.dead.lock().unwrap().insert(node.to_owned());
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    client: &Client,
    dead: &Mutex<HashSet<String>>,
    machine: Option<&Arc<Machine>>,
    pod: Pod,
) {
    let Some(node) = pod.spec.as_ref().and_then(|s| s.node_name.clone()) else { return };
    if dead.lock().unwrap().contains(&node) {
        return;
    }
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
    if pod.metadata.deletion_timestamp.is_some() {
        if let Some(machine) = machine {
            machine.stop(&pod);
        }
        let _ = api.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await;
        return;
    }
    if pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Pending") {
        if let Some(machine) = machine {
            return machine.start(pod).await;
        }
        let ip =
            format!("10.1.0.{}", pod.uid().unwrap().bytes().map(u32::from).sum::<u32>() % 250 + 1);
        let ready = json!([{"type": "Ready", "status": "True", "lastProbeTime": null, "lastTransitionTime": null}]);
        let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": ready}});
        let _ =
            api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
    }
}

/// A node with this much of everything.
pub async fn node(client: &Client, name: &str, cpu: &str, memory: &str) {
    let api: Api<Node> = Api::all(client.clone());
    let node: Node = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
    }))
    .unwrap();
    api.create(&PostParams::default(), &node).await.unwrap();
    let amounts = json!({"cpu": cpu, "memory": memory, "pods": "20000"});
    let status = json!({"status": {
        "capacity": amounts, "allocatable": amounts,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": "", "lastHeartbeatTime": null, "lastTransitionTime": null}],
    }});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    // The API server taints a new node; what takes the taint away is not part of these tests.
    let free = json!({"spec": {"taints": null}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(free)).await.unwrap();
}

/// Ends a pod's process.
pub async fn end(client: &Client, pod: &Pod, phase: &str) {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
    let status = json!({"status": {"phase": phase}});
    api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}
