//! Live progress of one training: a bar on a terminal, a line now and then elsewhere.

use crate::{output, table};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use mixnn_events::{Event, Mode, Phase, Plan, Privacy, Reading, Recovered, Step};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Without a terminal, a line at most so often.
const QUIET: Duration = Duration::from_secs(5);
/// How fast loss and accuracy follow.
const FOLLOW: f64 = 0.05;

/// Draws the events of a training.
pub struct Progress {
    title: &'static str,
    bar: ProgressBar,
    terminal: bool,
    last_line: Option<Instant>,
    epochs: u32,
    smooth: Option<(f64, f64)>,
}

impl Progress {
    /// Nothing drawn yet.
    pub fn new(title: &'static str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Self { title, bar, terminal, last_line: None, epochs: 0, smooth: None }
    }

    /// Draws an event.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Reading(reading) => self.reading(reading),
            Event::Plan(plan) => self.plan(plan),
            Event::Phase(phase) => self.phase(*phase),
            Event::Step(step) => self.step(step),
            Event::Tested(tested) => {
                let metrics = table::metrics(tested);
                let metrics: Vec<String> =
                    metrics.iter().map(|(name, value)| format!("{name} {value}")).collect();
                self.say(&format!(
                    "{}: epoch {}/{}: test {}",
                    self.title,
                    tested.epoch,
                    self.epochs,
                    metrics.join(", ")
                ));
            }
            Event::Fault(fault) => self.say(&format!("{}: {}", self.title, fault.message)),
            Event::Recovered(recovered) => self.say(&self.recovered(recovered)),
            Event::Checkpointed(_) | Event::Ring(_) | Event::Times(_) | Event::Said(_) => {}
            Event::CheckpointFailed(failed) => self.bar.suspend(|| {
                output::warning(format!(
                    "no checkpoint after step {}: {}; training goes on",
                    failed.step, failed.message
                ));
            }),
            Event::Serving(serving) => {
                let mixnn_events::Serving { url, model, version } = serving;
                self.say(&format!(
                    "{}: {url}/v2/models/{model} answers with version {version}",
                    self.title
                ));
            }
            Event::Trained(_) | Event::ServingEnded(_) | Event::Done(_) | Event::Failed(_) => {
                self.bar.finish_and_clear();
            }
        }
    }

    fn reading(&mut self, reading: &Reading) {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (done, total) = (mib(reading.done), mib(reading.total));
        self.bar.set_style(spinner("reading data"));
        let text = format!("{}: {done:.1} of {total:.1} MiB", reading.what);
        self.bar.set_message(text.clone());
        self.bar.tick();
        let due = self.last_line.is_none_or(|last| last.elapsed() >= QUIET);
        if !self.terminal && due && reading.done < reading.total {
            self.last_line = Some(Instant::now());
            output::note(format!("{}: reading {text}", self.title));
        }
    }

    fn plan(&mut self, plan: &Plan) {
        self.epochs = plan.epochs;
        self.bar.set_length(plan.steps);
        let place = match &plan.mode {
            Mode::Reference => String::new(),
            Mode::Distributed { relays, hops, suite, warnings, privacy } => {
                self.privacy(privacy);
                warnings.iter().for_each(|w| self.bar.suspend(|| output::warning(w)));
                format!(
                    "{} layer processes, {relays} mix relays, {hops} hops, {suite}; ",
                    plan.layers.len()
                )
            }
        };
        self.say(&format!(
            "{}: {place}{} parameters, {} + {} samples, {} epoch{}, {} steps of {} micro-batches",
            self.title,
            plan.parameters,
            plan.train_samples,
            plan.test_samples,
            plan.epochs,
            if plan.epochs == 1 { "" } else { "s" },
            plan.steps,
            plan.micro_batches
        ));
    }

    fn privacy(&self, privacy: &Privacy) {
        let rate = match (privacy.cells_per_second, privacy.control_cells_per_second) {
            (Some(bulk), Some(control)) => {
                format!(" at {bulk} cells/s, {control} on control lanes")
            }
            _ => String::new(),
        };
        self.say(&format!("{}: cover {}{rate}: {}", self.title, privacy.cover, privacy.sentence));
    }

    fn phase(&mut self, phase: Phase) {
        match phase {
            Phase::Initialisation => self.bar.set_style(spinner("setting up lanes")),
            Phase::Training => self.bar.set_style(steps()),
            Phase::Testing => self.bar.set_message("testing"),
            Phase::Finishing => self.bar.set_style(spinner("collecting digests and weights")),
        }
        self.bar.tick();
    }

    fn step(&mut self, step: &Step) {
        let accuracy = step.correct as f64 / step.answers.max(1) as f64;
        let follow = |old: f64, new: f64| old + FOLLOW * (new - old);
        let (loss, accuracy) = match self.smooth {
            None => (step.loss, accuracy),
            Some((l, a)) => (follow(l, step.loss), follow(a, accuracy)),
        };
        self.smooth = Some((loss, accuracy));
        let epochs = self.epochs;
        let share = match step.answers {
            0 => String::new(),
            _ => format!("  accuracy {:.1} %", 100.0 * accuracy),
        };
        let text = format!("epoch {}/{epochs}  loss {loss:.4}{share}", step.epoch);
        self.bar.set_position(step.step);
        self.bar.set_message(text.clone());
        let due = self.last_line.is_none_or(|last| last.elapsed() >= QUIET);
        if !self.terminal && due {
            // One step tells nothing of those to come.
            let left = self.last_line.map(|_| format!("  {} s left", self.bar.eta().as_secs()));
            let left = left.unwrap_or_default();
            self.last_line = Some(Instant::now());
            let (of, ms) = (self.bar.length().unwrap_or(0), step.milliseconds);
            output::note(format!(
                "{}: step {}/{of}  {text}  {ms:.1} ms/step{left}",
                self.title, step.step
            ));
        }
    }

    fn recovered(&self, recovered: &Recovered) -> String {
        let again = recovered.committed.saturating_sub(recovered.resumed_after);
        let layers = match recovered.layers.as_slice() {
            [] => String::new(),
            names => format!("; another pod for {}", names.join(", ")),
        };
        format!(
            "{}: goes on after {:.0} ms at step {}, {again} steps again; {} lanes redrawn{layers}",
            self.title,
            recovered.milliseconds,
            recovered.resumed_after + 1,
            recovered.lanes
        )
    }

    /// Lets `draw` write between two drawings of the bar.
    pub fn hide<T>(&self, draw: impl FnOnce() -> T) -> T {
        self.bar.suspend(draw)
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| output::note(text));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A spinner of its own, drawn on a terminal only.
pub fn spin(text: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(spinner(text));
    bar
}

fn spinner(text: &'static str) -> ProgressStyle {
    ProgressStyle::with_template(&format!("{{spinner}} {text} {{msg}} {{elapsed}}"))
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn steps() -> ProgressStyle {
    let template = "{bar:28} {pos}/{len}  {msg}  {rate}  ETA {eta}";
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, w: &mut dyn std::fmt::Write| {
            let _ = write!(w, "{:.1} ms/step", 1e3 / state.per_sec().max(1e-9));
        })
}
