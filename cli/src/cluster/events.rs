//! `mixnn events`: what the operator, the designer's controller and the scheduler told of a model.

use super::args::EventsArgs;
use super::connect::Place;
use crate::args::Format;
use crate::{output, table};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;
use serde::Serialize;

/// The most events that are asked for, of each object.
const MOST: u32 = 500;

/// One event, as it is shown.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    time: Option<Timestamp>,
    #[serde(rename = "type")]
    type_: String,
    reason: String,
    object: String,
    message: String,
    count: i32,
}

/// Lists events of the model and of its designer, oldest first.
pub async fn events(args: &EventsArgs) -> anyhow::Result<bool> {
    let place = Place::find(&args.place).await?;
    let mut rows = Vec::new();
    // Each by its own: what others in the namespace do is not asked for.
    for object in ["", "-designer", "-designer-0"].map(|end| format!("{}{end}", args.name)) {
        rows.extend(of(&place, &object).await?);
    }
    rows.sort_by_key(|row| row.time);
    if args.output != Format::Text {
        return output::value(args.output, &rows).map(|()| true);
    }
    if rows.is_empty() {
        let Place { namespace, .. } = &place;
        output::note(format!(
            "no events of {} in {namespace}: Kubernetes keeps them for an hour",
            args.name
        ));
        return Ok(true);
    }
    output::line(draw(&rows, Timestamp::now()));
    Ok(true)
}

async fn of(place: &Place, object: &str) -> anyhow::Result<Vec<Row>> {
    let api: Api<Event> = Api::namespaced(place.client.clone(), &place.namespace);
    let list = ListParams::default().fields(&format!("involvedObject.name={object}")).limit(MOST);
    let found = api.list(&list).await.map_err(|e| place.explain("events", e))?;
    Ok(found.items.into_iter().map(row).collect())
}

fn row(event: Event) -> Row {
    let series = event.series.as_ref();
    let time = series
        .and_then(|s| s.last_observed_time.as_ref().map(|t| t.0))
        .or_else(|| event.last_timestamp.as_ref().map(|t| t.0))
        .or_else(|| event.event_time.as_ref().map(|t| t.0))
        .or_else(|| event.metadata.creation_timestamp.as_ref().map(|t| t.0));
    let object = event.involved_object;
    Row {
        time,
        type_: event.type_.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        object: format!("{}/{}", object.kind.unwrap_or_default(), object.name.unwrap_or_default()),
        message: event.message.unwrap_or_default(),
        count: series.and_then(|s| s.count).or(event.count).unwrap_or(1),
    }
}

fn draw(rows: &[Row], now: Timestamp) -> String {
    let mut drawn = table::new_table(&["age", "type", "reason", "object", "message"]);
    for row in rows {
        let times = if row.count > 1 { format!(" ({} times)", row.count) } else { String::new() };
        drawn.add_row([
            row.time.map_or_else(String::new, |time| age(now.as_second() - time.as_second())),
            row.type_.clone(),
            row.reason.clone(),
            row.object.clone(),
            format!("{}{times}", row.message.trim()),
        ]);
    }
    drawn.to_string()
}

/// As kubectl has it: 45s, 3m, 2h.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s}s"),
        s @ 120..7200 => format!("{}m", s / 60),
        s => format!("{}h", s / 3600),
    }
}
