//! The figures.

use crate::machine::Machine;
use serde::{Deserialize, Serialize};

/// All that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// On what.
    pub machine: Machine,
    /// Rounds, of which each figure is the median.
    pub rounds: u32,
    /// Models over relays beside one process.
    pub trainings: Vec<Training>,
    /// What carries cells.
    pub relay: Relay,
    /// From the command to the first step of LeNet-5, in milliseconds.
    pub first_step_ms: f64,
    /// The most memory of a layer process of LeNet-5, and of the same process with libtorch alone, MiB.
    pub layer_memory: f64,
    /// Time of LeNet-5's steps with a checkpoint every 100 of them, by that without any.
    pub checkpoints_ratio: f64,
    /// What one fault costs in the middle of training LeNet-5.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// How the time of a step follows one thing at a time.
    pub curves: Vec<Curve>,
}

/// One model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Training {
    /// Which.
    pub model: String,
    /// Parts of a batch over relays.
    pub micro_batches: u32,
    /// Milliseconds a step over relays.
    pub over_relays_ms: f64,
    /// Milliseconds a step in one process, in each way that was tried.
    pub one_process: Vec<OneProcess>,
    /// Median over the rounds of the time over relays by that of the fastest way in one process.
    pub ratio: f64,
    /// The same by one process that computes the same bits: one thread, the same micro-batches.
    pub ratio_same_bits: f64,
    /// `torch.distributed.pipelining`, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
}

/// The same model by `torch.distributed.pipelining`: a process for each layer, in plain text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Milliseconds a step, in its fastest way.
    pub ms: f64,
    /// And in one process of its own.
    pub one_process_ms: f64,
    /// Its fastest schedule.
    pub schedule: String,
    /// Parts of a batch in that.
    pub micro_batches: u32,
    /// Median over the rounds of our time over relays by its.
    pub ratio: f64,
}

/// One way to train in one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OneProcess {
    /// Threads within operations.
    pub threads: u32,
    /// Parts of a batch.
    pub micro_batches: u32,
    /// Milliseconds a step.
    pub ms: f64,
}

/// All relays of a run with large messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Relay {
    /// GB of cells that a relay passes on in a second of CPU.
    pub gigabytes_per_cpu_second: f64,
    /// The most memory of one, MiB.
    pub memory: f64,
}

/// Processes killed in the middle of training.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// Which.
    pub what: String,
    /// Milliseconds from the kill to the end of the next step, median.
    pub ms: f64,
    /// And at most.
    pub most_ms: f64,
    /// Steps that were made again, median.
    pub steps_again: f64,
}

/// The time of a step against one thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Curve {
    /// What changes.
    pub over: String,
    /// Rounds, of which each point is the median.
    #[serde(default = "one")]
    pub rounds: u32,
    /// Its values, and the milliseconds of a step.
    pub points: Vec<(f64, f64)>,
}

const fn one() -> u32 {
    1
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
