//! Objects, made from what was decided. Pure: no client, no clock.

mod designer;
mod host;
mod mounts;
mod pod;
mod serving;
mod walls;

pub use designer::{Designer, DesignerObjects, designer_name, designer_objects, directory_maps};
pub use host::{HostObjects, binding, host_objects};
pub use pod::{PodContext, altered, pod, role_name};
pub use serving::{ServingObjects, serving_objects};
