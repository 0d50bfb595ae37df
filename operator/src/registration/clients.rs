//! Who asks a model that is served: a designer hands on what its clients show, and is told who they are and
//! whether they may ask. So designers need no rights on tokens, and a token is reviewed for the audience of
//! that designer's model, whatever it says.

use super::auth::review;
use super::backend::{ClusterRegistry, unavailable};
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::PostParams;
use mixnn_crds::serving_audience;
use mixnn_directory::{Identity, ModelKey, Refused, Registry};
use mixnn_protocol::registration::Reviewed;

impl ClusterRegistry {
    /// Whose a client's token is, and whether RBAC lets that client ask the designer's model.
    pub(super) async fn reviewed(
        &self,
        identity: &Identity,
        token: &str,
    ) -> Result<Reviewed, Refused> {
        let ModelKey(workload) = Registry::designer(identity)?;
        let _turn = self.turns.take(workload).await?;
        self.allows(identity).await?;
        let record = self.context().world.record_of(workload);
        let model = record.ok_or(Refused::Forbidden("any model"))?.record.workload.clone();
        let audience = serving_audience(&model.namespace, &model.name);
        let client = &self.context().client;
        let Some(user) = review(client, &audience, token).await? else {
            return Ok(Reviewed { client: None, allowed: false });
        };
        let name = user.username.clone();
        let question = may_ask(user, &model.namespace, &model.name);
        let api: Api<SubjectAccessReview> = Api::all(client.clone());
        let answer = api.create(&PostParams::default(), &question).await.map_err(unavailable)?;
        let allowed = answer.status.is_some_and(|s| s.allowed && s.denied != Some(true));
        Ok(Reviewed { client: name, allowed })
    }
}

/// `create` of `mixnnmodels/predict`: no such subresource is served, RBAC rules name it all the same.
fn may_ask(user: UserInfo, namespace: &str, model: &str) -> SubjectAccessReview {
    let attributes = ResourceAttributes {
        group: Some("mixnn.dev".into()),
        resource: Some("mixnnmodels".into()),
        subresource: Some("predict".into()),
        verb: Some("create".into()),
        namespace: Some(namespace.to_owned()),
        name: Some(model.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: user.username,
        groups: user.groups,
        uid: user.uid,
        extra: user.extra,
        resource_attributes: Some(attributes),
        non_resource_attributes: None,
    };
    SubjectAccessReview { metadata: ObjectMeta::default(), spec, status: None }
}
