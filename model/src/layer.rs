//! A layer as written: a name, a pod class, operations.

use crate::ops::Op;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One layer: what one layer pod computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerSpec {
    /// Name of the layer, a DNS label, unique in the model. Only the owner ever sees it.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
    pub name: String,
    /// Which of the model's pod classes its pod is of. Pods of one class look all alike.
    #[serde(default = "standard", skip_serializing_if = "is_standard")]
    #[schemars(length(min = 1, max = 30))]
    pub class: String,
    /// Where it computes.
    #[serde(default, skip_serializing_if = "DeviceKind::is_default")]
    pub device: DeviceKind,
    /// false keeps its parameters as they began, most likely as they were brought in. What its operations
    /// keep beside them (running means) still follows the data.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub trainable: bool,
    /// The operations, in order.
    #[schemars(length(min = 1, max = 256))]
    pub ops: Vec<Op>,
}

/// Where a layer computes. The bits of a result depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DeviceKind {
    /// On the CPU.
    #[default]
    Cpu,
    /// On an NVIDIA GPU; the layer refuses to start where there is none.
    Cuda,
    /// On a GPU where there is one, else on the CPU.
    Auto,
}

impl DeviceKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The pod class of a layer that names none.
pub const STANDARD_CLASS: &str = "standard";

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_yes(trainable: &bool) -> bool {
    *trainable
}

fn standard() -> String {
    STANDARD_CLASS.to_owned()
}

fn is_standard(class: &str) -> bool {
    class == STANDARD_CLASS
}
