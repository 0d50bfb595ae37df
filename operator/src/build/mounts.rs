//! What a designer finds in its pod, and the arguments that tell it where.

use super::designer::designer_name;
use k8s_openapi::api::core::v1::{
    ConfigMapProjection, ConfigMapVolumeSource, EnvFromSource, KeyToPath,
    PersistentVolumeClaimVolumeSource, ProjectedVolumeSource, SecretEnvSource, SecretVolumeSource,
    ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use mixnn_crds::{CheckpointStore, CheckpointsSpec, DESIGNER_PAGE_PORT, MixNNModel};
use mixnn_model::{DataSource, ObjectStoreSource, VolumeSource};

/// Seconds that the designer's token for the API server is good for. Kubernetes renews it.
const TOKEN_SECONDS: i64 = 3600;

/// Volumes, mounts and arguments of a designer.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) volumes: Vec<Volume>,
    pub(super) at: Vec<VolumeMount>,
    pub(super) args: Vec<String>,
    pub(super) env_from: Vec<EnvFromSource>,
}

/// Whether the designer needs keys that no Secret of the owner's holds yet.
pub(super) fn needs_keys(model: &MixNNModel) -> bool {
    model.spec.training.seed_from.is_none() || model.spec.checkpoints.is_some()
}

/// All that this model's designer finds.
pub(super) fn mounts(model: &MixNNModel) -> Mounts {
    let mut all = Mounts::default();
    all.args(["train", "--file", "/etc/mixnn/model.yaml", "--cluster", "/var/run/mixnn-api"]);
    all.model(model);
    all.api();
    all.keys(model);
    if let Some(layers) = &model.spec.layers_from {
        let secret = &layers.secret_ref;
        all.secret("layers", &secret.name, Some((&secret.key, "layers.yaml")), "/etc/mixnn-layers");
        all.args(["--layers", "/etc/mixnn-layers/layers.yaml"]);
    }
    match &model.spec.training.data_from {
        Some(DataSource::PersistentVolumeClaim(claim)) => {
            all.claim("data", claim, "/data", true);
            all.args(["--data", "/data"]);
        }
        Some(DataSource::ObjectStore(store)) => all.settings(store),
        None => {}
    }
    all.watched(model);
    if let Some(checkpoints) = &model.spec.checkpoints {
        all.checkpoints(model, checkpoints);
    }
    // Whether it is there yet or not: the training does not wait for it.
    if let Some(tls) = model.spec.serving.as_ref().and_then(|s| s.tls.as_ref()) {
        all.secret("serving-tls", &tls.secret_ref.name, None, "/etc/mixnn-serving");
    }
    all
}

impl Mounts {
    fn args<const N: usize>(&mut self, args: [&str; N]) {
        self.args.extend(args.map(str::to_owned));
    }

    fn mount(&mut self, volume: Volume, path: &str, read_only: bool) {
        self.at.push(VolumeMount {
            name: volume.name.clone(),
            mount_path: path.into(),
            read_only: read_only.then_some(true),
            ..VolumeMount::default()
        });
        self.volumes.push(volume);
    }

    fn model(&mut self, model: &MixNNModel) {
        let file = ConfigMapVolumeSource { name: designer_name(model), ..Default::default() };
        let volume = Volume { name: "model".into(), config_map: Some(file), ..Default::default() };
        self.mount(volume, "/etc/mixnn", true);
    }

    /// Token and CA of the API server.
    fn api(&mut self) {
        let token = ServiceAccountTokenProjection {
            audience: None,
            expiration_seconds: Some(TOKEN_SECONDS),
            path: "token".into(),
        };
        let ca = ConfigMapProjection {
            name: "kube-root-ca.crt".into(),
            items: Some(vec![KeyToPath {
                key: "ca.crt".into(),
                path: "ca.crt".into(),
                mode: None,
            }]),
            optional: None,
        };
        let sources = vec![
            VolumeProjection { service_account_token: Some(token), ..Default::default() },
            VolumeProjection { config_map: Some(ca), ..Default::default() },
        ];
        let projected = ProjectedVolumeSource { default_mode: Some(0o440), sources: Some(sources) };
        let volume =
            Volume { name: "api".into(), projected: Some(projected), ..Default::default() };
        self.mount(volume, "/var/run/mixnn-api", true);
    }

    /// The owner's secret from where the owner says, or beside the checkpoint keys in a Secret that the
    /// designer makes if it is not there.
    fn keys(&mut self, model: &MixNNModel) {
        if needs_keys(model) {
            self.secret("owner", &model.owner_secret_name(), None, "/etc/mixnn-owner");
        }
        let mut owner_secret = "/etc/mixnn-owner/owner-secret";
        if let Some(seed) = &model.spec.training.seed_from {
            let from = &seed.secret_key_ref;
            let item = (from.key.as_str(), "owner-secret");
            self.secret("owner-secret", &from.name, Some(item), "/etc/mixnn-secret");
            owner_secret = "/etc/mixnn-secret/owner-secret";
        }
        self.args(["--owner-secret", owner_secret]);
    }

    /// A Secret: one key of it as a file, or all of it if it is there.
    fn secret(&mut self, volume: &str, name: &str, item: Option<(&str, &str)>, path: &str) {
        let items = item
            .map(|(key, path)| vec![KeyToPath { key: key.into(), path: path.into(), mode: None }]);
        let secret = SecretVolumeSource {
            secret_name: Some(name.into()),
            optional: items.is_none().then_some(true),
            items,
            default_mode: Some(0o440),
        };
        let volume = Volume { name: volume.into(), secret: Some(secret), ..Default::default() };
        self.mount(volume, path, true);
    }

    fn claim(&mut self, volume: &str, claim: &VolumeSource, path: &str, read_only: bool) {
        let source = PersistentVolumeClaimVolumeSource {
            claim_name: claim.claim_name.clone(),
            read_only: read_only.then_some(true),
        };
        let volume = Volume {
            name: volume.into(),
            persistent_volume_claim: Some(source),
            ..Default::default()
        };
        self.mount(volume, path, read_only);
    }

    /// Settings of an object store, if they are not the account's own.
    fn settings(&mut self, store: &ObjectStoreSource) {
        self.env_from.extend(store.secret_ref.iter().map(|secret| env_of(&secret.name)));
    }

    /// The record, the owner's page on the pod's own loopback, and what else the owner wants to know.
    fn watched(&mut self, model: &MixNNModel) {
        self.args(["--record", "/tmp/events.jsonl"]);
        self.args(["--page", &format!("127.0.0.1:{DESIGNER_PAGE_PORT}")]);
        let Some(designer) = &model.spec.designer else { return };
        if designer.timings {
            self.args(["--timings"]);
        }
        if let Some(mlflow) = &designer.mlflow {
            let uid = model.metadata.uid.as_deref().unwrap_or_default();
            self.args(["--mlflow", &mlflow.url, "--mlflow-experiment", &mlflow.experiment]);
            self.args(["--mlflow-key", uid]);
            self.env_from.extend(mlflow.secret_ref.iter().map(|secret| env_of(&secret.name)));
        }
    }

    fn checkpoints(&mut self, model: &MixNNModel, checkpoints: &CheckpointsSpec) {
        let place = match &checkpoints.store {
            CheckpointStore::PersistentVolumeClaim(claim) => {
                self.claim("checkpoints", claim, "/checkpoints", false);
                // More models may use the same claim.
                format!("/checkpoints/{}", model.metadata.name.as_deref().unwrap_or_default())
            }
            CheckpointStore::ObjectStore(store) => {
                self.settings(store);
                store.url.trim_end_matches('/').to_owned()
            }
        };
        self.args(["--checkpoints", &place, "--checkpoint-key", "/etc/mixnn-owner/checkpoint-key"]);
        self.args(["--checkpoint-every", &checkpoints.every_steps.to_string()]);
        self.args(["--checkpoint-keep", &checkpoints.keep.to_string()]);
        self.args(["--weights", &format!("{place}/model.safetensors")]);
    }
}

/// All keys of a Secret as variables.
fn env_of(secret: &str) -> EnvFromSource {
    EnvFromSource {
        secret_ref: Some(SecretEnvSource { name: secret.to_owned(), optional: None }),
        ..EnvFromSource::default()
    }
}
