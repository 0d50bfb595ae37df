//! `mixnn logs`: what a model's designer says, or one of its layers, for people.

use super::args::LogsArgs;
use super::connect::Place;
use super::desk::Desk;
use super::told::Told;
use crate::compare::find;
use crate::{output, plugin, table};
use anyhow::bail;
use futures_util::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::LogParams;
use mixnn_events::{Event, Line, Said};
use serde_json::Value;
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

/// Prints the log of the designer.
pub async fn logs(args: &LogsArgs) -> anyhow::Result<bool> {
    if let Some(folder) = args.run() {
        return told(&Told::File(find(folder)?), args).await;
    }
    let place = Place::find(&args.place).await?;
    if args.layer.is_some() {
        let desk = Desk::open(&place, &args.name).await?;
        return told(&Told::Desk(Box::new(desk)), args).await;
    }
    let pods: Api<Pod> = Api::namespaced(place.client.clone(), &place.namespace);
    let name = format!("{}-designer-0", args.name);
    let params = LogParams {
        container: Some("designer".into()),
        follow: args.follow,
        previous: args.previous,
        tail_lines: args.tail.map(i64::from),
        ..LogParams::default()
    };
    let what = || format!("log of pod {name} in {}", place.namespace);
    let lines = match pods.log_stream(&name, &params).await {
        Ok(lines) => lines,
        Err(kube::Error::Api(status)) if status.is_not_found() => bail!(
            "there is no pod {name} in {}: a designer runs while its model trains; `{} events {}` says more",
            place.namespace,
            plugin::name(),
            args.name
        ),
        Err(error) => return Err(place.explain(&what(), error)),
    };
    let mut lines = lines.lines();
    while let Some(line) = lines.try_next().await? {
        if args.raw {
            output::line(&line);
        } else {
            for_people(&line).into_iter().for_each(output::line);
        }
    }
    Ok(true)
}

impl LogsArgs {
    /// The folder of a run, if that is meant.
    fn run(&self) -> Option<&Path> {
        let path = Path::new(&self.name);
        self.place.model(path).is_none().then_some(path)
    }
}

/// Lines of a run's record, or of one layer's log in it.
async fn told(record: &Told, args: &LogsArgs) -> anyhow::Result<bool> {
    let mut layers = BTreeSet::new();
    let mut newest = Newest::of(args.tail.filter(|_| !args.follow));
    record
        .each(args.follow, |line| {
            let text = match (&args.layer, &line.event) {
                (None, _) if args.raw => serde_json::to_string(&line).ok(),
                (None, event) => in_words(event),
                (Some(layer), Event::Said(said)) => {
                    layers.insert(said.layer.clone());
                    (said.layer == *layer).then(|| said_line(&line, said, args.raw))
                }
                (Some(_), Event::Plan(plan)) => {
                    layers.extend(plan.layers.iter().cloned());
                    None
                }
                (Some(_), _) => None,
            };
            text.into_iter().for_each(|text| newest.line(text));
        })
        .await?;
    newest.end();
    match &args.layer {
        Some(layer) if !layers.contains(layer) => bail!(
            "the model has no layer {layer}; it has {}",
            layers.into_iter().collect::<Vec<_>>().join(", ")
        ),
        _ => Ok(true),
    }
}

/// A line of a layer's log, at the time when it was written.
fn said_line(line: &Line, said: &Said, raw: bool) -> String {
    if raw {
        return serde_json::to_string(line).unwrap_or_default();
    }
    let at = i64::try_from(line.at).unwrap_or_default() - i64::from(said.before);
    let time = Timestamp::from_millisecond(at).map(|t| t.to_string()).unwrap_or_default();
    let second = time.split(['.', 'Z']).next().unwrap_or_default();
    format!("{second} {:<5} {}", said.level.to_uppercase(), said.text)
}

/// Prints all lines at once, or the last of them at the end.
struct Newest {
    most: Option<usize>,
    lines: VecDeque<String>,
}

impl Newest {
    fn of(most: Option<u32>) -> Self {
        Self { most: most.map(|most| most as usize), lines: VecDeque::new() }
    }

    fn line(&mut self, text: String) {
        let Some(most) = self.most else { return output::line(text) };
        self.lines.push_back(text);
        while self.lines.len() > most {
            self.lines.pop_front();
        }
    }

    fn end(self) {
        self.lines.into_iter().for_each(output::line);
    }
}

/// A line of the designer, in words. What is not known is shown as it is; what says nothing, not at all.
fn for_people(line: &str) -> Option<String> {
    let Ok(value) = serde_json::from_str::<Value>(line) else { return Some(line.to_owned()) };
    if value.get("event").is_none() {
        return Some(log_line(&value).unwrap_or_else(|| line.to_owned()));
    }
    match serde_json::from_value(value) {
        Ok(event) => in_words(&event),
        Err(_) => Some(line.to_owned()),
    }
}

/// A line of `tracing` in JSON.
fn log_line(value: &Value) -> Option<String> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let fields = value.get("fields")?.as_object()?;
    let message = fields.get("message").and_then(Value::as_str).unwrap_or_default();
    let rest = fields.iter().filter(|(name, _)| *name != "message");
    let rest: Vec<_> = rest.map(|(name, value)| format!(" {name}={value}")).collect();
    let time = text("timestamp")?.split('.').next()?.trim_end_matches('Z').to_owned();
    Some(format!("{time} {:<5} {message}{}", text("level")?, rest.concat()))
}

fn in_words(event: &Event) -> Option<String> {
    Some(match event {
        Event::Reading(r) => format!("reading {}: {} of {} bytes", r.what, r.done, r.total),
        Event::Plan(plan) => format!(
            "{} layers, {} parameters; {} + {} samples, {} epochs, {} steps",
            plan.layers.len(),
            plan.parameters,
            plan.train_samples,
            plan.test_samples,
            plan.epochs,
            plan.steps
        ),
        Event::Phase(phase) => format!("{phase:?}"),
        Event::Step(step) => format!(
            "step {}, epoch {}: loss {:.6}, {:.1} ms",
            step.step, step.epoch, step.loss, step.milliseconds
        ),
        Event::Tested(tested) => {
            let metrics: Vec<_> =
                table::metrics(tested).into_iter().map(|(name, v)| format!("{name} {v}")).collect();
            format!("epoch {}: test {}", tested.epoch, metrics.join(", "))
        }
        Event::Fault(fault) => format!("fault: {}", fault.message),
        Event::Recovered(r) => format!(
            "goes on after step {} in {:.0} ms; {} lanes drawn again; another pod for {}",
            r.resumed_after,
            r.milliseconds,
            r.lanes,
            if r.layers.is_empty() { "no layer".into() } else { r.layers.join(", ") }
        ),
        Event::Checkpointed(c) => {
            format!("checkpoint {} of step {}, {} bytes", c.number, c.step, c.bytes)
        }
        Event::CheckpointFailed(c) => format!("no checkpoint of step {}: {}", c.step, c.message),
        Event::Trained(outcome) => {
            format!("trained: {} steps, digest {}", outcome.steps, outcome.digest)
        }
        Event::Serving(s) => {
            format!("{}/v2/models/{} answers with version {}", s.url, s.model, s.version)
        }
        Event::ServingEnded(ended) => format!("not served: {}: {}", ended.reason, ended.message),
        Event::Failed(failed) => format!("failed: {}: {}", failed.reason, failed.message),
        // What it says was said by Trained; rings and times are not told on standard output.
        Event::Done(_) | Event::Ring(_) | Event::Times(_) | Event::Said(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_well_and_none_is_lost() {
        let step = r#"{"event":"step","epoch":1,"step":17,"loss":1.5,"answers":64,"correct":31,"samples":64,"milliseconds":6.5}"#;
        let log = r#"{"timestamp":"2026-01-02T03:04:05.678Z","level":"WARN","fields":{"message":"slow","layer":"fc"}}"#;
        for (line, words) in [
            (step, "step 17, epoch 1: loss 1.500000, 6.5 ms"),
            (log, "2026-01-02T03:04:05 WARN  slow layer=\"fc\""),
            ("panicked at x", "panicked at x"),
            (r#"{"event":"new"}"#, r#"{"event":"new"}"#),
            ("{}", "{}"),
        ] {
            assert_eq!(for_people(line).as_deref(), Some(words), "{line}");
        }
    }
}
