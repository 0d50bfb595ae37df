//! How far each model has come, and which designer drives it: one ConfigMap a model, changed by
//! compare-and-swap, so that of two designers, at any replicas, one loses.

use super::backend::{ClusterRegistry, TRIES, unavailable};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use mixnn_directory::{Identity, ModelKey, Refused, Registry, Seat};
use mixnn_protocol::registration::{Advance, Head};

fn name(workload: &str) -> String {
    format!("head-{workload}")
}

/// The seat in a ConfigMap. One that is not understood is not taken for a fresh one.
fn read(map: &ConfigMap) -> Result<Seat, Refused> {
    let text = map.data.as_ref().and_then(|d| d.get("head.json"));
    let seat = text.and_then(|t| serde_json::from_str(t).ok());
    seat.ok_or_else(|| Refused::Unavailable("the kept head is not understood".into()))
}

impl ClusterRegistry {
    async fn seat(&self, workload: &str) -> Result<(Seat, Option<ConfigMap>), Refused> {
        let found = self.context().maps().get_opt(&name(workload)).await.map_err(unavailable)?;
        let seat = found.as_ref().map(read).transpose()?.unwrap_or_default();
        Ok((seat, found))
    }

    /// How far the designer's model has come.
    pub(super) async fn head_of(&self, identity: &Identity) -> Result<Head, Refused> {
        let ModelKey(workload) = Registry::designer(identity)?;
        Ok(self.seat(workload).await?.0.head)
    }

    /// Whether the designer may still speak for its model.
    pub(super) async fn allows(&self, identity: &Identity) -> Result<(), Refused> {
        let ModelKey(workload) = Registry::designer(identity)?;
        self.seat(workload).await?.0.allows(identity)
    }

    /// Compare-and-swap in the API server.
    pub(super) async fn swap(
        &self,
        identity: &Identity,
        advance: &Advance,
    ) -> Result<Head, Refused> {
        let ModelKey(workload) = Registry::designer(identity)?;
        for _ in 0..TRIES {
            let (mut seat, found) = self.seat(workload).await?;
            let head = seat.advance(identity, advance)?;
            let mut map = self.head_map(workload, &seat).await?;
            let maps = self.context().maps();
            let written = match found {
                Some(found) => {
                    map.metadata.resource_version = found.metadata.resource_version;
                    maps.replace(&name(workload), &PostParams::default(), &map).await
                }
                None => maps.create(&PostParams::default(), &map).await,
            };
            match written {
                Ok(_) => return Ok(head),
                // Somebody else's came first: it is judged anew by what is there now.
                Err(kube::Error::Api(s)) if s.is_conflict() || s.is_already_exists() => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(Refused::Unavailable("others write the same head".into()))
    }

    async fn head_map(&self, workload: &str, seat: &Seat) -> Result<ConfigMap, Refused> {
        let text = serde_json::to_string(seat).map_err(|e| Refused::Unavailable(e.to_string()))?;
        Ok(ConfigMap {
            metadata: self.metadata(name(workload), "head", workload).await?,
            data: Some([("head.json".to_owned(), text)].into()),
            ..Default::default()
        })
    }
}
