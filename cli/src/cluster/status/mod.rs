//! `mixnn status`: how models fare, as their owner may know it.
//!
//! All of it is in the MixNNModel. Pods of layers and relays are in other people's namespaces: which of them serves
//! whom is not asked.

mod tree;
mod view;

use super::args::StatusArgs;
use super::connect::Place;
use crate::args::Format;
use crate::{output, plugin, table};
use anyhow::bail;
use futures_util::{StreamExt, pin_mut};
use kube::Api;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt, watcher};
use mixnn_crds::MixNNModel;
pub use view::{State, View};

/// Shows one model, or a line for each.
pub async fn status(args: &StatusArgs) -> anyhow::Result<bool> {
    let place = Place::find(&args.place).await?;
    let api = if args.all_namespaces {
        Api::all(place.client.clone())
    } else {
        Api::namespaced(place.client.clone(), &place.namespace)
    };
    match &args.name {
        Some(name) if args.watch => watch(api, name, &place, args.output).await,
        Some(name) => {
            let model = get(&api, name, &place).await?;
            show(&View::of(&model), args.output)
        }
        None => list(&api, &place, args).await,
    }?;
    Ok(true)
}

/// One model, or what to look for.
pub async fn get(api: &Api<MixNNModel>, name: &str, place: &Place) -> anyhow::Result<MixNNModel> {
    let what = || format!("MixNNModel {name} in {}", place.namespace);
    let found = api.get_opt(name).await.map_err(|e| place.explain(&what(), e))?;
    match found {
        Some(model) => Ok(model),
        None => {
            bail!("{} is not there: `{} status -A` lists those that are", what(), plugin::name())
        }
    }
}

fn show(view: &View, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Text => output::line(tree::draw(view)),
        other => output::value(other, view)?,
    }
    Ok(())
}

async fn list(api: &Api<MixNNModel>, place: &Place, args: &StatusArgs) -> anyhow::Result<()> {
    let found = api.list(&ListParams::default()).await;
    let found = found.map_err(|e| place.explain("MixNNModels", e))?.items;
    let views: Vec<View> = found.iter().map(View::of).collect();
    if args.output != Format::Text {
        return output::value(args.output, &views);
    }
    if views.is_empty() {
        let namespace = if args.all_namespaces { "any namespace" } else { &place.namespace };
        output::note(format!("no MixNNModels in {namespace}"));
        return Ok(());
    }
    output::line(table_of(&views));
    Ok(())
}

fn table_of(views: &[View]) -> String {
    let header = ["namespace", "name", "phase", "layers", "relays", "progress", "loss", "accuracy"];
    let mut rows = table::new_table(&header);
    for view in views {
        let ready = |c: &Option<mixnn_crds::Counted>| c.as_ref().map(|c| c.ready.clone());
        let training = &view.training;
        rows.add_row([
            view.namespace.clone(),
            view.name.clone(),
            view.phase.clone(),
            ready(&view.layer_pods).unwrap_or_default(),
            ready(&view.relay_pods).unwrap_or_default(),
            training.percent.clone().unwrap_or_default(),
            training.loss.clone().unwrap_or_default(),
            training.accuracy.clone().unwrap_or_default(),
        ]);
    }
    rows.to_string()
}

/// Draws a model again with each change, until nothing more is to come.
async fn watch(
    api: Api<MixNNModel>,
    name: &str,
    place: &Place,
    format: Format,
) -> anyhow::Result<()> {
    // What is not there is an error, not something to wait for.
    get(&api, name, place).await?;
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(api, config).default_backoff();
    pin_mut!(events);
    let mut last = None;
    while let Some(event) = events.next().await {
        let view = match event {
            Ok(watcher::Event::Apply(model) | watcher::Event::InitApply(model)) => View::of(&model),
            Ok(watcher::Event::Delete(_)) => bail!("MixNNModel {name} was deleted"),
            Ok(watcher::Event::Init | watcher::Event::InitDone) => continue,
            Err(error) => {
                output::note(format!("{error}; tried again"));
                continue;
            }
        };
        let now = serde_json::to_value(&view)?;
        if last.as_ref() != Some(&now) {
            if format == Format::Text {
                output::clear();
            }
            show(&view, format)?;
            last = Some(now);
        }
        if view.is_over() {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::{Value, json};

    fn model(status: Value) -> MixNNModel {
        serde_json::from_value(json!({
            "apiVersion": "mixnn.dev/v1alpha1", "kind": "MixNNModel",
            "metadata": {"name": "lenet5", "namespace": "vision"},
            "spec": {
                "layers": [
                    {"name": "conv1", "ops": [{"conv2d": {"in": 1, "out": 6, "kernel": 5}}, {"relu": {}}]},
                    {"name": "fc", "ops": [{"flatten": {}}, {"linear": {"in": 3456, "out": 10}}]},
                ],
                "training": {
                    "dataset": {"digits": {"train": 100, "test": 10}},
                    "batchSize": 10, "epochs": 3, "optimizer": {"sgd": {"lr": 0.1}},
                },
            },
            "status": status,
        }))
        .unwrap()
    }

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-02T03:04:05Z"})
    }

    fn trains() -> Value {
        json!({
            "conditions": [
                condition("TrainingDegraded", "True", "Recovering", "layer \"fc\" is silent"),
                condition("Accepted", "True", "Accepted", "the model is valid"),
                condition("HostsResolved", "True", "Resolved", "every pod has a host"),
                condition("Scheduled", "True", "Scheduled", "every pod has a node"),
                condition("Initialized", "True", "Established", "every layer has its pod and its parameters"),
                condition("Trained", "False", "InProgress", "the training goes on"),
                condition("Degraded", "False", "AsExpected", "no pod is missing"),
            ],
            "layers": {"ready": "2/2", "scheduled": 2, "replaced": 1},
            "relays": {"ready": "6/6", "scheduled": 6, "replaced": 0},
            "privacy": {"relays": 6, "hops": 3, "modelsInPool": 1, "warnings": ["no other model shares these relays"]},
            "training": {
                "phase": "Training", "epoch": 2, "step": 12, "totalSteps": 30, "percent": "40%", "eta": "9s",
                "loss": "0.512345", "accuracy": "81.20%", "checkpoint": 10,
                "curve": {"every": 2, "loss": ["2.3", "1.9", "1.2", "0.9", "0.7", "0.6"]},
            },
        })
    }

    fn drawn(status: Value) -> String {
        tree::draw(&View::of(&model(status)))
    }

    #[test]
    fn what_a_person_sees() {
        insta::assert_snapshot!("trains", drawn(trains()));
        insta::assert_snapshot!("unseen", drawn(json!({})));
        let no_host = "no MixNNHost admits namespace vision";
        let refused = json!({"conditions": [
            condition("Accepted", "True", "Accepted", "the model is valid"),
            condition("HostsResolved", "False", "NoHost", no_host),
            condition("Scheduled", "False", "NoHosts", no_host),
            condition("Degraded", "False", "AsExpected", "no pod is missing"),
        ]});
        insta::assert_snapshot!("refused", drawn(refused));
        insta::assert_snapshot!("a_line_each", table_of(&[View::of(&model(trains()))]));
    }

    #[test]
    fn serving_counts_where_it_was_asked_for() {
        let conditions = |reason: &str, status: &str| {
            let trained = condition("Trained", "True", "Trained", "the weights are kept");
            json!({"conditions": [trained, condition("Serving", status, reason, "..")]})
        };
        let phase = |model: &MixNNModel| {
            let view = View::of(model);
            (
                view.phase.clone(),
                view.is_over(),
                view.conditions.iter().any(|c| c.state == State::Bad),
            )
        };
        let mut model = model(conditions("NotServed", "False"));
        assert_eq!(phase(&model), ("Trained".into(), true, false));
        model.spec.serving = serde_json::from_value(json!({"enabled": true})).unwrap();
        assert_eq!(phase(&model), ("Trained".into(), false, false));
        model.status = serde_json::from_value(conditions("Serving", "True")).unwrap();
        assert_eq!(phase(&model), ("Serving".into(), true, false));
    }

    #[test]
    fn what_a_program_sees() {
        let view = serde_json::to_value(View::of(&model(trains()))).unwrap();
        assert_eq!(
            (&view["phase"], &view["conditions"][0]["type"]),
            (&"Training".into(), &"Accepted".into())
        );
        assert_eq!(view["conditions"][4]["state"], "waits");
        assert_eq!(view["training"]["curve"]["every"], 2);
    }
}
