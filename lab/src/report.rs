//! All experiments, and their results for machines.

use crate::attack::{Attacker, Scores, active, assign, knows, matching, posterior, sizes};
use crate::chance::{advantage, clopper_pearson, stream};
use crate::crossing::{Desk, Fault};
use crate::learn::Classifier;
use crate::sim::{Regime, Tamper, Taps, Truth, trial};
use crate::{bytes, hosts, many};
use serde::{Deserialize, Serialize};

/// How much is done.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Trials of each experiment under constant rate, with 8 lanes; with more lanes half as many, for the
    /// interval of the advantage is the narrower, the more lanes there are.
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

    /// What every test run does: seconds.
    pub fn bounded() -> Self {
        Self { covered: 40, other: 16, training: 12, steps: vec![2, 10], lanes: vec![8] }
    }
}

/// All links, and all relays but the crossing one.
pub const ALL_LINKS: &str = "all links, all relays but the crossing one";
/// The first and the last relay of the lanes.
pub const ENTRY_AND_EXIT: &str = "entry and exit relays";
/// Two ends, with one honest layer between them: not what the claim is of.
pub const TWO_HOSTS: &str = "hosts of two layers, one honest layer between them";

/// One row: an attacker against a regime.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// When the crossing relay lets cells go.
    pub regime: String,
    /// Who attacks.
    pub attacker: String,
    /// What it has.
    pub controls: String,
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
}

/// The regimes of the picture.
pub const REGIMES: [Regime; 5] = [
    Regime::None,
    Regime::Poisson(15.0),
    Regime::Poisson(1000.0),
    Regime::Timed(100.0),
    Regime::Constant,
];

/// Crossings that are broken on purpose: attackers who do not notice would say nothing of one that is not.
pub const CONTROLS: [Regime; 2] =
    [Regime::Broken(Fault::Forwards), Regime::Broken(Fault::RealCellsLate(0.02))];

/// Runs everything. `tell` hears of progress.
///
/// # Errors
/// The product's relay cannot be set up.
pub fn run(extent: &Extent, seed: u64, mut tell: impl FnMut(&str)) -> anyhow::Result<Report> {
    let most = extent.lanes.iter().copied().max().unwrap_or(1).max(8);
    let lab = Lab { extent, seed, desk: Desk::new(most)? };
    let mut rows = Vec::new();
    for &k in &extent.lanes {
        for regime in REGIMES.into_iter().chain(CONTROLS) {
            tell(&format!("{}, k = {k}", regime.name()));
            rows.extend(lab.watching(regime, k)?);
            rows.extend(lab.tampering(regime, k)?);
        }
        tell(&format!("two hosts, k = {k}"));
        rows.extend(lab.two_hosts(k)?);
    }
    tell("bytes");
    let (common_windows, cells_compared) = bytes::common_windows(&lab.desk, seed, 8)?;
    Ok(Report { rows, common_windows, cells_compared })
}

struct Lab<'a> {
    extent: &'a Extent,
    seed: u64,
    desk: Desk,
}

/// For each number of steps, whether each attacker found the target.
type Found = Vec<Vec<bool>>;

const WATCHERS: [Attacker; 5] =
    [Attacker::Sizes, Attacker::Posterior, Attacker::Matching, Attacker::Knows, Attacker::Learned];
/// The same at the ends of the lanes only.
const AT_THE_ENDS: [Attacker; 2] = [Attacker::Matching, Attacker::Knows];

impl Lab<'_> {
    const fn trials(&self, regime: Regime, k: usize) -> usize {
        match regime {
            Regime::Constant if k > 8 => self.extent.covered / 2,
            Regime::Constant => self.extent.covered,
            _ => self.extent.other,
        }
    }

    /// A seed of its own for each trial of each experiment.
    fn rng(&self, experiment: u64, trial: usize) -> rand_chacha::ChaCha8Rng {
        stream(self.seed ^ (experiment << 32) ^ trial as u64)
    }

    fn watching(&self, regime: Regime, k: usize) -> anyhow::Result<Vec<Row>> {
        let steps = self.steps(regime);
        let most = steps.iter().copied().max().unwrap_or(1);
        let one = |experiment, n| {
            let rng = &mut self.rng(experiment, n);
            trial(&self.desk, rng, regime, k, most, Tamper::Watch)
        };
        let training = many(self.extent.training, |n| one(1, n))?;
        let classifiers: Vec<Classifier> = steps.iter().map(|&s| trained(&training, s)).collect();
        let trials = self.trials(regime, k);
        let all: Vec<Found> = many(trials, |n| {
            let (taps, truth) = one(2, n)?;
            let of = |(&s, c): (&usize, &Classifier)| watch(&taps.first(s), &truth, c);
            Ok(steps.iter().zip(&classifiers).map(of).collect())
        })?;
        let names = WATCHERS.iter().map(|a| (a.name(), ALL_LINKS));
        let names: Vec<_> =
            names.chain(AT_THE_ENDS.iter().map(|a| (a.name(), ENTRY_AND_EXIT))).collect();
        let mut rows = Vec::new();
        for (s, &steps) in steps.iter().enumerate() {
            for (a, &(attacker, controls)) in names.iter().enumerate() {
                let found = all.iter().filter(|found| found[s][a]).count() as u64;
                let what = What { regime: regime.name(), attacker, controls, tamper: "watches" };
                rows.push(what.row(k, steps, trials as u64, found));
            }
        }
        Ok(rows)
    }

    /// Controls need not be watched for long.
    fn steps(&self, regime: Regime) -> Vec<usize> {
        let control = matches!(regime, Regime::Broken(_));
        self.extent.steps.iter().copied().filter(|s| !control || *s <= 10).collect()
    }

    fn tampering(&self, regime: Regime, k: usize) -> anyhow::Result<Vec<Row>> {
        let steps = 10;
        let tampers = [
            ("delays every other 50 ms", Tamper::Delay(50.0)),
            ("drops every other 50 ms", Tamper::Drop(50.0)),
            ("floods every other 50 ms", Tamper::Flood(50.0)),
            ("cuts all lanes but one (n-1)", Tamper::OnlyFirst),
        ];
        let trials = self.trials(regime, k);
        let mut rows = Vec::new();
        for (t, (name, tamper)) in tampers.into_iter().enumerate() {
            let found = many(trials, |n| {
                let rng = &mut self.rng(3 + t as u64, n);
                let (taps, truth) = trial(&self.desk, rng, regime, k, steps, tamper)?;
                Ok(truth.target_found(&assign(&active(&taps))))
            })?;
            let found = found.into_iter().filter(|f| *f).count() as u64;
            let attacker = Attacker::Active.name();
            let what = What { regime: regime.name(), attacker, controls: ALL_LINKS, tamper: name };
            rows.push(what.row(k, steps, trials as u64, found));
        }
        Ok(rows)
    }

    fn two_hosts(&self, k: usize) -> anyhow::Result<Vec<Row>> {
        let trials = self.extent.other;
        let of = |&steps: &usize| {
            let found = many(trials, |n| hosts::found(&self.desk, &mut self.rng(9, n), k, steps))?;
            let found = found.into_iter().filter(|f| *f).count() as u64;
            let (regime, attacker) = (Regime::Constant.name(), "steadiness");
            let what = What { regime, attacker, controls: TWO_HOSTS, tamper: "watches" };
            Ok(what.row(k, steps, trials as u64, found))
        };
        self.extent.steps.iter().filter(|s| **s <= 10).map(of).collect()
    }
}

/// Training needs no independence between numbers of steps: views of the same trials.
fn trained(trials: &[(Taps, Truth)], steps: usize) -> Classifier {
    let cut: Vec<(Taps, Truth)> =
        trials.iter().map(|(taps, truth)| (taps.first(steps), truth.clone())).collect();
    Classifier::train(&cut)
}

/// Which attackers find the target, in the order of [`WATCHERS`] and [`AT_THE_ENDS`].
fn watch(seen: &Taps, truth: &Truth, classifier: &Classifier) -> Vec<bool> {
    let ends = seen.entry_and_exit();
    let scores: [Scores; 7] = [
        sizes(seen),
        posterior(seen),
        matching(seen),
        knows(seen),
        classifier.scores(seen),
        matching(&ends),
        knows(&ends),
    ];
    scores.iter().map(|scores| truth.target_found(&assign(scores))).collect()
}

struct What<'a> {
    regime: String,
    attacker: &'a str,
    controls: &'a str,
    tamper: &'a str,
}

impl What<'_> {
    fn row(self, k: usize, steps: usize, trials: u64, found: u64) -> Row {
        let (low, high) = clopper_pearson(found, trials);
        let accuracy = found as f64 / trials as f64;
        Row {
            regime: self.regime,
            attacker: self.attacker.into(),
            controls: self.controls.into(),
            tamper: self.tamper.into(),
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
}
