//! Two schemas of a CRD, compared. Texts do not count: what is taken and what is refused does.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;
use serde_json::{Map, Value};

/// Fields that one has and the other has not, and fields whose rules differ.
pub fn differences(
    own: &CustomResourceDefinitionVersion,
    theirs: &CustomResourceDefinitionVersion,
) -> Vec<String> {
    let schema = |version: &CustomResourceDefinitionVersion| {
        let schema = version.schema.as_ref().and_then(|s| s.open_api_v3_schema.as_ref());
        schema.and_then(|s| serde_json::to_value(s).ok()).unwrap_or_default()
    };
    let mut found = Vec::new();
    compare(&schema(own), &schema(theirs), "", &mut found);
    found
}

fn compare(own: &Value, theirs: &Value, at: &str, found: &mut Vec<String>) {
    let (Value::Object(own), Value::Object(theirs)) = (own, theirs) else { return };
    let empty = Map::new();
    let fields = |schema| Map::get(schema, "properties").and_then(Value::as_object);
    let (ours, others) = (fields(own).unwrap_or(&empty), fields(theirs).unwrap_or(&empty));
    let name = |field: &str| format!("{at}{}{field}", if at.is_empty() { "" } else { "." });
    for (field, schema) in ours {
        match others.get(field) {
            Some(other) => compare(schema, other, &name(field), found),
            None => found.push(format!("it lacks {}", name(field))),
        }
    }
    let more = others.keys().filter(|field| !ours.contains_key(*field));
    found.extend(more.map(|field| format!("it has {}", name(field))));
    for inner in ["items", "additionalProperties"] {
        if let (Some(own), Some(theirs)) = (own.get(inner), theirs.get(inner)) {
            compare(own, theirs, at, found);
        }
    }
    let same_rule = |rule: &&str| match (own.get(*rule), theirs.get(*rule)) {
        (Some(own), Some(theirs)) => same(own, theirs),
        (own, theirs) => own.is_none() == theirs.is_none(),
    };
    if let Some(rule) = RULES.iter().find(|rule| !same_rule(rule)) {
        let at = if at.is_empty() { "the object" } else { at };
        found.push(format!("{rule} of {at} differs"));
    }
}

/// Whether two values are the same: 1 is 1.0, however the API server writes it.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// What of a schema decides.
const RULES: [&str; 12] = [
    "type",
    "required",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "maxLength",
    "maxProperties",
    "pattern",
    "x-kubernetes-validations",
];
