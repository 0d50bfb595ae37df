//! A model as a tree of text.

use super::view::{ConditionView, State, View, is_trouble};
use crate::output;
use crate::spark;
use mixnn_crds::{Counted, CoverTraffic};
use std::fmt::Write;

/// A branch, and what hangs from it.
struct Branch(String, Vec<String>);

/// Draws it.
pub fn draw(view: &View) -> String {
    let mut text = format!(
        "{} in {}: {}\n",
        output::strong(&view.name),
        view.namespace,
        output::strong(&view.phase)
    );
    let branches = branches(view);
    for (i, Branch(head, leaves)) in branches.iter().enumerate() {
        let last = i + 1 == branches.len();
        let _ = writeln!(text, "{} {head}", if last { "└─" } else { "├─" });
        for (j, leaf) in leaves.iter().enumerate() {
            let trunk = if last { " " } else { "│" };
            let knot = if j + 1 == leaves.len() { "└─" } else { "├─" };
            let _ = writeln!(text, "{trunk}  {knot} {leaf}");
        }
    }
    for advice in &view.next {
        let _ = writeln!(text, "next: {advice}");
    }
    text.trim_end().to_owned()
}

fn row(name: &str, text: &str) -> String {
    format!("{name:<11}{text}").trim_end().to_owned()
}

fn branches(view: &View) -> Vec<Branch> {
    let one = |row| Branch(row, Vec::new());
    let mut all: Vec<Branch> = figures(view).into_iter().map(one).collect();
    all.push(Branch(
        row("layers", &pods(view.layer_pods.as_ref(), view.layers.len())),
        layers(view),
    ));
    let hops = format!("{}, {} hops a lane", pods(view.relay_pods.as_ref(), 0), view.hops);
    all.push(one(row("relays", &hops)));
    all.push(privacy(view));
    if !view.conditions.is_empty() {
        all.push(Branch("conditions".into(), conditions(view)));
    }
    all
}

fn figures(view: &View) -> Vec<String> {
    let training = &view.training;
    let mut all = Vec::new();
    if let (Some(step), Some(total)) = (training.step, training.total_steps) {
        let bar = spark::bar(step.unsigned_abs(), total.unsigned_abs());
        let percent = training.percent.as_deref().unwrap_or_default();
        let epoch = training.epoch.map(|e| format!(", epoch {e} of {}", view.epochs));
        let left = training.eta.as_ref().map(|eta| format!(", {eta} left"));
        let (epoch, left) = (epoch.unwrap_or_default(), left.unwrap_or_default());
        all.push(row("progress", &format!("{bar} {percent}, step {step} of {total}{epoch}{left}")));
    }
    if let Some(loss) = &training.loss {
        let curve = training.curve.as_ref().map(|c| &c.loss).into_iter().flatten();
        let curve: Vec<f64> = curve.filter_map(|l| l.parse().ok()).collect();
        all.push(row("loss", &format!("{loss}  {}", spark::line(&curve))));
    }
    if let Some(accuracy) = &training.accuracy {
        all.push(row("accuracy", &format!("{accuracy} of the test set")));
    }
    if let Some(step) = training.checkpoint {
        all.push(row("checkpoint", &format!("the newest is of step {step}")));
    }
    if let Some(weights) = &training.weights {
        all.push(row("weights", weights));
    }
    if let Some(serving) = &view.serving {
        all.push(row("serving", &format!("{}, version {}", serving.url, serving.version)));
    }
    if let Some(digest) = &training.digest {
        all.push(row("digest", digest));
    }
    all
}

fn pods(counted: Option<&Counted>, wanted: usize) -> String {
    match counted {
        None if wanted > 0 => format!("0/{wanted} pods registered"),
        None => "none yet".into(),
        Some(Counted { ready, replaced: 0, .. }) => format!("{ready} pods registered"),
        Some(Counted { ready, replaced, .. }) => {
            format!("{ready} pods registered, {replaced} replaced")
        }
    }
}

fn layers(view: &View) -> Vec<String> {
    let width = view.layers.iter().map(|l| l.name.chars().count()).max().unwrap_or(0);
    let one = |layer: &super::view::LayerView| {
        let padded = format!("{:<width$}", layer.name);
        format!("{padded}  {}  ({})", layer.ops.join(", "), layer.class)
    };
    let sealed =
        |layer: &super::view::LayerView| format!("{} of class {}", layer.name, layer.class);
    view.layers.iter().map(|l| if l.ops.is_empty() { sealed(l) } else { one(l) }).collect()
}

fn privacy(view: &View) -> Branch {
    let cover = match view.cover {
        CoverTraffic::None => "no cover traffic",
        CoverTraffic::ConstantRate => "constant-rate cover",
    };
    let Some(privacy) = &view.privacy else { return Branch(row("privacy", cover), Vec::new()) };
    let pool = match privacy.models_in_pool {
        0 | 1 => "relays of its own".to_owned(),
        models => format!("relays shared by about {models} models"),
    };
    Branch(row("privacy", &format!("{cover}, {pool}")), privacy.warnings.clone())
}

/// What two say in the same words is said once.
fn conditions(view: &View) -> Vec<String> {
    let mut said = "";
    let mut rows = Vec::new();
    for condition in &view.conditions {
        let news = if condition.message == said { "" } else { condition.message.as_str() };
        rows.push(condition_row(condition, news));
        said = &condition.message;
    }
    rows
}

fn condition_row(condition: &ConditionView, message: &str) -> String {
    let ConditionView { type_, state, reason, .. } = condition;
    let colon = if message.is_empty() { "" } else { ": " };
    match state {
        State::Good if is_trouble(type_) => format!("{} not {type_}", output::good("✓")),
        State::Good => format!("{} {type_}", output::good("✓")),
        State::Waits => format!("… {type_}: {reason}{colon}{message}"),
        State::Bad => format!("{} {type_}: {reason}{colon}{message}", output::bad("✗")),
    }
}
