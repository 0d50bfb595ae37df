//! Objects in namespaces of others: applied as a whole, by rights that may just have been given.

use crate::context::Context;
use crate::labels;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// For the API server to know of a binding: so often, and so long between.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(150);

/// What can be applied in a namespace.
pub trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Serialize
    + DeserializeOwned
    + Clone
    + Debug
{
}

impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
{
}

/// Applies an object as this operator's own.
///
/// # Errors
/// What the API said.
pub async fn apply<K: Namespaced>(
    context: &Context,
    namespace: &str,
    object: &K,
) -> Result<(), kube::Error> {
    let api: Api<K> = Api::namespaced(context.client.clone(), namespace);
    let params = PatchParams::apply(labels::OPERATOR).force();
    api.patch(&object.name_any(), &params, &Patch::Apply(object)).await.map(drop)
}

/// The same where the right to may just have been given: the API server takes a moment to know of a binding.
///
/// # Errors
/// What the API said last.
pub async fn apply_soon<K: Namespaced>(
    context: &Context,
    namespace: &str,
    object: &K,
) -> Result<(), kube::Error> {
    for _ in 0..TRIES {
        match apply(context, namespace, object).await {
            Err(kube::Error::Api(status)) if status.is_forbidden() => {
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
    apply(context, namespace, object).await
}

/// Gives the operator its rights in a namespace. Where it may not, the namespace's admin has: then what comes next
/// works all the same.
///
/// # Errors
/// What the API said, but for that this is forbidden.
pub async fn bind(
    context: &Context,
    namespace: &str,
    binding: &RoleBinding,
) -> Result<(), kube::Error> {
    match apply(context, namespace, binding).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(()),
        other => other,
    }
}

/// Equal for what serializes to the same.
pub fn hash_of(object: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(object).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}
