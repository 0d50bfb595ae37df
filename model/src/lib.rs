//! What a model is: layers, operations, shapes, parameters, optimizer, loss.
//!
//! Pure data and arithmetic: no tensors, no files, no clock. The types are those of a MixNNModel's
//! YAML; [`Model`] is the same after every check ("parse, don't validate").
//!
//! Names and layouts of parameters are PyTorch's: layer `conv1` whose operation 0 is a `conv2d` has
//! the parameters `conv1.0.weight` and `conv1.0.bias`, as
//! `nn.Sequential(OrderedDict(conv1=nn.Sequential(nn.Conv2d(..), ..), ..))` names them.
//!
//! To add an operation: one file in `ops/`, one row in the table of [`ops`].

mod dataset;
mod error;
mod labels;
mod layer;
mod model;
pub mod ops;
mod parameter;
mod shape;
mod training;

pub use dataset::{
    AugmentSpec, Channels, ClassTarget, ColumnsSpec, CsvSpec, DataSource, DatasetSpec, DigitsSpec,
    FilesSpec, Fit, IdxSpec, ImagesSpec, ObjectStoreSource, ParquetSpec, RealTarget, SecretRef,
    SentenceTask, SentencesSpec, ShapesSpec, TargetSpec, TextSpec, TokenFormat, TokensSpec,
    VolumeSource,
};
pub use error::{ModelError, ModelErrors};
pub use labels::Labels;
pub use layer::{DeviceKind, LayerSpec, STANDARD_CLASS};
pub use model::{Layer, Model};
pub use ops::{Op, Operation};
pub use parameter::{Buffer, BufferKind, Init, Parameter, Role};
pub use shape::{Element, Shape, ShapeError};
pub use training::{
    AdamSpec, AdamWSpec, Constant, DecaySpec, EarlyStopping, FallingDecay, Learning, LossFunction,
    LossPlacement, LossSpec, Metric, OptimizerSpec, ParameterGroup, ParameterSetting, Precision,
    RmsPropSpec, ScheduleSpec, SecretKeyRef, SeedSource, SgdSpec, StepDecay, TrainingSpec,
};

/// Bounds on what a specification may ask for: every number in it comes from outside.
pub mod limits {
    /// The most layers of a model.
    pub const LAYERS: usize = 1024;
    /// The most operations of a layer.
    pub const OPS: usize = 256;
    /// The largest single size (channels, features, kernel ..).
    pub const SIZE: u32 = 1 << 24;
    /// The most elements of one tensor: 2^31, 8 GiB of f32.
    pub const ELEMENTS: usize = 1 << 31;
    /// The deepest nesting of operations within operations.
    pub const NESTING: usize = 4;
    /// The most samples of a batch.
    pub const BATCH: u32 = 1 << 20;
    /// The most micro-batches of a step.
    pub const MICRO_BATCHES: u32 = 1024;
    /// The longest layer name, that of a DNS label.
    pub const NAME: usize = 63;
}
