//! Everything that is measured, round by round.

use crate::faults;
use crate::machine::Machine;
use crate::models::{Model, lenet5, perceptron};
use crate::one_process;
use crate::peer;
use crate::processes::{self, Run};
use crate::report::{Curve, OneProcess, Relay, Report, Training, median};
use indicatif::{ProgressBar, ProgressStyle};
use mixnn_protocol::sizes::{CELL, cells_for};
use std::io::Write as _;

/// Steps from one checkpoint to the next, as `mixnn run` has it by default.
const CHECKPOINT_EVERY: u32 = 100;

/// Measures everything.
///
/// # Errors
/// A program is missing, or a run failed.
pub fn all(
    rounds: u32,
    quick: bool,
    with_curves: bool,
    peer: Option<&str>,
) -> anyhow::Result<Report> {
    let machine = Machine::here();
    let steps = if quick { 30 } else { 120 };
    let models = [
        lenet5(64, steps),
        lenet5(256, steps / 2),
        perceptron("5 layers of 1024, batch 256", 1024, 5, 256, steps / 4),
    ];
    let curves = if with_curves { curves(quick) } else { Vec::new() };
    let points: usize = curves.iter().map(|(_, models)| models.len()).sum();
    let bar =
        bar((models.len() * (1 + ways(&models[0]).len()) + points) as u64 * u64::from(rounds));
    let mut first = Vec::new();
    let mut trainings = Vec::new();
    for (at, model) in models.iter().enumerate() {
        // The peer's script knows LeNet-5.
        let mut peer = peer.filter(|_| at < 2).map(|command| peer::Rounds::new(command, model));
        let (mut training, runs) = beside_one_process(model, rounds, peer.as_mut(), &bar)?;
        let ours: Vec<f64> = runs.iter().map(|r| r.step_ms).collect();
        training.peer = peer.and_then(|peer| peer.report(&ours));
        trainings.push(training);
        first.push(runs);
    }
    let mut drawn = Vec::new();
    for (over, models) in curves {
        let mut points = Vec::new();
        for (x, model) in models {
            bar.set_message(format!("{over}: {x}"));
            let times = (0..rounds).map(|_| {
                bar.inc(1);
                Ok(run(&model)?.step_ms)
            });
            // Twenty minutes of other figures are not thrown away for one point.
            match times.collect::<anyhow::Result<_>>() {
                Ok(times) => points.push((x, median(times))),
                Err(error) => {
                    writeln!(std::io::stderr(), "warning: no figure for {over}: {x}: {error}")?;
                }
            }
        }
        drawn.push(Curve { over, rounds, points });
    }
    let checkpoints_ratio = checkpoints(rounds, 4 * steps, &bar)?;
    bar.set_message("faults");
    let faults = match faults::all(rounds) {
        Ok(faults) => faults,
        Err(error) => {
            writeln!(std::io::stderr(), "warning: no figures for faults: {error}")?;
            Vec::new()
        }
    };
    bar.finish_and_clear();
    let lenet = &first[0];
    Ok(Report {
        machine,
        rounds,
        relay: relay(&models[2], &first[2]),
        first_step_ms: median(lenet.iter().map(|r| r.first_step_ms).collect()),
        layer_memory: median(
            lenet.iter().map(|r| r.layer_memory.iter().copied().fold(0.0, f64::max)).collect(),
        ),
        checkpoints_ratio,
        faults,
        trainings,
        curves: drawn,
    })
}

fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({eta} left)");
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn run(model: &Model) -> anyhow::Result<Run> {
    let folder = tempfile::tempdir()?;
    processes::train(&model.write(folder.path())?, folder.path(), 0)
}

/// Time with checkpoints at the default interval by the time without.
fn checkpoints(rounds: u32, steps: u32, bar: &ProgressBar) -> anyhow::Result<f64> {
    let model = lenet5(64, steps);
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        bar.set_message("checkpoints");
        let seconds = |every| {
            let folder = tempfile::tempdir()?;
            let file = model.write(folder.path())?;
            let run = processes::train(&file, folder.path(), every)?;
            bar.inc(1);
            anyhow::Ok(run.train_seconds)
        };
        ratios.push(seconds(CHECKPOINT_EVERY)? / seconds(0)?);
    }
    Ok(median(ratios))
}

/// Threads and parts of a batch that one process is tried with; the first computes the same bits.
fn ways(model: &Model) -> Vec<(u32, u32)> {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let mut ways = vec![(1, model.micro_batches), (1, 1)];
    if cores > 1 {
        ways.extend([(cores, 1), (cores, model.micro_batches)]);
    }
    ways
}

fn beside_one_process(
    model: &Model,
    rounds: u32,
    mut peer: Option<&mut peer::Rounds<'_>>,
    bar: &ProgressBar,
) -> anyhow::Result<(Training, Vec<Run>)> {
    let ways = ways(model);
    let (mut runs, mut alone) = (Vec::new(), vec![Vec::new(); ways.len()]);
    for _ in 0..rounds {
        bar.set_message(model.name.clone());
        runs.push(run(model)?);
        bar.inc(1);
        for ((threads, parts), times) in ways.iter().zip(&mut alone) {
            let folder = tempfile::tempdir()?;
            let file = model.in_parts(*parts).write(folder.path())?;
            times.push(one_process::time(&file, *threads)?);
            bar.inc(1);
        }
        if let Some(peer) = &mut peer {
            peer.time()?;
        }
    }
    let ratios = |way: usize| {
        median(runs.iter().zip(&alone[way]).map(|(run, ms)| run.step_ms / ms).collect())
    };
    let training = Training {
        model: model.name.clone(),
        micro_batches: model.micro_batches,
        over_relays_ms: median(runs.iter().map(|r| r.step_ms).collect()),
        // By the fastest way: the largest ratio.
        ratio: (0..ways.len()).map(ratios).fold(0.0, f64::max),
        ratio_same_bits: ratios(0),
        peer: None,
        one_process: ways
            .iter()
            .zip(&alone)
            .map(|(&(threads, micro_batches), times)| OneProcess {
                threads,
                micro_batches,
                ms: median(times.clone()),
            })
            .collect(),
    };
    Ok((training, runs))
}

/// Of a perceptron with messages of one size between layers: forward and back on each of its edges, and
/// its inputs forward.
fn relay(model: &Model, runs: &[Run]) -> Relay {
    let samples = (model.batch / model.micro_batches) as usize;
    // A tensor's head adds less than a cell.
    let cells = |numbers: usize| cells_for(numbers * 4 * samples);
    let a_micro_batch = cells(784) + 8 * cells(1024) + 2 * cells(10);
    let passed = a_micro_batch * (model.micro_batches * model.hops * (model.steps - 1)) as usize;
    let bytes = (passed * CELL) as f64;
    Relay {
        gigabytes_per_cpu_second: median(
            runs.iter().map(|r| bytes / 1e9 / r.relay_cpu.max(0.01)).collect(),
        ),
        memory: median(runs.iter().map(|r| r.relay_memory).collect()),
    }
}

/// What is changed, and the models for its values.
fn curves(quick: bool) -> Vec<(String, Vec<(f64, Model)>)> {
    let steps = if quick { 20 } else { 40 };
    let some = |all: &[u32], few: &[u32]| if quick { few.to_vec() } else { all.to_vec() };
    let of = |values: Vec<u32>, model: &dyn Fn(u32) -> Model| -> Vec<(f64, Model)> {
        values.into_iter().map(|x| (f64::from(x), model(x))).collect()
    };
    let layers = |n: u32| perceptron("layers", 64, n, 64, steps);
    // Numbers between layers, for messages of 1 KiB and more of 16 samples.
    let message = |kib: u32| perceptron("messages", kib * 16, 3, 64, steps);
    vec![
        ("layers".into(), of(some(&[2, 4, 8, 16, 32], &[2, 8]), &layers)),
        ("hops".into(), of(some(&[1, 2, 3, 4, 5], &[1, 3]), &|n| lenet5(64, steps).over(n))),
        (
            "micro-batches".into(),
            of(some(&[1, 2, 4, 8, 16], &[1, 4]), &|n| lenet5(64, steps).in_parts(n)),
        ),
        ("KiB a message".into(), of(some(&[1, 4, 16, 64, 256], &[1, 16]), &message)),
    ]
}
