//! A trained model is served when its owner asks for it: with a certificate, to clients that show a good token and
//! may ask, until it is turned off.

use super::common::{World, until};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use mixnn_crds::ServingStatus;
use serde_json::{Value, json};
use std::net::SocketAddr;

const CLIENT: &str = "shop";

/// Turns serving of `vision/net` on, asks, and turns it off.
pub async fn once_it_is_asked_for(world: &World, hosts: &[String]) {
    turn(world, true).await;
    let model = world.condition("vision", "net", "Serving", "True", "Serving").await;
    let status = model.status.unwrap();
    let serving = status.serving.unwrap();
    assert_eq!(serving.url, "https://net-serving.vision.svc:8443");
    assert!(status.training.unwrap().digest.is_some(), "what the training came to stays");
    let services: Api<Service> = Api::namespaced(world.client.clone(), "vision");
    let service = services.get("net-serving").await.unwrap();
    assert_eq!(service.owner_references()[0].name, "net");
    let policies: Api<NetworkPolicy> = Api::namespaced(world.client.clone(), "vision");
    policies.get("net-serving").await.unwrap();

    let client = Client::of(world, &serving).await;
    let ask = |token: Option<String>| client.ask(token);
    assert_eq!(ask(None).await.0, 401);
    assert_eq!(ask(Some("x".repeat(40))).await.0, 401);
    let other = token(world, "mixnn.dev/serving/vision/other").await;
    assert_eq!(ask(Some(other)).await.0, 401, "a token for another model");
    let audience = serving.audience.as_deref().unwrap();
    let good = token(world, audience).await;
    let (status, said) = ask(Some(good.clone())).await;
    assert!(status == 403 && said["error"].as_str().unwrap().contains("mixnn-client"), "{said}");
    allow(world);
    let answer = until("its client is let in", || async {
        let (status, said) = ask(Some(good.clone())).await;
        (status == 200).then_some(said)
    })
    .await;
    assert_eq!(answer["model_version"], json!(serving.version));
    assert_eq!(answer["outputs"][0]["shape"], json!([1, 10]));

    turn(world, false).await;
    world.condition("vision", "net", "Serving", "False", "TurnedOff").await;
    until("Service, policy, layers and designer go", || async {
        let designers: Api<Pod> = Api::namespaced(world.client.clone(), "vision");
        let gone = services.get_opt("net-serving").await.ok()?.is_none()
            && policies.get_opt("net-serving").await.ok()?.is_none()
            && designers.get_opt("net-designer-0").await.ok()?.is_none();
        (gone && world.pods(hosts).await.is_empty()).then_some(())
    })
    .await;
    let model = world.condition("vision", "net", "Trained", "True", "Trained").await;
    assert_eq!(model.status.unwrap().serving, None);
}

async fn turn(world: &World, on: bool) {
    let patch = Patch::Merge(json!({"spec": {"serving": {"enabled": on}}}));
    world.models("vision").patch("net", &PatchParams::default(), &patch).await.unwrap();
}

/// A token of the client's account.
async fn token(world: &World, audience: &str) -> String {
    let api: Api<ServiceAccount> = Api::namespaced(world.client.clone(), "vision");
    if api.get_opt(CLIENT).await.unwrap().is_none() {
        let account = serde_json::from_value(json!({"metadata": {"name": CLIENT}})).unwrap();
        api.create(&PostParams::default(), &account).await.unwrap();
    }
    let request: TokenRequest = serde_json::from_value(
        json!({"metadata": {}, "spec": {"audiences": [audience], "expirationSeconds": 600}}),
    )
    .unwrap();
    let made = api.create_token_request(CLIENT, &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token
}

/// As the chart's ClusterRole `mixnn-client` does it.
fn allow(world: &World) {
    let role = ["create", "role", CLIENT, "-n", "vision", "--verb=create"];
    let rule = ["--resource=mixnnmodels.mixnn.dev/predict", "--resource-name=net"];
    let (ok, said) = world.cluster.kubectl(&[&role[..], &rule[..]].concat(), "");
    assert!(ok, "{said}");
    let bind = ["create", "rolebinding", CLIENT, "-n", "vision", "--role=shop"];
    let whom = ["--serviceaccount=vision:shop"];
    let (ok, said) = world.cluster.kubectl(&[&bind[..], &whom[..]].concat(), "");
    assert!(ok, "{said}");
}

/// A client that trusts the CA of the status and finds the designer's pod, as through its Service.
struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    async fn of(world: &World, serving: &ServingStatus) -> Self {
        let designers: Api<Pod> = Api::namespaced(world.client.clone(), "vision");
        let pod = designers.get("net-designer-0").await.unwrap();
        let ip = pod.status.unwrap().pod_ip.unwrap();
        let address: SocketAddr = format!("{ip}:8443").parse().unwrap();
        let ca = serving.ca_bundle.as_deref().unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).unwrap()])
            .resolve("net-serving.vision.svc", address)
            .build()
            .unwrap();
        Self { http, url: format!("{}/v2/models/net/infer", serving.url) }
    }

    /// Status and body of the answer to one sample.
    async fn ask(&self, token: Option<String>) -> (u16, Value) {
        let input = json!({"name": "input", "datatype": "FP32", "shape": [1, 1, 28, 28], "data": vec![0.5; 784]});
        let mut request = self.http.post(&self.url).json(&json!({"inputs": [input]}));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}
