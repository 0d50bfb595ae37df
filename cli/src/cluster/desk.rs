//! The owner's way to a model's designer: its page, through a forwarded port.
//!
//! The page listens on its pod's own loopback, so that nothing in the cluster reaches it but what the API server
//! forwards to who may `create` `pods/portforward`. It asks for the token that follows from the owner's secret,
//! which only who may `get` the owner's Secret can make.

use super::connect::Place;
use super::keeper::Keeper;
use crate::plugin;
use anyhow::{Context, bail};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use mixnn_crds::{DESIGNER_PAGE_PORT, MixNNModel};
use mixnn_page::owner_token;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Between two parts of an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A designer's page, as its owner reaches it.
pub struct Desk {
    /// Where it is on this machine.
    pub url: String,
    /// What it asks for.
    pub token: String,
    http: Client,
    _forwarding: DropGuard,
    keeper: Option<Keeper>,
}

impl Desk {
    /// The designer's of a model, on a free port of this machine.
    pub async fn open(place: &Place, model: &str) -> anyhow::Result<Self> {
        Self::open_at(place, model, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// The same at this address.
    pub async fn open_at(place: &Place, name: &str, at: SocketAddr) -> anyhow::Result<Self> {
        let model = model(place, name).await?;
        let pod = format!("{name}-designer-0");
        if !is_running(place, &pod).await? {
            bail!(
                "there is no designer of {name} in {}: one runs while the model is trained or served; `{} events {name}` says more",
                place.namespace,
                plugin::name()
            );
        }
        Self::through(place, &model, pod, at, None).await
    }

    /// The designer's; or, where none runs any more, that of a pod which does nothing but open checkpoints.
    pub async fn open_for_checkpoints(place: &Place, name: &str) -> anyhow::Result<Self> {
        let model = model(place, name).await?;
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let pod = format!("{name}-designer-0");
        if is_running(place, &pod).await? {
            return Self::through(place, &model, pod, at, None).await;
        }
        if model.spec.checkpoints.is_none() {
            bail!("{name} keeps no checkpoints: spec.checkpoints says where they would be");
        }
        let keeper = Keeper::start(place, &model).await?;
        let pod = keeper.pod().to_owned();
        Self::through(place, &model, pod, at, Some(keeper)).await
    }

    async fn through(
        place: &Place,
        model: &MixNNModel,
        pod: String,
        at: SocketAddr,
        keeper: Option<Keeper>,
    ) -> anyhow::Result<Self> {
        let token = token(place, model).await?;
        let listener = TcpListener::bind(at).await.with_context(|| format!("listening on {at}"))?;
        let url = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        let pods: Api<Pod> = Api::namespaced(place.client.clone(), &place.namespace);
        tokio::spawn(stop.clone().run_until_cancelled_owned(forward(pods, pod, listener)));
        let http = Client::builder().no_proxy().read_timeout(PATIENCE).build()?;
        Ok(Self { url, token, http, _forwarding: stop.drop_guard(), keeper })
    }

    /// What the page answers to a path.
    pub async fn get(&self, path: &str) -> anyhow::Result<Response> {
        answer(self.http.get(format!("{}{path}", self.url)).bearer_auth(&self.token)).await
    }

    /// Writes what it answers into a file, whole or not at all.
    pub async fn save(&self, path: &str, out: &Path) -> anyhow::Result<()> {
        let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::NamedTempFile::new_in(folder)
            .with_context(|| folder.display().to_string())?;
        let mut to = tokio::fs::File::from_std(file.reopen()?);
        let mut body = self.get(path).await?.bytes_stream();
        while let Some(part) = body.next().await {
            to.write_all(&part?).await?;
        }
        to.sync_all().await?;
        file.persist(out).with_context(|| out.display().to_string())?;
        Ok(())
    }

    /// Ends what was begun for it.
    pub async fn close(self) -> anyhow::Result<()> {
        match self.keeper {
            Some(keeper) => keeper.end().await,
            None => Ok(()),
        }
    }
}

async fn answer(request: RequestBuilder) -> anyhow::Result<Response> {
    let answer = request.send().await.context("asking the designer through the forwarded port")?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let said: Value = answer.json().await.unwrap_or_default();
    bail!(
        "the designer answers {status}: {}",
        said["error"].as_str().unwrap_or("no reason was given")
    )
}

async fn model(place: &Place, name: &str) -> anyhow::Result<MixNNModel> {
    let models: Api<MixNNModel> = Api::namespaced(place.client.clone(), &place.namespace);
    let what = format!("MixNNModel {name} in {}", place.namespace);
    models.get(name).await.map_err(|e| place.explain(&what, e))
}

async fn is_running(place: &Place, pod: &str) -> anyhow::Result<bool> {
    let pods: Api<Pod> = Api::namespaced(place.client.clone(), &place.namespace);
    let found = pods.get_opt(pod).await.map_err(|e| place.explain(&format!("pod {pod}"), e))?;
    let phase = found.and_then(|pod| pod.status?.phase);
    Ok(phase.as_deref() == Some("Running"))
}

/// What follows from the owner's secret, as the designer has it.
async fn token(place: &Place, model: &MixNNModel) -> anyhow::Result<String> {
    let seed = model.spec.training.seed_from.as_ref().map(|seed| &seed.secret_key_ref);
    let (name, key) = match seed {
        Some(from) => (from.name.clone(), from.key.clone()),
        None => (model.owner_secret_name(), "owner-secret".to_owned()),
    };
    let secrets: Api<Secret> = Api::namespaced(place.client.clone(), &place.namespace);
    let what = format!("Secret {name} in {}, which makes you the owner", place.namespace);
    let secret = secrets.get(&name).await.map_err(|e| place.explain(&what, e))?;
    let bytes = secret
        .data
        .unwrap_or_default()
        .remove(&key)
        .with_context(|| format!("{what}: it has no key {key}"))?;
    let text = String::from_utf8(bytes.0).unwrap_or_default();
    let mut secret = [0; 32];
    hex::decode_to_slice(text.trim(), &mut secret)
        .map_err(|_| anyhow::anyhow!("{what}: {key} holds no 64 hexadecimal digits"))?;
    Ok(owner_token(&secret))
}

/// Takes connections and carries each to the pod's page, until it is dropped.
async fn forward(pods: Api<Pod>, pod: String, listener: TcpListener) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (pods, pod) = (pods.clone(), pod.clone());
        connections.spawn(async move {
            if let Err(error) = carry(&pods, &pod, stream).await {
                crate::output::warning(format!(
                    "the port to pod {pod} cannot be forwarded: {error:#}"
                ));
            }
        });
    }
}

async fn carry(pods: &Api<Pod>, pod: &str, mut stream: TcpStream) -> anyhow::Result<()> {
    let mut forwarder = pods.portforward(pod, &[DESIGNER_PAGE_PORT]).await?;
    let mut there = forwarder.take_stream(DESIGNER_PAGE_PORT).context("no stream")?;
    // Either end may break off: a browser does when it has what it wants.
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
    drop(there);
    forwarder.join().await?;
    Ok(())
}
