//! The owner's keys: made once per model by its first designer, kept in a Secret that is mounted.
//!
//! The designer may create Secrets and read none: what is there already comes by the mount. So of two
//! designers that start at once one makes the Secret, and the other one waits for the mount.

use crate::{Cluster, ClusterError};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use kube::api::PostParams;
use mixnn_crds::MixNNModel;
use std::path::Path;
use std::time::{Duration, Instant};
use zeroize::{Zeroize, Zeroizing};

/// Key of the Secret: 64 hexadecimal digits.
pub const OWNER_SECRET: &str = "owner-secret";
/// Key of the Secret: lines of 64 hexadecimal digits, of which the first one seals.
pub const CHECKPOINT_KEY: &str = "checkpoint-key";

/// Kubelets bring a Secret that came after its pod within a minute and a half.
const MOUNT: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(500);

/// The owner's keys as text, as the Secret holds them.
pub struct OwnerKeys {
    /// Of initial weights and order of data.
    pub owner_secret: Zeroizing<String>,
    /// Of checkpoints.
    pub checkpoint_key: Zeroizing<String>,
}

impl Cluster {
    /// Makes the owner's keys, unless somebody did before; then waits until `mounted`, all files of the
    /// Secret that are needed, are there, and gives nothing.
    ///
    /// # Errors
    /// The API server refuses or does not answer, or a file does not come.
    pub fn make_keys(&self, mounted: &[&Path]) -> Result<Option<OwnerKeys>, ClusterError> {
        let keys = OwnerKeys { owner_secret: draw()?, checkpoint_key: draw()? };
        let mut secret = secret(&self.model, &keys);
        let name = self.model.owner_secret_name();
        let what = format!("making Secret {name} with the owner's keys");
        let params = PostParams::default();
        let made = self.ask(&what, || self.secrets.create(&params, &secret));
        for value in secret.data.iter_mut().flat_map(|d| d.values_mut()) {
            value.0.zeroize();
        }
        match made {
            Ok(_) => {
                tracing::info!(name, "made the owner's keys: back this Secret up");
                Ok(Some(keys))
            }
            Err(ClusterError::Api { source, .. }) if is_there(&source) => {
                wait_for_keys(&self.model, mounted).map(|()| None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Waits until the owner's keys are mounted: a Secret that was made while its pod ran comes later.
///
/// # Errors
/// One does not come.
pub fn wait_for_keys(model: &MixNNModel, files: &[&Path]) -> Result<(), ClusterError> {
    files.iter().try_for_each(|file| wait_for(file, &model.owner_secret_name()))
}

fn is_there(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_already_exists())
}

fn wait_for(path: &Path, secret: &str) -> Result<(), ClusterError> {
    tracing::info!(secret, "the owner's keys are there; waiting for their mount");
    let start = Instant::now();
    while !path.exists() {
        if start.elapsed() > MOUNT {
            let (name, path) = (secret.to_owned(), path.to_owned());
            return Err(ClusterError::NotMounted { name, path, seconds: MOUNT.as_secs() });
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn draw() -> Result<Zeroizing<String>, ClusterError> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut bytes[..]).map_err(std::io::Error::from)?;
    Ok(Zeroizing::new(hex::encode(&bytes[..])))
}

/// What checkpoints need outlives the model; without checkpoints the keys go with it.
fn secret(model: &MixNNModel, keys: &OwnerKeys) -> Secret {
    let name = model.metadata.name.clone().unwrap_or_default();
    let owner = OwnerReference {
        api_version: MixNNModel::api_version(&()).into_owned(),
        kind: MixNNModel::kind(&()).into_owned(),
        name: name.clone(),
        uid: model.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    Secret {
        metadata: ObjectMeta {
            name: Some(model.owner_secret_name()),
            namespace: model.metadata.namespace.clone(),
            labels: Some([("mixnn.dev/model".to_owned(), name)].into()),
            owner_references: model.spec.checkpoints.is_none().then(|| vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".into()),
        data: Some(
            [
                (OWNER_SECRET.to_owned(), bytes(&keys.owner_secret)),
                (CHECKPOINT_KEY.to_owned(), bytes(&keys.checkpoint_key)),
            ]
            .into(),
        ),
        ..Secret::default()
    }
}
