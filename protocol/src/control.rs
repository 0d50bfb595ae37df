//! Control messages between the designer and its layer pods: JSON, on lanes of their own.
//!
//! JSON because they carry the model's own types (as the MixNNModel's YAML does) and are rare; no
//! secret travels in them. The frame header around each says term, attempt and step.

use crate::journal::Journal;
use crate::times::Times;
use crate::{Suite, wire_base64};
use mixnn_model::{DeviceKind, Learning, LossSpec, Op};
use serde::{Deserialize, Serialize};

/// The most bytes of a control message: 1 MiB.
pub const MAX_CONTROL: usize = 1 << 20;

/// What the designer tells a layer pod.
#[expect(clippy::large_enum_variant, reason = "a few in a term, never held in numbers")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Command {
    /// Become this layer; to a pod that already is it, nothing changes. Sent until it is answered.
    Assign(Assignment),
    /// Take nothing of attempts before the header's, probe the lanes that go out, and say which
    /// states can be gone back to. Sent until it is answered.
    Halt,
    /// Go back to the state after the header's step. Sent until it is answered, after a halt of the
    /// same attempt.
    Rollback,
    /// Apply the header's step, with all gradients multiplied by the number of these bits (IEEE 754
    /// binary32): the answer to [`Report::Norms`].
    Apply(u32),
    /// Send a keyed digest of the parameters.
    Digest,
    /// Seal the state after the header's step to this key, and keep the sealed bytes at hand.
    Seal(SealTo),
    /// Send this part, counted from 0, of what was sealed for the header's step, as
    /// [`Kind::Weights`](crate::Kind::Weights). Parts are [`PART`] bytes long but for the last.
    Part(u32),
    /// A state of so many bytes follows in parts, as [`Kind::Weights`](crate::Kind::Weights): the
    /// one after the header's step.
    Restore(u64),
    /// The work is done: end, and leave nothing behind.
    Finish,
}

/// Length of a part of a state on its way, in bytes.
pub const PART: usize = 256 << 10;

/// The key that a layer seals its state to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealTo {
    /// Suite of the key.
    pub suite: Suite,
    /// HPKE public key, made for this one state of this one layer.
    #[serde(with = "wire_base64")]
    pub public_key: Vec<u8>,
}

/// What one layer is: nothing of its place, its neighbours, its owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Assignment {
    /// The operations, in order.
    pub ops: Vec<Op>,
    /// Shape of one input sample.
    pub input: Vec<u32>,
    /// Set where the input is of tokens: how many there are.
    pub vocabulary: Option<u32>,
    /// Shape of one output sample.
    pub output: Vec<u32>,
    /// Micro-batches of a step, at the most.
    pub micro_batches: u32,
    /// How the layer learns.
    pub learning: Learning,
    /// Where the layer computes.
    pub device: DeviceKind,
    /// Set where this layer computes the loss itself, from labels.
    pub loss: Option<LossSpec>,
    /// The numeric profile that the run is pinned to; a pod with another one refuses.
    pub profile: Profile,
    /// The states after every so many steps are kept for a rollback, the last two of them; 0: none.
    #[serde(default)]
    pub snapshot_every: u64,
    /// Whether the state before the first step is brought in, and is not what the layer's key gives.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// Whether its owner wants to know where its time goes: then [`Report::Timed`] takes the place of
    /// [`Report::Applied`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timed: bool,
}

impl Assignment {
    /// Whether both are of one layer, however it learns: the same operations between the same shapes.
    pub fn is_same_layer(&self, other: &Self) -> bool {
        self.ops == other.ops
            && (&self.input, self.vocabulary) == (&other.input, other.vocabulary)
            && self.output == other.output
    }
}

/// What the bits of a result depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// libtorch's version.
    pub libtorch: String,
    /// Threads within one operation.
    pub threads: u32,
    /// `ATEN_CPU_CAPABILITY`.
    pub cpu_capability: String,
}

/// What a layer pod answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Report {
    /// The command lanes work: the pod awaits its assignment.
    Hello,
    /// The layer is built and waits for its first step.
    Ready,
    /// Nothing of attempts before the header's is taken any more. These are the steps after which
    /// the state can be gone back to, rising.
    Halted(Vec<u64>),
    /// The probe of the header's attempt came in on the lane of this role.
    Heard(Direction),
    /// All gradients of the header's step are there. These are the bits (IEEE 754 binary32) of the
    /// norm of each parameter's; the layer waits for [`Command::Apply`].
    Norms(Vec<u32>),
    /// The header's step has been applied here. It is committed once every layer says so.
    Applied,
    /// The same, and where the time went since the last such report.
    Timed(Times),
    /// Lines of the layer's log.
    Log(Journal),
    /// The rollback that the header names is done.
    RolledBack,
    /// Loss and tally of the header's micro-batch, where the last layer computes the loss.
    Loss {
        /// Sum over the micro-batch of the loss, weighted as in the gradient.
        loss: f64,
        /// Answers that can be right or wrong.
        answers: u64,
        /// Right ones.
        correct: u64,
        /// Those with the label among the five largest outputs.
        top5: u64,
    },
    /// The state after the header's step has been sealed; it takes so many bytes.
    Sealed(u64),
    /// This part of a state has come.
    Took(u32),
    /// The state of the header's step has been taken up.
    Restored,
    /// HMAC-SHA256 of the parameters under the layer's digest key.
    Digest(#[serde(with = "wire_base64::array")] [u8; 32]),
    /// The layer cannot go on.
    Failed(Failure),
}

/// Which of the lanes between layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// Activations come in.
    Forward,
    /// Gradients come in.
    Backward,
}

/// Why a layer cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// What kind of failure.
    pub reason: FailureReason,
    /// In words, for the owner.
    pub message: String,
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureReason {
    /// A value that is not finite.
    NotFinite,
    /// libtorch could not get memory.
    OutOfMemory,
    /// The assignment cannot be carried out here.
    Assignment,
    /// A neighbour or the designer sent what does not fit the assignment.
    Protocol,
    /// A lane out of here takes no more cells: it is full, or its counter is used up.
    Lane,
    /// Anything else.
    Internal,
}

/// Reads a control message.
///
/// # Errors
/// Larger than [`MAX_CONTROL`], or not such a message; the text says where.
pub fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, ControlError> {
    if bytes.len() > MAX_CONTROL {
        return Err(ControlError::TooLong(bytes.len()));
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// Writes a control message.
///
/// # Errors
/// Larger than [`MAX_CONTROL`].
pub fn to_bytes<T: Serialize>(message: &T) -> Result<Vec<u8>, ControlError> {
    let bytes = serde_json::to_vec(message)?;
    match bytes.len() {
        n if n > MAX_CONTROL => Err(ControlError::TooLong(n)),
        _ => Ok(bytes),
    }
}

/// Why a control message was refused.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// More than [`MAX_CONTROL`] bytes.
    #[error("control message of {0} bytes; the most is {MAX_CONTROL}")]
    TooLong(usize),
    /// Not such a message.
    #[error("malformed control message: {0}")]
    Json(#[from] serde_json::Error),
}
