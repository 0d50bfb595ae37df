//! Who calls: a pod, by its projected ServiceAccount token.

use crate::build::designer_name;
use crate::context::Context;
use crate::labels;
use crate::record::{Role, WorkloadRef};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use mixnn_crds::MixNNModel;
use mixnn_directory::{Authenticator, Identity, ModelKey};
use mixnn_protocol::registration::NodeClass;
use std::sync::Arc;

/// Tells pods by their tokens.
pub struct PodTokens(pub Arc<Context>);

/// What a token is bound to.
struct Bound {
    namespace: String,
    account: String,
    pod: String,
    uid: String,
}

impl Authenticator for PodTokens {
    async fn authenticate(&self, token: &str) -> Option<Identity> {
        let user = self.review(token).await?;
        let bound = bound(&user)?;
        let pod = self.living(&bound).await?;
        match self.0.world.workload_of(&bound.namespace, &bound.pod) {
            Some(workload) => self.hosted(&bound, &pod, &workload),
            None => self.designer(&bound, &pod).await,
        }
    }
}

impl PodTokens {
    /// The API server's word on a token: good, and for our audience.
    async fn review(&self, token: &str) -> Option<UserInfo> {
        let audience = self.0.settings.registration.audience.clone();
        let spec = TokenReviewSpec {
            audiences: Some(vec![audience.clone()]),
            token: Some(token.to_owned()),
        };
        let review = TokenReview { metadata: ObjectMeta::default(), spec, status: None };
        let api: Api<TokenReview> = Api::all(self.0.client.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer =
            answer.inspect_err(|error| tracing::warn!(%error, "a token cannot be reviewed"));
        let status = answer.ok()?.status?;
        // The API server echoes the audiences that fit; one that knows none leaves them out.
        let ours = status.audiences.iter().flatten().any(|a| *a == audience);
        if status.authenticated != Some(true) || !ours {
            return None;
        }
        status.user
    }

    /// The pod that the token is bound to, if it is that very pod and not on its way out.
    async fn living(&self, bound: &Bound) -> Option<Pod> {
        let api: Api<Pod> = Api::namespaced(self.0.client.clone(), &bound.namespace);
        let pod = api.get_opt(&bound.pod).await;
        let pod =
            pod.inspect_err(|error| tracing::warn!(%error, "a pod cannot be read")).ok()??;
        let same = pod.metadata.uid.as_deref() == Some(&bound.uid);
        let account = pod.spec.as_ref().and_then(|s| s.service_account_name.as_deref());
        let alive = pod.metadata.deletion_timestamp.is_none();
        (same && alive && account == Some(&bound.account)).then_some(pod)
    }

    /// A pod of a slot: recorded with this uid, in the account that its host names.
    fn hosted(&self, bound: &Bound, pod: &Pod, workload: &WorkloadRef) -> Option<Identity> {
        let record = self.0.world.record_of(&workload.uid)?.record;
        let slot = record.slot_of(&bound.namespace, &bound.pod)?;
        if slot.uid.as_deref() != Some(&bound.uid) {
            return None;
        }
        let host = self.0.world.host_of(&bound.namespace)?;
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
    async fn designer(&self, bound: &Bound, pod: &Pod) -> Option<Identity> {
        let name = pod.labels().get(labels::MODEL)?;
        let api: Api<MixNNModel> = Api::namespaced(self.0.client.clone(), &bound.namespace);
        let model = api.get_opt(name).await.ok()??;
        let designer = designer_name(&model);
        let owned =
            pod.owner_references().iter().any(|o| o.kind == "StatefulSet" && o.name == designer);
        let one = bound.pod == format!("{designer}-0") && bound.account == designer;
        let uid = model.uid()?;
        (owned && one).then(|| self.identity(bound, pod, NodeClass::Designer, Some(uid)))
    }

    fn identity(
        &self,
        bound: &Bound,
        pod: &Pod,
        class: NodeClass,
        workload: Option<String>,
    ) -> Identity {
        let domain = self.0.world.domain_of(&bound.namespace);
        let node = pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default();
        Identity {
            uid: bound.uid.clone(),
            class,
            model: workload.map(ModelKey),
            host_domain: self.0.key.domain("host", &domain),
            node_domain: self.0.key.domain("node", &node),
        }
    }
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
