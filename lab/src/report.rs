//! All experiments, and their results for machines.

use crate::attack::{Attacker, active, assign, matching, posterior, sizes};
use crate::chance::{advantage, clopper_pearson, stream};
use crate::learn::Classifier;
use crate::real;
use crate::sim::{Regime, Tamper, Taps, Truth, trial};
use mixnn_protocol::admission::Issuer;
use serde::{Deserialize, Serialize};

/// How much is done.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Trials of each experiment under constant rate.
    pub covered: usize,
    /// Trials of each other experiment.
    pub other: usize,
    /// Trials to train the classifier on.
    pub training: usize,
    /// Steps observed.
    pub steps: Vec<usize>,
    /// Lanes that cross at the relay.
    pub lanes: Vec<usize>,
}

impl Extent {
    /// What the published figures rest on.
    pub fn full() -> Self {
        Self {
            covered: 2000,
            other: 200,
            training: 60,
            steps: vec![2, 10, 100],
            lanes: vec![8, 16],
        }
    }

    /// What every test run does.
    pub fn bounded() -> Self {
        Self { covered: 300, other: 40, training: 20, steps: vec![2, 10], lanes: vec![8] }
    }
}

/// One row: an attacker against a regime.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// When the crossing relay lets cells go.
    pub regime: String,
    /// Who attacks.
    pub attacker: String,
    /// What it does to the links in.
    pub tamper: String,
    /// Lanes that cross at the relay.
    pub k: usize,
    /// Steps observed.
    pub steps: usize,
    /// Independent trials, each with one target lane.
    pub trials: u64,
    /// Trials in which the target's output was found.
    pub found: u64,
    /// Their share.
    pub accuracy: f64,
    /// (accuracy - 1/k) / (1 - 1/k).
    pub advantage: f64,
    /// Lower end of its 95 % interval (Clopper-Pearson).
    pub advantage_low: f64,
    /// Upper end.
    pub advantage_high: f64,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// By attackers, regimes, k, steps.
    pub rows: Vec<Row>,
    /// Attacker 2: windows of 8 bytes that are seen on both sides of the crossing.
    pub common_windows: u64,
    /// Real cells looked at for it.
    pub cells_compared: u64,
    /// Wakes after which the reduced and the product's crossing had let go the same counts.
    pub control_wakes: u64,
    /// Wakes after which they had not.
    pub control_differences: u64,
}

/// The regimes of the picture.
pub const REGIMES: [Regime; 5] = [
    Regime::None,
    Regime::Poisson(15.0),
    Regime::Poisson(1000.0),
    Regime::Timed(100.0),
    Regime::Constant(1.0),
];

/// Runs everything. `tell` hears of progress.
///
/// # Errors
/// The product's relay cannot be set up.
pub fn run(extent: &Extent, seed: u64, mut tell: impl FnMut(&str)) -> anyhow::Result<Report> {
    let mut rows = Vec::new();
    for &k in &extent.lanes {
        for regime in REGIMES {
            tell(&format!("{}, k = {k}", regime.name()));
            rows.extend(watching(extent, seed, regime, k));
            rows.extend(tampering(extent, seed, regime, k));
        }
    }
    tell("real cells");
    let issuer = Issuer::generate()?;
    let (common_windows, cells_compared) = real::common_windows(&issuer, 8, 40)?;
    let [reduced, whole] = real::counts_side_by_side(&issuer, &mut stream(seed), 6, 1000.0)?;
    let same = reduced.iter().zip(&whole).filter(|(a, b)| a == b).count() as u64;
    Ok(Report {
        rows,
        common_windows,
        cells_compared,
        control_wakes: same,
        control_differences: reduced.len() as u64 - same,
    })
}

fn trials_of(extent: &Extent, regime: Regime) -> usize {
    if matches!(regime, Regime::Constant(_)) { extent.covered } else { extent.other }
}

/// A seed of its own for each trial of each experiment.
fn seed_of(seed: u64, experiment: u64, trial: usize) -> u64 {
    seed ^ (experiment << 32) ^ trial as u64
}

fn watching(extent: &Extent, seed: u64, regime: Regime, k: usize) -> Vec<Row> {
    let most = extent.steps.iter().copied().max().unwrap_or(1);
    let one = |experiment, n| {
        trial(&mut stream(seed_of(seed, experiment, n)), regime, k, most, Tamper::Watch)
    };
    let mut rows = Vec::new();
    let training: Vec<(Taps, Truth)> = (0..extent.training).map(|n| one(1, n)).collect();
    let attackers = [Attacker::Sizes, Attacker::Posterior, Attacker::Matching, Attacker::Learned];
    let mut found = vec![[0u64; 4]; extent.steps.len()];
    let classifiers: Vec<Classifier> = extent
        .steps
        .iter()
        .map(|&steps| {
            // Re-labelled views of the same trials: training needs no independence between steps.
            let cut: Vec<(Taps, Truth)> =
                training.iter().map(|(taps, truth)| (taps.first(steps), truth.clone())).collect();
            Classifier::train(&cut)
        })
        .collect();
    let trials = trials_of(extent, regime);
    for n in 0..trials {
        let (taps, truth) = one(2, n);
        for (s, &steps) in extent.steps.iter().enumerate() {
            let seen = taps.first(steps);
            let scores =
                [sizes(&seen), posterior(&seen), matching(&seen), classifiers[s].scores(&seen)];
            for (a, scores) in scores.iter().enumerate() {
                found[s][a] += u64::from(truth.target_found(&assign(scores)));
            }
        }
    }
    for (s, &steps) in extent.steps.iter().enumerate() {
        for (a, attacker) in attackers.iter().enumerate() {
            let names = (regime.name(), attacker.name(), "watches");
            rows.push(row(names, k, steps, trials as u64, found[s][a]));
        }
    }
    rows
}

fn tampering(extent: &Extent, seed: u64, regime: Regime, k: usize) -> Vec<Row> {
    let steps = 10;
    let tampers = [
        ("delays every other 50 ms", Tamper::Delay(50.0)),
        ("drops every other 50 ms", Tamper::Drop(50.0)),
        ("cuts all lanes but one (n-1)", Tamper::OnlyFirst),
    ];
    let trials = trials_of(extent, regime);
    let mut rows = Vec::new();
    for (t, (name, tamper)) in tampers.into_iter().enumerate() {
        let run = |n| {
            let seed = seed_of(seed, 3 + t as u64, n);
            let (taps, truth) = trial(&mut stream(seed), regime, k, steps, tamper);
            truth.target_found(&assign(&active(&taps)))
        };
        let found = (0..trials).filter(|&n| run(n)).count() as u64;
        let names = (regime.name(), Attacker::Active.name(), name);
        rows.push(row(names, k, steps, trials as u64, found));
    }
    rows
}

fn row(
    (regime, attacker, tamper): (String, &str, &str),
    k: usize,
    steps: usize,
    trials: u64,
    found: u64,
) -> Row {
    let (low, high) = clopper_pearson(found, trials);
    let accuracy = found as f64 / trials as f64;
    Row {
        regime,
        attacker: attacker.into(),
        tamper: tamper.into(),
        k,
        steps,
        trials,
        found,
        accuracy,
        advantage: advantage(accuracy, k),
        advantage_low: advantage(low, k),
        advantage_high: advantage(high, k),
    }
}
