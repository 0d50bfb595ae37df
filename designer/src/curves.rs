//! Events as points of curves, under the names that TensorBoard and MLflow know them by.

use mixnn_events::{Spent, Step, Tested};

/// A curve's name, and a point of it.
pub(crate) type Point = (&'static str, f64);

/// What a step gives.
pub(crate) fn of_step(step: &Step) -> Vec<Point> {
    let mut out = vec![
        ("train/loss", step.loss),
        ("train/learning_rate", step.learning_rate),
        ("time/step_ms", step.milliseconds),
    ];
    if step.answers > 0 {
        out.push(("train/accuracy", step.correct as f64 / step.answers as f64));
    }
    out.extend(step.gradient_norm.map(|norm| ("train/gradient_norm", norm)));
    if let Some(Spent { outputs, loss, inputs, commit }) = step.spent {
        out.extend([("time/outputs_ms", outputs), ("time/loss_ms", loss)]);
        out.extend([("time/inputs_ms", inputs), ("time/commit_ms", commit)]);
    }
    out
}

/// What a test gives.
pub(crate) fn of_test(tested: &Tested) -> Vec<Point> {
    let mut out = vec![("test/loss", tested.loss)];
    out.extend(tested.accuracy().map(|share| ("test/accuracy", share)));
    out.extend(tested.top5_accuracy().map(|share| ("test/top5", share)));
    out.extend(tested.perplexity.map(|perplexity| ("test/perplexity", perplexity)));
    out
}
