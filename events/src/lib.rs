//! What a designer tells of its run: one JSON object a line, on standard output.
//!
//! The local runner draws progress from it, scripts read it, and so can anybody:
//!
//! ```text
//! {"event":"step","epoch":1,"step":17,"loss":1.92,"answers":64,"correct":31,"samples":64,"milliseconds":6.1,"learningRate":0.05}
//! ```
//!
//! Only the owner ever sees these lines: they name layers and speak of losses. What came of them is kept
//! in a run's [`Record`], and read from it as a [`History`].

mod history;
mod record;
mod times;

pub use history::{History, read};
pub use record::{Line, Record};
pub use times::{Doing, Row, Span, Sums, Times};

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum Event {
    /// The data are being read, before anything else.
    Reading(Reading),
    /// What is going to happen.
    Plan(Plan),
    /// Where layers and lanes are from now on. Kept in the record only, not told on standard output, which
    /// others may collect: it says which pod runs which layer.
    Ring(Ring),
    /// Another phase begins.
    Phase(Phase),
    /// A step has been committed.
    Step(Step),
    /// Where the time of a step went, if that was asked for. Kept in the record only: it says how long each
    /// layer computes.
    Times(Times),
    /// A layer has written something into its log. Kept in the record only.
    Said(Said),
    /// The test set has gone through after an epoch.
    Tested(Tested),
    /// Something is amiss; the training recovers from it by itself.
    Fault(Fault),
    /// The training goes on after a fault.
    Recovered(Recovered),
    /// A checkpoint is whole.
    Checkpointed(Checkpointed),
    /// A checkpoint could not be written; training goes on, and the next one is tried in its time.
    CheckpointFailed(CheckpointFailed),
    /// The training is done, its weights are written. What is left is to tell the pods to end.
    Trained(Outcome),
    /// A version of the model answers requests.
    Serving(Serving),
    /// Nothing is answered any more: the last line.
    ServingEnded(ServingEnded),
    /// All went well: the last line.
    Done(Outcome),
    /// It did not: the last line.
    Failed(Failed),
}

/// How far the data have been read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// Which files.
    pub what: String,
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// What is going to happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Names of the layers, input first.
    pub layers: Vec<String>,
    /// Numbers that are learned.
    pub parameters: u64,
    /// Training samples.
    pub train_samples: u64,
    /// Test samples.
    pub test_samples: u64,
    /// Passes over the training data.
    pub epochs: u32,
    /// Optimizer steps in all.
    pub steps: u64,
    /// Parts of a batch.
    pub micro_batches: u32,
    /// Where the layers run.
    pub mode: Mode,
}

/// Who runs what, and which lanes there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ring {
    /// The layers, input first.
    pub layers: Vec<Seat>,
    /// The relays that lanes go over.
    pub relays: Vec<Node>,
    /// All lanes.
    pub lanes: Vec<Lane>,
}

/// A layer in its pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seat {
    /// The layer's name, which its pod does not know.
    pub name: String,
    /// Names of its operations.
    pub ops: Vec<String>,
    /// Shape of one sample as it comes.
    pub input: String,
    /// Shape of one sample as it leaves.
    pub output: String,
    /// Numbers that it learns.
    pub parameters: u64,
    /// Its pod.
    pub pod: Node,
}

/// A process of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its id in the directory.
    pub id: String,
    /// Who hosts it.
    pub host: String,
}

/// A lane from one end over relays to the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lane {
    /// `forward`, `backward`, `command` or `report`.
    pub role: String,
    /// Index of the layer at its beginning; the designer if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
    /// Index of the layer at its end; the designer if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
    /// Indices of the relays on it, in order.
    pub relays: Vec<u32>,
}

/// A line of a layer's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// The layer's name, which its pod does not know.
    pub layer: String,
    /// `info`, `warn` or `error`.
    pub level: String,
    /// How long before the event's time it was written, in milliseconds.
    pub before: u32,
    /// What it says. By the layer's pod, which may lie.
    pub text: String,
}

/// Where the layers run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Each in its own pod, behind relays.
    #[serde(rename_all = "camelCase")]
    Distributed {
        /// Relays in the directory.
        relays: u32,
        /// Relays of each lane.
        hops: u32,
        /// The HPKE suite.
        suite: String,
        /// What weakens the protection of this run, in words.
        warnings: Vec<String>,
        /// What is hidden, and from whom.
        privacy: Privacy,
    },
    /// All in one process.
    Reference,
}

/// What a run hides, and what it does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Privacy {
    /// `None` or `ConstantRate`.
    pub cover: String,
    /// Cells a second of each lane of activations or gradients, under cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cells_per_second: Option<u32>,
    /// Cells a second of each control lane, under cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_cells_per_second: Option<u32>,
    /// The fewest lanes among which one lies: lanes of its class that cross at the same relay in the
    /// same interval, itself included. Of this owner; a shared pool adds others.
    pub k_least: u32,
    /// The median of it over all lanes.
    pub k_median: u32,
    /// What is and is not hidden, in a plain sentence.
    pub sentence: String,
}

/// The paper's four phases, and the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "phase")]
pub enum Phase {
    /// Pods are claimed, lanes drawn, layers assigned.
    Initialisation,
    /// Forward and backward propagation.
    Training,
    /// Forward in evaluation mode over the test set.
    Testing,
    /// Digests and weights are collected, pods told to end.
    Finishing,
}

/// A committed step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// From 1.
    pub epoch: u32,
    /// From 1, over all epochs.
    pub step: u64,
    /// Mean loss of the batch.
    pub loss: f64,
    /// Answers that can be right or wrong: samples, positions of sequences, or bits; 0 where real
    /// numbers are learned.
    pub answers: u64,
    /// Right ones.
    pub correct: u64,
    /// Samples of the batch.
    pub samples: u32,
    /// From the last committed step to this one.
    pub milliseconds: f64,
    /// The learning rate, before the factors of parameter groups.
    #[serde(default)]
    pub learning_rate: f64,
    /// The norm of all gradients, where they are clipped by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
    /// What the designer did in that time, where layers are elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<Spent>,
}

/// Where the designer's time of a step goes, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spent {
    /// Waiting for outputs (or losses) of the last layer: forward, and backward of micro-batches before.
    pub outputs: f64,
    /// Computing losses and sealing gradients.
    pub loss: f64,
    /// Reading the next batch and sealing inputs.
    pub inputs: f64,
    /// Waiting until every layer has applied the step: the backward pass of the last micro-batches.
    pub commit: f64,
}

/// What the test set gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tested {
    /// In or after which epoch.
    pub epoch: u32,
    /// Mean loss.
    pub loss: f64,
    /// Answers that can be right or wrong, as in [`Step::answers`].
    pub answers: u64,
    /// Right ones.
    pub correct: u64,
    /// Those with the label among the five largest outputs, where there are more than five classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top5: Option<u64>,
    /// `exp(loss)`, where the answers are tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// Test samples.
    pub samples: u64,
}

impl Tested {
    /// Share of right answers, 0 to 1, where there are any.
    pub fn accuracy(&self) -> Option<f64> {
        (self.answers > 0).then(|| self.correct as f64 / self.answers as f64)
    }

    /// Share of answers with the label among the five largest outputs.
    pub fn top5_accuracy(&self) -> Option<f64> {
        self.top5.map(|top5| top5 as f64 / self.answers.max(1) as f64)
    }
}

/// Something is amiss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// What, in the owner's terms.
    pub message: String,
}

/// A checkpoint is whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpointed {
    /// Its number.
    pub number: u64,
    /// Steps after which it was taken.
    pub step: u64,
    /// Sealed bytes of all layers.
    pub bytes: u64,
    /// Time to write it, beside the training.
    pub milliseconds: f64,
}

/// A checkpoint could not be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointFailed {
    /// Steps after which it was taken.
    pub step: u64,
    /// Why.
    pub message: String,
}

/// A version of the model answers requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    /// Where: `http://127.0.0.1:8000`.
    pub url: String,
    /// The model's name in requests.
    pub model: String,
    /// The version that answers.
    pub version: u64,
}

/// Nothing is answered any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServingEnded {
    /// Why, in one word.
    pub reason: String,
    /// Why, in words.
    pub message: String,
}

/// The training goes on after a fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovered {
    /// The last step that had been committed before.
    pub committed: u64,
    /// The step after which training goes on: steps after it are made again, to the same bits.
    pub resumed_after: u64,
    /// Layers that got another pod, by name.
    pub layers: Vec<String>,
    /// Lanes that were set up again.
    pub lanes: u64,
    /// From the fault to the first new step's beginning, in milliseconds.
    pub milliseconds: f64,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Of the last test.
    pub tested: Tested,
    /// Steps that were committed.
    pub steps: u64,
    /// Median time of a step, in milliseconds.
    pub median_step_ms: f64,
    /// Time spent in training, in seconds, without tests.
    pub train_seconds: f64,
    /// Keyed digest of all weights, hexadecimal: equal exactly when all bits are equal. It says
    /// nothing to anyone without the owner's secret.
    pub digest: String,
}

/// Why it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// A stable name.
    #[serde(default)]
    pub reason: String,
    /// What, where, what to do.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_as_documented() {
        let step = Step {
            epoch: 1,
            step: 17,
            loss: 1.5,
            answers: 64,
            correct: 31,
            samples: 64,
            milliseconds: 6.5,
            learning_rate: 0.05,
            gradient_norm: None,
            spent: None,
        };
        let line = serde_json::to_string(&Event::Step(step)).expect("serializes");
        assert_eq!(
            line,
            r#"{"event":"step","epoch":1,"step":17,"loss":1.5,"answers":64,"correct":31,"samples":64,"milliseconds":6.5,"learningRate":0.05}"#
        );
        let phase = serde_json::to_string(&Event::Phase(Phase::Testing)).expect("serializes");
        assert_eq!(phase, r#"{"event":"phase","phase":"testing"}"#);
        let back: Event = serde_json::from_str(&phase).expect("parses");
        assert_eq!(back, Event::Phase(Phase::Testing));
    }
}
