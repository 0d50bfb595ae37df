//! The peer: the same model by `torch.distributed.pipelining`, in plain text (`bench/peer/pipelining.py`).

use crate::models::Model;
use crate::report::{Peer, median};
use anyhow::{Context, bail};
use serde::Deserialize;
use std::process::Command;

/// What the peer's script prints.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Timed {
    over_stages_ms: f64,
    one_process_ms: f64,
    schedule: String,
    micro_batches: u32,
}

/// The peer of one model, round by round.
pub struct Rounds<'a> {
    command: &'a str,
    batch: u32,
    steps: u32,
    timed: Vec<Timed>,
}

impl<'a> Rounds<'a> {
    /// No round yet. `command` is the script with what runs it, split at spaces.
    pub const fn new(command: &'a str, model: &Model) -> Self {
        Self { command, batch: model.batch, steps: model.steps, timed: Vec::new() }
    }

    /// Times it once more. The first round tries every way; later ones, only what was fastest then.
    pub fn time(&mut self) -> anyhow::Result<()> {
        let mut words = self.command.split_whitespace();
        let mut command = Command::new(words.next().context("--peer is empty")?);
        command.args(words).args(["--batch", &self.batch.to_string()]);
        command.args(["--steps", &self.steps.to_string()]);
        if let Some(first) = self.timed.first() {
            command.args(["--schedules", &first.schedule]);
            command.args(["--micro-batches", &first.micro_batches.to_string()]);
        }
        let output = command.output().with_context(|| format!("running {}", self.command))?;
        if !output.status.success() {
            bail!("the peer failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        self.timed
            .push(serde_json::from_slice(&output.stdout).context("reading the peer's times")?);
        Ok(())
    }

    /// Medians, beside our own times of the same rounds.
    pub fn report(&self, ours: &[f64]) -> Option<Peer> {
        let first = self.timed.first()?;
        let of = |get: fn(&Timed) -> f64| median(self.timed.iter().map(get).collect());
        let ratios = ours.iter().zip(&self.timed).map(|(ms, peer)| ms / peer.over_stages_ms);
        Some(Peer {
            ms: of(|t| t.over_stages_ms),
            one_process_ms: of(|t| t.one_process_ms),
            schedule: first.schedule.clone(),
            micro_batches: first.micro_batches,
            ratio: median(ratios.collect()),
        })
    }
}
