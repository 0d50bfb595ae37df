//! From events to a status. Pure.

use crate::curve::Curve;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use mixnn_crds::{ServingStatus, TrainingStatus, condition};
use mixnn_events::{Event, Phase};
use std::time::{Duration, Instant};

/// The longest message of a condition.
const LONGEST: usize = 4096;

/// How the training goes, as the status says it.
#[derive(Clone, Debug)]
pub struct Progress {
    training: TrainingStatus,
    curve: Curve,
    conditions: [Condition; 4],
    /// What is offered to clients, where this is the status of a model that is served.
    offer: Option<ServingStatus>,
    /// Whether it answers.
    answers: bool,
    total: u64,
    step: u64,
    /// When the first step of this process was seen, and which it was.
    begun: Option<(Instant, u64)>,
    weights: Option<String>,
}

/// Places of the conditions.
const INITIALIZED: usize = 0;
const TRAINED: usize = 1;
const DEGRADED: usize = 2;
const SERVING: usize = 3;

impl Progress {
    /// Nothing has happened yet. `weights`: where the trained weights will be kept, if anywhere.
    pub fn new(generation: Option<i64>, weights: Option<String>, now: Timestamp) -> Self {
        let condition = |type_: &str, reason: &str, message: &str| Condition {
            type_: type_.into(),
            status: "False".into(),
            reason: reason.into(),
            message: message.into(),
            observed_generation: generation,
            last_transition_time: Time(now),
        };
        let gathering = "layers and relays are gathered, lanes drawn";
        Self {
            training: TrainingStatus::default(),
            curve: Curve::default(),
            conditions: [
                condition(condition::INITIALIZED, "Initialising", gathering),
                condition(condition::TRAINED, "Initialising", gathering),
                condition(condition::TRAINING_DEGRADED, "AsExpected", "nothing is amiss"),
                condition(
                    condition::SERVING,
                    "NotServed",
                    "the model is served once it is trained, if spec.serving.enabled is true",
                ),
            ],
            offer: None,
            answers: false,
            total: 0,
            step: 0,
            begun: None,
            weights,
        }
    }

    /// The status of a trained model that is about to be served: `before` is what was said of it.
    pub fn of_served(
        generation: Option<i64>,
        offer: ServingStatus,
        before: (Option<TrainingStatus>, &[Condition]),
        now: Timestamp,
    ) -> Self {
        let (training, old) = before;
        let mut progress = Self::new(generation, None, now);
        progress.offer = Some(offer);
        let text = "every layer has its pod and its parameters";
        progress.say(INITIALIZED, true, "Established", text, now);
        progress.say(TRAINED, true, "Trained", "the newest checkpoint is served", now);
        progress.say(SERVING, false, "Starting", "the layers take up the newest checkpoint", now);
        progress.training = training.unwrap_or_default();
        for condition in &mut progress.conditions {
            let same = |c: &&Condition| c.type_ == condition.type_ && c.status == condition.status;
            if let Some(old) = old.iter().find(same) {
                condition.last_transition_time = old.last_transition_time.clone();
                if condition.type_ == condition::TRAINED {
                    condition.message.clone_from(&old.message);
                }
            }
        }
        progress
    }

    /// What `status.serving` says.
    pub fn serving(&self) -> Option<&ServingStatus> {
        self.offer.as_ref().filter(|_| self.answers)
    }

    /// Takes up what the designer before this one said: figures until there are newer ones, if it trained the
    /// same, and times of conditions that have not changed.
    pub fn take_up(&mut self, training: Option<TrainingStatus>, old: &[Condition]) {
        let generation = self.conditions[TRAINED].observed_generation;
        let is_same =
            |c: &Condition| c.type_ == condition::TRAINED && c.observed_generation == generation;
        if old.iter().any(is_same) {
            self.training = TrainingStatus { eta: None, ..training.unwrap_or_default() };
            self.curve = Curve::of(self.training.curve.as_ref());
        }
        for condition in &mut self.conditions {
            let same = |c: &&Condition| c.type_ == condition.type_ && c.status == condition.status;
            if let Some(old) = old.iter().find(same) {
                condition.last_transition_time = old.last_transition_time.clone();
                if condition.type_ == condition::SERVING {
                    // Why it is not served is still true.
                    condition.reason.clone_from(&old.reason);
                    condition.message.clone_from(&old.message);
                }
            }
        }
    }

    /// What `status.training` says.
    pub const fn training(&self) -> &TrainingStatus {
        &self.training
    }

    /// The designer's conditions, all of them.
    pub const fn conditions(&self) -> &[Condition; 4] {
        &self.conditions
    }

    /// Takes an event in. Gives whether the status says something else now.
    pub fn event(&mut self, event: &Event, at: Instant, now: Timestamp) -> bool {
        if self.offer.is_some() {
            return self.served(event, now);
        }
        match event {
            Event::Plan(plan) => {
                self.total = plan.steps;
                self.training.total_steps = Some(plan.steps as i64);
                let text = "every layer has its pod and its parameters";
                self.say(INITIALIZED, true, "Established", text, now);
                self.say(TRAINED, false, "InProgress", "the training goes on", now);
                self.fine(now);
            }
            Event::Phase(phase) => return self.phase(*phase),
            Event::Step(step) => {
                self.training.epoch = Some(step.epoch);
                self.training.loss = Some(format!("{:.6}", step.loss));
                self.curve.add(step.step, step.loss);
                self.training.curve = self.curve.status();
                self.steps(step.step, at);
            }
            Event::Tested(tested) => {
                let accuracy = tested.accuracy().map(|a| format!("{:.2}%", a * 100.0));
                self.training.accuracy = accuracy;
            }
            Event::Fault(fault) => self.say(DEGRADED, true, "Recovering", &fault.message, now),
            Event::Recovered(recovered) => {
                self.begun = None;
                self.curve.resume(recovered.resumed_after);
                self.steps(recovered.resumed_after, at);
                self.fine(now);
            }
            Event::Checkpointed(checkpointed) => {
                self.training.checkpoint = Some(checkpointed.step as i64);
                if self.conditions[DEGRADED].reason == "CheckpointFailed" {
                    self.fine(now);
                }
            }
            Event::CheckpointFailed(failed) => {
                let text = format!("the checkpoint after step {}: {}", failed.step, failed.message);
                self.say(DEGRADED, true, "CheckpointFailed", &text, now);
            }
            Event::Trained(outcome) => {
                self.training.digest = Some(outcome.digest.clone());
                self.training.weights.clone_from(&self.weights);
                self.steps(outcome.steps, at);
                self.training.eta = None;
                let text = self.weights.as_ref().map_or_else(
                    || "the weights are not kept: spec.checkpoints names no place for them".into(),
                    |place| format!("the weights are in {place}"),
                );
                self.say(TRAINED, true, "Trained", &text, now);
                self.fine(now);
            }
            Event::Failed(failed) => {
                self.say(TRAINED, false, &failed.reason, &failed.message, now);
                self.say(DEGRADED, true, &failed.reason, &failed.message, now);
            }
            Event::Reading(_)
            | Event::Ring(_)
            | Event::Times(_)
            | Event::Said(_)
            | Event::Serving(_)
            | Event::ServingEnded(_)
            | Event::Done(_) => {
                return false;
            }
        }
        true
    }

    /// Takes in what happens to a model that is served.
    fn served(&mut self, event: &Event, now: Timestamp) -> bool {
        match event {
            Event::Serving(serving) => {
                if let Some(offer) = &mut self.offer {
                    offer.version = serving.version.to_string();
                }
                self.answering(now);
            }
            Event::Recovered(_) => self.answering(now),
            Event::Fault(fault) => {
                let text = format!("requests wait: {}", fault.message);
                self.say(SERVING, false, "Recovering", &text, now);
            }
            Event::ServingEnded(ended) => {
                self.answers = false;
                self.say(SERVING, false, &ended.reason, &ended.message, now);
            }
            Event::Failed(failed) => {
                self.answers = false;
                self.say(SERVING, false, &failed.reason, &failed.message, now);
            }
            _ => return false,
        }
        true
    }

    fn answering(&mut self, now: Timestamp) {
        let Some(offer) = &self.offer else { return };
        self.answers = true;
        let text = format!("version {} answers at {}", offer.version, offer.url);
        self.say(SERVING, true, "Serving", &text, now);
    }

    fn phase(&mut self, phase: Phase) -> bool {
        let text = match phase {
            Phase::Initialisation => "Initialisation",
            Phase::Training => "Training",
            Phase::Testing => "Testing",
            Phase::Finishing => "Finishing",
        };
        self.training.phase.replace(text.into()).as_deref() != Some(text)
    }

    fn steps(&mut self, step: u64, at: Instant) {
        let (since, first) = *self.begun.get_or_insert((at, step));
        self.step = step;
        self.training.step = Some(step as i64);
        let percent = (step * 100).checked_div(self.total);
        self.training.percent = percent.map(|p| format!("{p}%"));
        let made = step.saturating_sub(first);
        let left = self.total.saturating_sub(step);
        self.training.eta = (made > 0).then(|| {
            let each = at.saturating_duration_since(since).as_secs_f64() / made as f64;
            span(Duration::from_secs_f64(each * left as f64))
        });
    }

    fn fine(&mut self, now: Timestamp) {
        self.say(DEGRADED, false, "AsExpected", "nothing is amiss", now);
    }

    fn say(&mut self, which: usize, status: bool, reason: &str, message: &str, now: Timestamp) {
        let condition = &mut self.conditions[which];
        let status = if status { "True" } else { "False" };
        if condition.status != status {
            condition.last_transition_time = Time(now);
        }
        condition.status = status.into();
        condition.reason = reason.into();
        condition.message = message.chars().take(LONGEST).collect();
    }
}

/// A span as people write it: 45s, 3m20s, 2h05m.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use mixnn_events::{Failed, Fault};
    use serde_json::json;

    fn event(text: serde_json::Value) -> Event {
        serde_json::from_value(text).unwrap()
    }

    fn step(step: u64) -> Event {
        event(
            json!({"event": "step", "epoch": 1, "step": step, "loss": 0.5, "answers": 4, "correct": 1,
            "samples": 4, "milliseconds": 1.0}),
        )
    }

    fn plan() -> Event {
        event(
            json!({"event": "plan", "layers": ["a"], "parameters": 1, "trainSamples": 1, "testSamples": 1,
            "epochs": 1, "steps": 200, "microBatches": 1, "mode": "reference"}),
        )
    }

    fn condition(progress: &Progress, type_: &str) -> (String, String) {
        let found = progress.conditions().iter().find(|c| c.type_ == type_).unwrap();
        (found.status.clone(), found.reason.clone())
    }

    #[test]
    fn from_the_first_event_to_the_last() {
        let (start, now) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let mut progress = Progress::new(Some(2), Some("/checkpoints/net".into()), now);
        let mut tell = |e: &Event, s: u64| {
            progress.event(e, start + Duration::from_secs(s), now);
            progress.clone()
        };
        tell(&Event::Phase(Phase::Initialisation), 0);
        let there = tell(&plan(), 1);
        assert_eq!(condition(&there, "Initialized"), ("True".into(), "Established".into()));
        tell(&step(1), 10);
        let later = tell(&step(51), 20);
        let training = later.training();
        assert_eq!(training.percent.as_deref(), Some("25%"));
        assert_eq!(training.eta.as_deref(), Some("29s"), "149 steps of 0.2 s");
        let fault = tell(&Event::Fault(Fault { message: "lost layer \"a\"".into() }), 21);
        let degraded = ("True".to_owned(), "Recovering".to_owned());
        assert_eq!(condition(&fault, "TrainingDegraded"), degraded);
        let outcome = json!({"event": "trained", "tested": {"epoch": 1, "loss": 0.1, "answers": 4, "correct": 3,
            "samples": 4}, "steps": 200, "medianStepMs": 1.0, "trainSeconds": 1.0, "digest": "d1"});
        let trained = tell(&event(outcome), 40);
        assert_eq!(condition(&trained, "Trained"), ("True".into(), "Trained".into()));
        assert_eq!(condition(&trained, "TrainingDegraded").0, "False");
        assert_eq!(trained.training().digest.as_deref(), Some("d1"));
        assert_eq!(trained.training().percent.as_deref(), Some("100%"));
    }

    #[test]
    fn a_failure_names_its_reason_and_old_times_are_kept() {
        let (at, now) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let later = Timestamp::new(60, 0).unwrap();
        let mut progress = Progress::new(None, None, later);
        let mut old = progress.conditions().to_vec();
        old[TRAINED].last_transition_time = Time(now);
        let figures =
            TrainingStatus { step: Some(7), eta: Some("1s".into()), ..Default::default() };
        progress.take_up(Some(figures), &old);
        assert_eq!((progress.training().step, &progress.training().eta), (Some(7), &None));
        let failed = Failed { reason: "LayerCounts".into(), message: "two, not three".into() };
        assert!(progress.event(&Event::Failed(failed), at, later));
        let trained = &progress.conditions()[TRAINED];
        assert_eq!((trained.reason.as_str(), trained.last_transition_time.0), ("LayerCounts", now));
        assert_eq!(progress.conditions()[DEGRADED].last_transition_time.0, later);
    }

    #[test]
    fn a_served_model_stays_trained_and_says_where_it_answers() {
        let (at, now) = (Instant::now(), Timestamp::UNIX_EPOCH);
        let figures = TrainingStatus { digest: Some("d1".into()), ..Default::default() };
        let offer = ServingStatus {
            url: "https://net-serving.vision.svc:8443".into(),
            ..Default::default()
        };
        let old = Progress::new(None, None, now).conditions().to_vec();
        let mut progress = Progress::of_served(Some(3), offer, (Some(figures), &old), now);
        assert_eq!(condition(&progress, "Trained").0, "True");
        assert_eq!(condition(&progress, "Serving"), ("False".into(), "Starting".into()));
        assert_eq!(progress.serving(), None);
        let serving = json!({"event": "serving", "url": "x", "model": "net", "version": 6});
        assert!(progress.event(&event(serving), at, now));
        assert_eq!(condition(&progress, "Serving"), ("True".into(), "Serving".into()));
        assert_eq!(progress.serving().unwrap().version, "6");
        progress.event(&Event::Fault(Fault { message: "lost layer".into() }), at, now);
        assert_eq!(condition(&progress, "Serving"), ("False".into(), "Recovering".into()));
        let failed = Failed { reason: "Weights".into(), message: "gone".into() };
        progress.event(&Event::Failed(failed), at, now);
        assert_eq!(condition(&progress, "Serving"), ("False".into(), "Weights".into()));
        assert_eq!(condition(&progress, "Trained").0, "True", "it is trained all the same");
        assert_eq!(progress.serving(), None);
        assert_eq!(progress.training().digest.as_deref(), Some("d1"));
    }

    #[test]
    fn spans_read_well() {
        let text = |s| span(Duration::from_secs(s));
        assert_eq!([text(45), text(200), text(7500)], ["45s", "3m20s", "2h05m"]);
    }
}
