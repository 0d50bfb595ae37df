//! A pod that opens a model's checkpoints where no designer runs any more: the designer's own pod in all but its
//! command, made by who asks, for as long as they ask.

use super::connect::Place;
use crate::output;
use anyhow::{Context, bail};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Resource};
use mixnn_crds::MixNNModel;
use std::time::{Duration, Instant};

/// Its flags that the designer's pod has too.
const KEPT: [&str; 5] =
    ["--owner-secret", "--checkpoints", "--checkpoint-key", "--record", "--page"];
/// For it to start: an image may have to be pulled.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(500);
/// It ends by itself, whatever becomes of who asked.
const LIFE: i64 = 1800;

/// One that runs.
pub struct Keeper {
    pods: Api<Pod>,
    pod: String,
}

impl Keeper {
    /// Makes one, and waits until it runs.
    pub async fn start(place: &Place, model: &MixNNModel) -> anyhow::Result<Self> {
        let name = model.metadata.name.as_deref().unwrap_or_default();
        let sets: Api<StatefulSet> = Api::namespaced(place.client.clone(), &place.namespace);
        let what = format!("StatefulSet {name}-designer in {}", place.namespace);
        let set =
            sets.get(&format!("{name}-designer")).await.map_err(|e| place.explain(&what, e))?;
        let spec =
            set.spec.and_then(|s| s.template.spec).context("the designer's set has no pod")?;
        let pods: Api<Pod> = Api::namespaced(place.client.clone(), &place.namespace);
        let pod = Pod { metadata: metadata(name, model), spec: Some(keeping(spec)?), status: None };
        let made = pods.create(&PostParams::default(), &pod).await;
        let made = made.map_err(|e| place.explain("a pod that opens the checkpoints", e))?;
        let pod = made.metadata.name.unwrap_or_default();
        output::note(format!(
            "no designer of {name} runs: pod {pod} opens its checkpoints for you"
        ));
        let keeper = Self { pods, pod };
        if let Err(error) = keeper.wait().await {
            keeper.end().await?;
            return Err(error);
        }
        Ok(keeper)
    }

    /// The pod's name.
    pub fn pod(&self) -> &str {
        &self.pod
    }

    async fn wait(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let found = self.pods.get(&self.pod).await?.status.unwrap_or_default();
            let statuses = found.container_statuses.unwrap_or_default();
            if statuses.iter().any(|status| status.started == Some(true)) {
                return Ok(());
            }
            if matches!(found.phase.as_deref(), Some("Failed" | "Succeeded")) {
                bail!("pod {} has ended: {}", self.pod, found.message.unwrap_or_default());
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("pod {} does not start: kubectl describe pod says why", self.pod)
    }

    /// Removes it.
    pub async fn end(self) -> anyhow::Result<()> {
        let removed = self.pods.delete(&self.pod, &DeleteParams::default()).await;
        removed.map(drop).with_context(|| format!("removing pod {}", self.pod))
    }
}

/// No label of the designer's, whose set would take it for its own. It goes with the model.
fn metadata(name: &str, model: &MixNNModel) -> ObjectMeta {
    ObjectMeta {
        generate_name: Some(format!("{name}-keeper-")),
        labels: Some([("app.kubernetes.io/name".into(), "mixnn-keeper".into())].into()),
        owner_references: model.owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

fn keeping(mut spec: PodSpec) -> anyhow::Result<PodSpec> {
    let container = spec.containers.first_mut().context("the designer's pod has no container")?;
    let args = container.args.take().unwrap_or_default();
    let flags = args.windows(2).filter(|pair| KEPT.contains(&pair[0].as_str()));
    let keep = std::iter::once("keep".to_owned()).chain(flags.flat_map(<[String]>::to_vec));
    container.args = Some(keep.collect());
    spec.restart_policy = Some("Never".into());
    spec.active_deadline_seconds = Some(LIFE);
    Ok(spec)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_the_designers_pod_with_another_command() {
        let args = [
            "train",
            "--file",
            "/etc/mixnn/model.yaml",
            "--owner-secret",
            "/a/owner-secret",
            "--checkpoints",
            "/checkpoints/net",
            "--checkpoint-key",
            "/a/key",
            "--checkpoint-every",
            "100",
            "--page",
            "127.0.0.1:8765",
            "--record",
            "/tmp/record",
        ];
        let spec = json!({"containers": [{"name": "designer", "image": "x", "args": args}], "serviceAccountName": "net-designer"});
        let kept = keeping(serde_json::from_value(spec).unwrap()).unwrap();
        let expected = [
            "keep",
            "--owner-secret",
            "/a/owner-secret",
            "--checkpoints",
            "/checkpoints/net",
            "--checkpoint-key",
            "/a/key",
            "--page",
            "127.0.0.1:8765",
            "--record",
            "/tmp/record",
        ];
        assert_eq!(kept.containers[0].args.as_deref().unwrap(), expected);
        assert_eq!(kept.service_account_name.as_deref(), Some("net-designer"));
        assert_eq!(kept.restart_policy.as_deref(), Some("Never"));
    }
}
