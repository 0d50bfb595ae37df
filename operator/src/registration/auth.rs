//! Who calls: a pod, by its projected ServiceAccount token.

use super::backend::unavailable;
use super::tokens::{Bound, Remembered, Said};
use crate::build::designer_name;
use crate::context::Context;
use crate::labels;
use crate::record::{Role, WorkloadRef};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use mixnn_crds::MixNNModel;
use mixnn_directory::{Authenticator, Identity, ModelKey, Refused};
use mixnn_protocol::registration::NodeClass;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Semaphore;

/// Questions about tokens to the API server at the same time, and those that wait to be asked.
const AT_ONCE: usize = 16;
const WAITING: usize = 512;

/// Tells pods by their tokens.
pub struct PodTokens {
    context: Arc<Context>,
    remembered: Mutex<Remembered>,
    asking: Semaphore,
    waiting: Semaphore,
}

impl Authenticator for PodTokens {
    async fn authenticate(&self, token: &str) -> Result<Identity, Refused> {
        let bound = self.bound(token).await?;
        let pod = self.living(&bound).await?.ok_or(Refused::Unauthorized)?;
        let identity = match self.context.world.workload_of(&bound.namespace, &bound.pod) {
            Some(workload) => self.hosted(&bound, &pod, &workload),
            None => self.designer(&bound, &pod).await?,
        };
        identity.ok_or(Refused::Unauthorized)
    }
}

impl PodTokens {
    /// Asks the API server about tokens.
    pub fn new(context: Arc<Context>) -> Self {
        let (asking, waiting) = (Semaphore::new(AT_ONCE), Semaphore::new(AT_ONCE + WAITING));
        Self { context, remembered: Mutex::default(), asking, waiting }
    }

    /// Whose the token is, by the API server's word, which holds for a moment.
    async fn bound(&self, token: &str) -> Said {
        let lock = || self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(token, Instant::now()) {
            return known;
        }
        let _place = self.waiting.try_acquire().map_err(|_| Refused::Busy)?;
        let _turn = self.asking.acquire().await;
        let audience = &self.context.settings.registration.audience;
        let said = review(&self.context.client, audience, token).await?;
        let said = said.as_ref().and_then(bound);
        let said = said.ok_or(Refused::Unauthorized);
        lock().put(token, said.clone(), Instant::now());
        said
    }

    /// The pod that the token is bound to, if it is that very pod and not on its way out.
    async fn living(&self, bound: &Bound) -> Result<Option<Pod>, Refused> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &bound.namespace);
        let pod = match api.get_opt(&bound.pod).await {
            // A namespace that the operator has no rights in has no pods of ours.
            Err(kube::Error::Api(status)) if status.is_forbidden() => None,
            pod => pod.map_err(unavailable)?,
        };
        Ok(pod.filter(|pod| {
            let same = pod.metadata.uid.as_deref() == Some(&bound.uid);
            let account = pod.spec.as_ref().and_then(|s| s.service_account_name.as_deref());
            let alive = pod.metadata.deletion_timestamp.is_none();
            same && alive && account == Some(&bound.account)
        }))
    }

    /// A pod of a slot: recorded with this uid, in the account that its host names.
    fn hosted(&self, bound: &Bound, pod: &Pod, workload: &WorkloadRef) -> Option<Identity> {
        let record = self.context.world.record_of(&workload.uid)?.record;
        let slot = record.slot_of(&bound.namespace, &bound.pod)?;
        if slot.uid.as_deref() != Some(&bound.uid) {
            return None;
        }
        let host = self.context.world.host_of(&bound.namespace)?;
        let account = host.spec.service_account_name.as_deref().unwrap_or(labels::HOST_OBJECTS);
        if account != bound.account {
            return None;
        }
        let class = match slot.role {
            Role::Layer => NodeClass::Layer,
            Role::Relay => NodeClass::Relay,
        };
        Some(self.identity(bound, pod, class, Some(workload.uid.clone())))
    }

    /// The designer of a model: the one pod of its StatefulSet, in the account made for it.
    async fn designer(&self, bound: &Bound, pod: &Pod) -> Result<Option<Identity>, Refused> {
        let Some(name) = pod.labels().get(labels::MODEL) else { return Ok(None) };
        let api: Api<MixNNModel> = Api::namespaced(self.context.client.clone(), &bound.namespace);
        let Some(model) = api.get_opt(name).await.map_err(unavailable)? else { return Ok(None) };
        let designer = designer_name(&model);
        let owned =
            pod.owner_references().iter().any(|o| o.kind == "StatefulSet" && o.name == designer);
        let one = bound.pod == format!("{designer}-0") && bound.account == designer;
        let uid = model.uid().filter(|_| owned && one);
        Ok(uid.map(|uid| self.identity(bound, pod, NodeClass::Designer, Some(uid))))
    }

    fn identity(
        &self,
        bound: &Bound,
        pod: &Pod,
        class: NodeClass,
        workload: Option<String>,
    ) -> Identity {
        let domain = self.context.world.domain_of(&bound.namespace);
        let node = pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default();
        Identity {
            uid: bound.uid.clone(),
            class,
            model: workload.map(ModelKey),
            host_domain: self.context.key.domain("host", &domain),
            node_domain: self.context.key.domain("node", &node),
        }
    }
}

/// The API server's word on a token: good, and for this audience.
pub(super) async fn review(
    client: &Client,
    audience: &str,
    token: &str,
) -> Result<Option<UserInfo>, Refused> {
    let audiences = Some(vec![audience.to_owned()]);
    let spec = TokenReviewSpec { audiences, token: Some(token.to_owned()) };
    let review = TokenReview { metadata: ObjectMeta::default(), spec, status: None };
    let api: Api<TokenReview> = Api::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await.map_err(unavailable)?;
    let Some(status) = answer.status else { return Ok(None) };
    // The API server echoes the audiences that fit; one that knows none leaves them out.
    let ours = status.audiences.iter().flatten().any(|a| *a == audience);
    let good = status.authenticated == Some(true) && ours;
    Ok(status.user.filter(|_| good))
}

fn bound(user: &UserInfo) -> Option<Bound> {
    let name = user.username.as_deref()?.strip_prefix("system:serviceaccount:")?;
    let (namespace, account) = name.split_once(':')?;
    let extra = |key: &str| {
        let values = user.extra.as_ref()?.get(&format!("authentication.kubernetes.io/{key}"))?;
        values.first().cloned()
    };
    Some(Bound {
        namespace: namespace.to_owned(),
        account: account.to_owned(),
        pod: extra("pod-name")?,
        uid: extra("pod-uid")?,
    })
}
