//! The operator's own Secrets: its key, the issuer's key, the CA. Made by whichever replica is first.

use crate::ca::{Authorities, CaError};
use crate::keys::{KeyError, OperatorKey};
use crate::labels;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use kube::{Api, Client};
use mixnn_protocol::admission::{AdmissionError, Issuer};
use std::collections::BTreeMap;

const KEY: &str = "mixnn-operator-key";
const ISSUER: &str = "mixnn-admission-key";
const CA: &str = "mixnn-registration-ca";

/// Why the operator's Secrets are of no use.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The API.
    #[error("failed to keep the Secret {name}: {source}")]
    Api {
        /// Which.
        name: &'static str,
        /// What the API said.
        source: kube::Error,
    },
    /// The operator's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The issuer's key.
    #[error("the Secret {ISSUER} holds no key: {0}")]
    Issuer(#[from] AdmissionError),
    /// The CA.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// What is in it is not understood.
    #[error(
        "the Secret {name} is not understood: {problem}; restore it from a backup, or delete it to have a new one made"
    )]
    Content {
        /// Which.
        name: &'static str,
        /// What is wrong.
        problem: String,
    },
}

/// The Secrets of a platform.
pub struct Secrets {
    api: Api<Secret>,
}

type Entries = BTreeMap<String, Vec<u8>>;

impl Secrets {
    /// Those of this namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace) }
    }

    /// The operator's key.
    ///
    /// # Errors
    /// The API does not answer, or the Secret is broken.
    pub async fn key(&self) -> Result<OperatorKey, SecretError> {
        let fresh = || OperatorKey::generate("k1").map_err(SecretError::from);
        Ok(OperatorKey::from_entries(self.get_or_make(KEY, fresh).await?)?)
    }

    /// The issuer of admission tokens: every replica signs with the same key.
    ///
    /// # Errors
    /// The API does not answer, or the Secret is broken.
    pub async fn issuer(&self) -> Result<Issuer, SecretError> {
        if self.read(ISSUER).await?.is_none() {
            let made = tokio::task::spawn_blocking(Issuer::generate).await;
            let made = made.map_err(|_| AdmissionError::Key)??;
            let entries = [("key.der".to_owned(), made.private_der()?.to_vec())].into();
            self.create(ISSUER, entries).await?;
        }
        let entries = self.read(ISSUER).await?.unwrap_or_default();
        let der = entries.get("key.der").ok_or(AdmissionError::Key)?;
        Ok(Issuer::from_private_der(der)?)
    }

    /// The CAs as they shall be at this time: rotated if that is due.
    ///
    /// # Errors
    /// The API does not answer, or the Secret is broken.
    pub async fn authorities(
        &self,
        now: Timestamp,
        life: SignedDuration,
    ) -> Result<Authorities, SecretError> {
        loop {
            let found = self.api.get_opt(CA).await;
            let found = found.map_err(|source| SecretError::Api { name: CA, source })?;
            let mut cas = match &found {
                None => Authorities::none(),
                Some(secret) => parse_ca(secret)?,
            };
            if !cas.rotate(now, life)? {
                return Ok(cas);
            }
            let text = serde_json::to_vec(&cas).unwrap_or_default();
            let mut secret = secret(CA, [("cas.json".to_owned(), text)].into());
            let params = PostParams::default();
            let written = match found {
                None => self.api.create(&params, &secret).await,
                Some(found) => {
                    secret.metadata.resource_version = found.metadata.resource_version;
                    self.api.replace(CA, &params, &secret).await
                }
            };
            match written {
                Ok(_) => return Ok(cas),
                // Another replica was first: take what it made.
                Err(kube::Error::Api(s)) if s.is_conflict() || s.is_already_exists() => {}
                Err(source) => return Err(SecretError::Api { name: CA, source }),
            }
        }
    }

    async fn get_or_make(
        &self,
        name: &'static str,
        make: impl FnOnce() -> Result<Entries, SecretError>,
    ) -> Result<Entries, SecretError> {
        if let Some(entries) = self.read(name).await? {
            return Ok(entries);
        }
        self.create(name, make()?).await?;
        Ok(self.read(name).await?.unwrap_or_default())
    }

    async fn read(&self, name: &'static str) -> Result<Option<Entries>, SecretError> {
        let found = self.api.get_opt(name).await;
        let found = found.map_err(|source| SecretError::Api { name, source })?;
        let entries =
            |s: Secret| s.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).collect();
        Ok(found.map(entries))
    }

    async fn create(&self, name: &'static str, entries: Entries) -> Result<(), SecretError> {
        match self.api.create(&PostParams::default(), &secret(name, entries)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
            Err(source) => Err(SecretError::Api { name, source }),
        }
    }
}

fn parse_ca(secret: &Secret) -> Result<Authorities, SecretError> {
    let content = |problem: String| SecretError::Content { name: CA, problem };
    let text = secret.data.as_ref().and_then(|d| d.get("cas.json"));
    let text = text.ok_or_else(|| content("it has no cas.json".into()))?;
    serde_json::from_slice(&text.0).map_err(|e| content(e.to_string()))
}

fn secret(name: &str, entries: Entries) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(labels::MANAGED_BY.to_owned(), labels::OPERATOR.to_owned())].into()),
            ..Default::default()
        },
        data: Some(entries.into_iter().map(|(k, v)| (k, ByteString(v))).collect()),
        ..Default::default()
    }
}
