//! What is registered: one ConfigMap a pod, written before the answer leaves.

use super::turns::Turns;
use crate::books::uses_pool;
use crate::context::Context;
use crate::labels;
use crate::record::{Role, WorkloadRef};
use crate::watch::read_registration;
use crate::world::Kept;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use mixnn_crds::SuiteName;
use mixnn_directory::{Backend, Identity, ModelKey, Refused, Registry, check};
use mixnn_protocol::registration::{
    Advance, Claims, Directory, DirectoryEntry, Head, LONG_POLL_SECONDS, NodeClass, NodeDetail,
    Registered, Registration, Reviewed,
};
use mixnn_protocol::{Claim, NodeId, Suite, SystemRng};
use std::sync::Arc;
use std::time::Duration;

/// The epoch of keys. One per pool for its whole life, until epochs are drawn.
const EPOCH: u32 = 1;
/// The most claims in stock for one model: a ConfigMap holds 1 MiB.
const MAX_CLAIMS: usize = 16_384;
/// For so long changes of the shared pool's directory are gathered.
const GATHER: Duration = Duration::from_millis(250);
/// How often a write that met another is tried again.
pub(super) const TRIES: usize = 8;

/// Registrations in the API server.
pub struct ClusterRegistry {
    context: Arc<Context>,
    admission_key: Vec<u8>,
    pub(super) turns: Turns,
}

impl ClusterRegistry {
    /// `admission_key`: the issuer's public key in DER.
    pub fn new(context: Arc<Context>, admission_key: Vec<u8>) -> Self {
        Self { context, admission_key, turns: Turns::new() }
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    fn suite(&self, workload: &str) -> Option<Suite> {
        let record = self.context.world.record_of(workload)?;
        Some(match record.record.pin.suite {
            SuiteName::XWing => Suite::XWing,
            SuiteName::X25519 => Suite::X25519,
        })
    }

    /// The claim that a layer pod's slot is to get.
    async fn claim(&self, workload: &str, uid: &str) -> Result<Claim, Refused> {
        let record =
            self.context.world.record_of(workload).ok_or(Refused::Forbidden("any model"))?;
        let slot = record.record.slots.iter().find(|s| s.uid.as_deref() == Some(uid));
        let number = slot.ok_or(Refused::Forbidden("any model"))?.claim as usize;
        let map = self.context.maps().get_opt(&claims_name(workload)).await.map_err(unavailable)?;
        let stock = map.as_ref().map(read_claims).unwrap_or_default();
        stock.get(number).copied().ok_or(Refused::NoClaim)
    }

    async fn kept(&self, uid: &str) -> Result<Option<Arc<Kept>>, Refused> {
        if let Some(kept) = self.context.world.registration_of(uid) {
            return Ok(Some(kept));
        }
        let found = self.context.maps().get_opt(&name(uid)).await.map_err(unavailable)?;
        Ok(found.as_ref().and_then(read_registration).map(Arc::new))
    }
}

impl Backend for ClusterRegistry {
    async fn register(
        &self,
        identity: &Identity,
        registration: Registration,
    ) -> Result<Registered, Refused> {
        if identity.class != registration.class {
            return Err(Refused::Forbidden("a node of this class"));
        }
        let Some(ModelKey(workload)) = &identity.model else {
            return Err(Refused::Forbidden("any model"));
        };
        let suite = self.suite(workload).ok_or(Refused::Forbidden("any model"))?;
        check(suite, &registration)?;
        if let Some(kept) = self.kept(&identity.uid).await? {
            if identity.class == NodeClass::Designer && kept.registration != registration {
                return self.restarted(&kept, registration).await;
            }
            return again(&kept, &registration);
        }
        let claim = match identity.class {
            NodeClass::Layer => Some(self.claim(workload, &identity.uid).await?),
            NodeClass::Relay | NodeClass::Designer => None,
        };
        let id = NodeId::random(&mut SystemRng);
        let admission_key = self.admission_key.clone();
        let kept = Kept {
            pod_uid: identity.uid.clone(),
            workload: workload.clone(),
            registration: registration.clone(),
            answer: Registered { id, claim, admission_key },
            host_domain: identity.host_domain.clone(),
            node_domain: identity.node_domain.clone(),
        };
        let map = self.map(&kept).await?;
        match self.context.maps().create(&PostParams::default(), &map).await {
            Ok(_) => {
                let answer = kept.answer.clone();
                self.context.world.registration(&identity.uid, Some(kept));
                if identity.class == NodeClass::Designer {
                    self.forget_designers_before(workload, &identity.uid).await;
                }
                if let Some(record) = self.context.world.record_of(workload) {
                    self.context.wake(record.record.workload.clone());
                }
                Ok(answer)
            }
            // The same pod, at another replica or with a reply that was lost.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let kept = self.kept(&identity.uid).await?;
                let kept =
                    kept.ok_or_else(|| Refused::Unavailable("it changed meanwhile".into()))?;
                again(&kept, &registration)
            }
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn directory(
        &self,
        identity: &Identity,
        after: Option<u64>,
    ) -> Result<Directory, Refused> {
        if identity.class == NodeClass::Designer {
            self.allows(identity).await?;
        }
        let Some(ModelKey(workload)) = &identity.model else {
            return Err(Refused::Forbidden("any model"));
        };
        let mut changes = self.context.world.changes(workload);
        let patience = tokio::time::sleep(Duration::from_secs(LONG_POLL_SECONDS));
        tokio::pin!(patience);
        loop {
            changes.mark_unchanged();
            let directory = self.visible(identity)?;
            if after != Some(directory.version) {
                return Ok(directory);
            }
            tokio::select! {
                () = &mut patience => return Ok(directory),
                Ok(()) = changes.changed() => {}
            }
            if workload == WorkloadRef::SHARED {
                // It is that of all models that use the pool: what changes meanwhile comes with it.
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    async fn head(&self, identity: &Identity) -> Result<Head, Refused> {
        self.head_of(identity).await
    }

    async fn advance(&self, identity: &Identity, advance: &Advance) -> Result<Head, Refused> {
        self.swap(identity, advance).await
    }

    async fn driver(&self, identity: &Identity) -> Result<(), Refused> {
        self.allows(identity).await
    }

    async fn publish(&self, identity: &Identity, claims: Vec<Claim>) -> Result<(), Refused> {
        let ModelKey(workload) = Registry::designer(identity)?;
        self.allows(identity).await?;
        for _ in 0..TRIES {
            let maps = self.context.maps();
            let found = maps.get_opt(&claims_name(workload)).await.map_err(unavailable)?;
            let mut stock = found.as_ref().map(read_claims).unwrap_or_default();
            // Published again: the reply was lost.
            let fresh: Vec<_> = claims.iter().filter(|c| !stock.contains(c)).copied().collect();
            if fresh.is_empty() {
                return Ok(());
            }
            if stock.len() + fresh.len() > MAX_CLAIMS {
                return Err(Refused::TooMany("claims"));
            }
            stock.extend(fresh);
            let mut map = self.claims_map(workload, stock).await?;
            let written = match found {
                Some(found) => {
                    map.metadata.resource_version = found.metadata.resource_version.clone();
                    maps.replace(&claims_name(workload), &PostParams::default(), &map).await
                }
                None => maps.create(&PostParams::default(), &map).await,
            };
            match written {
                Ok(_) => return Ok(()),
                Err(kube::Error::Api(s)) if s.is_conflict() || s.is_already_exists() => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(Refused::Unavailable("others write the same stock of claims".into()))
    }

    async fn review(&self, identity: &Identity, token: &str) -> Result<Reviewed, Refused> {
        self.reviewed(identity, token).await
    }

    fn answered(&self, outcome: &'static str) {
        crate::metrics::Metrics::count(&self.context.metrics.registrations, outcome);
    }
}

impl ClusterRegistry {
    /// What the caller may see. The version follows from it alone, so that all replicas give the same.
    fn visible(&self, identity: &Identity) -> Result<Directory, Refused> {
        let Some(ModelKey(workload)) = &identity.model else {
            return Err(Refused::Forbidden("any model"));
        };
        let sees = |role: Role| identity.class != NodeClass::Layer || role == Role::Relay;
        let members = members(&self.context, workload, self.uses_shared(workload));
        let mut seen: Vec<_> =
            members.into_iter().filter(|(role, _)| sees(*role)).map(|(_, kept)| kept).collect();
        if identity.class == NodeClass::Relay {
            // Lanes begin and end at the designer.
            seen.extend(designers(&self.context, workload));
        }
        let detailed = identity.class == NodeClass::Designer;
        let mut nodes: Vec<_> = seen.iter().map(|kept| entry(kept, detailed)).collect();
        nodes.sort_by_key(|n| n.id);
        let version = version(&nodes);
        Ok(Directory { epoch: EPOCH, version, nodes })
    }

    /// A designer's container starts again in its pod, with a new key. Its term fences it, not its key.
    async fn restarted(
        &self,
        kept: &Kept,
        registration: Registration,
    ) -> Result<Registered, Refused> {
        let kept = Kept { registration, ..kept.clone() };
        let (map, params) = (self.map(&kept).await?, PostParams::default());
        let written = self.context.maps().replace(&name(&kept.pod_uid), &params, &map).await;
        written.map_err(unavailable)?;
        let answer = kept.answer.clone();
        self.context.world.registration(&kept.pod_uid.clone(), Some(kept));
        Ok(answer)
    }

    /// There is one pod of a designer's name at a time: those that registered before are gone.
    async fn forget_designers_before(&self, workload: &str, uid: &str) {
        for old in self.context.world.designers(workload) {
            if old.pod_uid == uid {
                continue;
            }
            let (maps, params) = (self.context.maps(), DeleteParams::default());
            let deleted = maps.delete(&name(&old.pod_uid), &params).await;
            match crate::context::gone(deleted.map(drop)) {
                Ok(()) => self.context.world.registration(&old.pod_uid, None),
                Err(error) => tracing::warn!(%error, "an old registration stays for now"),
            }
        }
    }

    fn uses_shared(&self, workload: &str) -> bool {
        let record = self.context.world.record_of(workload);
        record.is_some_and(|r| uses_pool(&r.record))
    }

    /// The record owns what is registered: with it, all of it goes.
    async fn owner(&self, workload: &str) -> Result<OwnerReference, Refused> {
        let name = format!("run-{workload}");
        let found = self.context.maps().get_opt(&name).await.map_err(unavailable)?;
        let uid =
            found.as_ref().and_then(ResourceExt::uid).ok_or(Refused::Forbidden("any model"))?;
        Ok(OwnerReference {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            name,
            uid,
            ..Default::default()
        })
    }

    pub(super) async fn metadata(
        &self,
        name: String,
        kind: &str,
        workload: &str,
    ) -> Result<ObjectMeta, Refused> {
        let own = [
            (labels::MANAGED_BY, labels::OPERATOR),
            (labels::RECORD, kind),
            (labels::WORKLOAD, workload),
        ];
        Ok(ObjectMeta {
            name: Some(name),
            labels: Some(own.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            owner_references: Some(vec![self.owner(workload).await?]),
            ..Default::default()
        })
    }

    async fn map(&self, kept: &Kept) -> Result<ConfigMap, Refused> {
        let text = serde_json::to_string(kept).map_err(|e| Refused::Unavailable(e.to_string()))?;
        Ok(ConfigMap {
            metadata: self.metadata(name(&kept.pod_uid), "registration", &kept.workload).await?,
            data: Some([("registration.json".to_owned(), text)].into()),
            ..Default::default()
        })
    }

    async fn claims_map(&self, workload: &str, claims: Vec<Claim>) -> Result<ConfigMap, Refused> {
        let text = serde_json::to_string(&Claims { claims });
        let text = text.map_err(|e| Refused::Unavailable(e.to_string()))?;
        Ok(ConfigMap {
            metadata: self.metadata(claims_name(workload), "claims", workload).await?,
            data: Some([("claims.json".to_owned(), text)].into()),
            ..Default::default()
        })
    }
}

fn name(uid: &str) -> String {
    format!("node-{uid}")
}

fn claims_name(workload: &str) -> String {
    format!("claims-{workload}")
}

fn read_claims(map: &ConfigMap) -> Vec<Claim> {
    let text = map.data.as_ref().and_then(|d| d.get("claims.json"));
    let claims = text.and_then(|t| serde_json::from_str::<Claims>(t).ok());
    claims.map(|c| c.claims).unwrap_or_default()
}

fn again(kept: &Kept, registration: &Registration) -> Result<Registered, Refused> {
    if kept.registration == *registration {
        Ok(kept.answer.clone())
    } else {
        Err(Refused::Conflict)
    }
}

pub(super) fn unavailable(error: kube::Error) -> Refused {
    tracing::warn!(%error, "the API server does not answer a registration");
    Refused::Unavailable("the API server does not answer".into())
}

fn entry(kept: &Kept, detailed: bool) -> DirectoryEntry {
    let detail = || NodeDetail {
        class: kept.registration.class,
        suite: kept.registration.suite,
        public_key: kept.registration.public_key.clone(),
        profile: kept.registration.profile.clone(),
        claim: kept.answer.claim,
        host_domain: kept.host_domain.clone(),
        node_domain: kept.node_domain.clone(),
    };
    DirectoryEntry {
        id: kept.answer.id,
        url: kept.registration.url.clone(),
        detail: detailed.then(detail),
    }
}

/// Registered pods of a workload, the shared relays with them if it uses those. Relays of the pool
/// must reach the pods of every model that uses it.
fn members(context: &Context, workload: &str, shared: bool) -> Vec<(Role, Arc<Kept>)> {
    let mut all = context.world.registrations(workload);
    if workload == WorkloadRef::SHARED {
        let users = context.world.users_of_the_pool().into_iter();
        all.extend(users.flat_map(|user| context.world.registrations(&user.uid)));
    } else if shared {
        all.extend(context.world.registrations(WorkloadRef::SHARED));
    }
    all
}

/// Designers that relays of a workload must reach.
fn designers(context: &Context, workload: &str) -> Vec<Arc<Kept>> {
    if workload == WorkloadRef::SHARED {
        let users = context.world.users_of_the_pool().into_iter();
        return users.flat_map(|user| context.world.designers(&user.uid)).collect();
    }
    context.world.designers(workload)
}

/// The directory of a model, for its owner's namespace: its pods and its relays, in the order of ids.
pub fn directory_of(context: &Context, workload: &WorkloadRef, shared: bool) -> Directory {
    let members = members(context, &workload.uid, shared);
    let mut nodes: Vec<_> = members.iter().map(|(_, kept)| entry(kept, true)).collect();
    nodes.sort_by_key(|n| n.id);
    Directory { epoch: EPOCH, version: version(&nodes), nodes }
}

/// Another one whenever the nodes are others. Of 53 bits: numbers in JSON are doubles to some readers.
fn version(nodes: &[DirectoryEntry]) -> u64 {
    let text = serde_json::to_vec(nodes).unwrap_or_default();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    let first = digest.as_ref().iter().take(8);
    first.fold(0, |all, byte| all << 8 | u64::from(*byte)) >> 11
}
