//! A platform with an operator, teams with namespaces.

use super::kubelet::{Kubelet, node};
use super::machine::Machine;
use super::{Cluster, objects, until};
use clap::Parser;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use mixnn_crds::{MixNNHost, MixNNModel};
use mixnn_operator::{Operator, Settings};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The platform's namespace.
pub const PLATFORM: &str = "mixnn";

/// A cluster with CRDs, rights and nodes.
pub struct World {
    pub cluster: Cluster,
    pub client: Client,
    pub kubelet: Kubelet,
    pub operator_token: String,
    /// Where containers run, if they do.
    pub machine: Option<Arc<Machine>>,
}

/// An operator of this process. Dropped, it is as good as killed.
pub struct Running {
    pub registration: SocketAddr,
    pub health: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    /// Ends it in order.
    pub async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        let task = std::mem::replace(&mut self.task, tokio::spawn(async {}));
        task.await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl World {
    /// Brings everything up but the operator. Containers do not run.
    pub async fn start() -> Option<Self> {
        Self::start_with(|_, _| None).await
    }

    /// The same, with containers that run as processes of this machine.
    pub async fn start_with_processes() -> Option<Self> {
        Self::start_with(|client, api| Some(Machine::new(client, api))).await
    }

    async fn start_with(machine: impl FnOnce(Client, u16) -> Option<Arc<Machine>>) -> Option<Self> {
        // MIXNN_LOG=mixnn_operator=debug shows what the operator does.
        let filter = tracing_subscriber::EnvFilter::from_env("MIXNN_LOG");
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let cluster = Cluster::start().await?;
        let client = cluster.client();
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        apply_ok(
            &cluster,
            &[
                "apply",
                "--server-side",
                "-f",
                &format!("{root}/crds/mixnnmodel.yaml"),
                "-f",
                &format!("{root}/crds/mixnnhost.yaml"),
            ],
        );
        cluster.serves_crds().await;
        namespace(&client, PLATFORM, &json!({})).await;
        for file in ["operator.yaml", "admission.yaml"] {
            apply_ok(&cluster, &["apply", "-f", &format!("{root}/operator/rbac/{file}")]);
        }
        let operator_token = account_token(&client).await;
        node(&client, "n1", "64", "64Gi").await;
        node(&client, "n2", "64", "64Gi").await;
        let machine = machine(client.clone(), cluster.api_port());
        let kubelet = Kubelet::start(client.clone(), machine.clone());
        Some(Self { cluster, client, kubelet, operator_token, machine })
    }

    /// Settings of an operator, and more of them.
    pub fn settings(more: &[&str]) -> Settings {
        Settings::parse_from(Self::flags(more))
    }

    /// The same as a command line.
    pub fn flags(more: &[&str]) -> Vec<String> {
        let image =
            |name: &str| format!("example.org/{name}@sha256:{}", "0123456789abcdef".repeat(4));
        let (layer, relay, designer) = (image("layer"), image("relay"), image("designer"));
        let fixed = [
            ["--layer-image", &layer],
            ["--relay-image", &relay],
            ["--designer-image", &designer],
            ["--registration-listen", "127.0.0.1:0"],
            ["--health-listen", "127.0.0.1:0"],
            ["--registration-host", "localhost"],
            ["--relay-cpu", "100m"],
            ["--relay-memory", "64Mi"],
            ["--lease-duration", "4"],
            ["--lease-renew", "3"],
            ["--lease-retry", "1"],
            ["--identity", "first"],
        ];
        let kept = fixed.iter().filter(|[flag, _]| !more.contains(flag)).flatten();
        ["mixnn-operator"].iter().chain(kept).chain(more).map(|&s| s.to_owned()).collect()
    }

    /// Starts an operator with the rights that the chart gives it.
    pub async fn operator(&self, more: &[&str]) -> Running {
        self.operator_through(self.cluster.client_with(&self.operator_token), more).await
    }

    /// Starts an operator over this client.
    pub async fn operator_through(&self, client: Client, more: &[&str]) -> Running {
        let operator = Operator::start(client, Self::settings(more)).await.unwrap();
        let (registration, health) = (operator.registration_address(), operator.health_address());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(operator.run(async {
            let _ = stopped.await;
        }));
        Running { registration, health, stop: Some(stop), task }
    }

    /// The operator's client, which dies after some writes.
    pub fn mortal_client(&self, mortal: &super::mortal::Mortal) -> Client {
        self.cluster.client_through(&self.operator_token, mortal)
    }

    /// An owner's namespace and this many hosts for it.
    pub async fn teams(&self, owner: &str, hosts: usize) -> Vec<String> {
        namespace(&self.client, owner, &json!({"owner": owner})).await;
        let mut names = Vec::new();
        for i in 0..hosts {
            let name = format!("{owner}-host-{i}");
            namespace(&self.client, &name, &json!({})).await;
            self.grant(&name, owner, json!({})).await;
            names.push(name);
        }
        names
    }

    /// A MixNNHost.
    pub async fn grant(&self, namespace: &str, owner: &str, more: Value) -> MixNNHost {
        let api: Api<MixNNHost> = Api::namespaced(self.client.clone(), namespace);
        api.create(&PostParams::default(), &objects::host(namespace, owner, more)).await.unwrap()
    }

    /// Makes a model.
    pub async fn create(&self, model: &MixNNModel) -> MixNNModel {
        let api = self.models(&model.namespace().unwrap());
        api.create(&PostParams::default(), model).await.unwrap()
    }

    /// Models of a namespace.
    pub fn models(&self, namespace: &str) -> Api<MixNNModel> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Pods of MixNN in these namespaces.
    pub async fn pods(&self, namespaces: &[String]) -> Vec<Pod> {
        let mut all = Vec::new();
        for namespace in namespaces {
            let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
            let list = ListParams::default().labels("mixnn.dev/pod in (layer, relay)");
            all.extend(api.list(&list).await.unwrap().items);
        }
        all
    }

    /// Waits for a condition's status; with a reason too, if one is given.
    pub async fn condition(
        &self,
        namespace: &str,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> MixNNModel {
        let api = self.models(namespace);
        let what = format!("{namespace}/{name} has {type_}={status} {reason}");
        until(&what, || async {
            let model = api.get(name).await.ok()?;
            let conditions =
                model.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default();
            let fits = conditions.iter().any(|c| {
                c.type_ == type_ && c.status == status && (reason.is_empty() || c.reason == reason)
            });
            fits.then_some(model)
        })
        .await
    }
}

fn apply_ok(cluster: &Cluster, args: &[&str]) {
    let (ok, said) = cluster.kubectl(args, "");
    assert!(ok, "kubectl {args:?}: {said}");
}

/// A namespace with these labels.
pub async fn namespace(client: &Client, name: &str, labels: &Value) {
    let api: Api<Namespace> = Api::all(client.clone());
    let object =
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

async fn account_token(client: &Client) -> String {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), PLATFORM);
    let account = serde_json::from_value(json!({"metadata": {"name": "mixnn-operator"}})).unwrap();
    api.create(&PostParams::default(), &account).await.unwrap();
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![],
            expiration_seconds: Some(7200),
            bound_object_ref: None,
        },
        ..Default::default()
    };
    let made =
        api.create_token_request("mixnn-operator", &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token
}

/// A token as a pod has it.
pub async fn pod_token(client: &Client, pod: &Pod, audience: Option<&str>) -> String {
    let audiences: Vec<&str> = audience.into_iter().collect();
    let spec = pod.spec.as_ref().unwrap();
    let account = spec.service_account_name.clone().unwrap();
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &pod.namespace().unwrap());
    let request: TokenRequest = serde_json::from_value(json!({"spec": {
        "audiences": audiences, "expirationSeconds": 3600,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.name_any(), "uid": pod.uid()},
    }, "metadata": {}}))
    .unwrap();
    let made = api.create_token_request(&account, &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token
}
