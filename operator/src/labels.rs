//! Labels, annotations and names that the operator writes, in one place.

/// On every pod in a host namespace, and on designers: `layer`, `relay` or `designer`. Peers are told by it.
pub const POD: &str = "mixnn.dev/pod";
/// On namespaces, set by the platform's administrators only: pods there may talk with pods of MixNN.
pub const MEMBER: &str = "mixnn.dev/member";
/// On namespaces, set by the platform's administrators only: whom the namespace belongs to.
pub const DOMAIN: &str = "mixnn.dev/trust-domain";
/// Annotation of pods: which record they belong to, sealed.
pub const SEAL: &str = "mixnn.dev/seal";
/// On the operator's own objects: `run`, `registration`, `claims`.
pub const RECORD: &str = "mixnn.dev/record";
/// On the operator's own objects: uid of the workload.
pub const WORKLOAD: &str = "mixnn.dev/workload";
/// On what is made for a model in its own namespace: its name.
pub const MODEL: &str = "mixnn.dev/model";
/// Who made it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The scheduling gate of pods that wait for their gang.
pub const GATE: &str = "mixnn.dev/gang";
/// Name of what the operator makes in a host namespace: ServiceAccount, NetworkPolicy, RoleBinding.
pub const HOST_OBJECTS: &str = "mixnn-pods";
/// Name of the NetworkPolicy in a host namespace that opens more to relays than to layer pods.
pub const RELAY_WALL: &str = "mixnn-relays";
/// The only name of a MixNNHost: one per namespace.
pub const HOST_NAME: &str = "mixnn";
/// The operator, as field manager and as the value of [`MANAGED_BY`].
pub const OPERATOR: &str = "mixnn-operator";
/// ClusterRole that a host namespace binds to the operator's ServiceAccount.
pub const HOST_ROLE: &str = "mixnn-host";
/// ClusterRole that an owner's namespace binds to the operator's ServiceAccount.
pub const OWNER_ROLE: &str = "mixnn-owner";
/// Where pods listen.
pub const POD_PORT: u16 = 7000;
/// Where relays serve metrics, if the platform wants them.
pub const METRICS_PORT: u16 = 9090;
