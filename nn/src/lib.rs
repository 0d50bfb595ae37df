//! The tensor side of a model, on libtorch: operations, optimizers, losses, digests.
//!
//! Two shapes of the same arithmetic:
//!
//! * [`Layer`]: one layer on its own, as a layer pod runs it: tensors in, tensors out, its autograd
//!   graph cut at both sides;
//! * [`Reference`]: the whole model in one process and one autograd graph.
//!
//! Both give the same bits (docs/numerics.md says under which profile); tests hold them to it.

mod clip;
pub mod device;
mod digest;
mod draw;
mod error;
mod export;
mod key;
mod layer;
mod loss;
mod network;
mod ops;
mod optimizer;
pub mod profile;
mod reference;
mod state;
mod tensor;

pub use clip::clip_factor;
pub use digest::model_digest;
pub use error::NnError;
pub use export::Export;
pub use key::{LayerKey, OwnerSecret};
pub use layer::Layer;
pub use loss::{LossOutput, Tally, evaluate, loss};
pub use reference::{MicroBatch, Reference, StepReport};
pub use state::merge_exports;
pub use tch::{Device, Kind, Tensor};
pub use tensor::{Numbers, batch_tensor, is_finite, tensor_from_wire, tensor_to_wire};
