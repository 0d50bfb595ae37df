//! Writes docs/crds.md: every field of the CRDs, as their schemas have it.

use serde_json::Value;
use std::fmt::Write;

const HEAD: &str = "# Every field of MixNN's resources

Generated from the CRDs in [crds/](../crds) by `make generate`. Do not edit. `kubectl explain mixnnmodel.spec` says the same.
`[]` is an entry of a list, `.*` a value under any name.
";

/// The page for these CRDs.
pub fn page(crds: &[(&str, String)]) -> String {
    let mut out = HEAD.to_owned();
    for (_, yaml) in crds {
        let crd: Value = serde_yaml::from_str(yaml).unwrap();
        let names = &crd["spec"]["names"];
        let version = &crd["spec"]["versions"][0];
        let schema = &version["schema"]["openAPIV3Schema"];
        let (kind, short) = (text(&names["kind"]), text(&names["shortNames"][0]));
        let of = format!("{}/{}", text(&crd["spec"]["group"]), text(&version["name"]));
        let about = flat(&schema["description"]);
        let _ = write!(out, "\n## {kind}\n\n`{of}`, short name `{short}`. {about}\n");
        for part in ["spec", "status"] {
            section(&mut out, kind, part, &schema["properties"][part]);
        }
    }
    out
}

/// A table of what `part` has, and one for each of its fields that has fields of its own.
fn section(out: &mut String, kind: &str, part: &str, schema: &Value) {
    let _ = write!(out, "\n### {kind}: {part}\n\n{}\n", flat(&schema["description"]));
    rules(out, schema);
    let mut plain = Table::default();
    let mut parts = Vec::new();
    for (name, field) in fields(schema) {
        let path = format!("{part}.{name}");
        plain.row(&path, field, required(schema, name));
        if Table::has_fields(field) {
            parts.push((path, field));
        }
    }
    plain.write(out);
    for (path, field) in parts {
        let mut table = Table::default();
        table.below(&path, field);
        let _ = write!(out, "\n#### {path}\n");
        rules(out, field);
        table.write(out);
    }
}

/// What the API server checks across fields, in the words that it refuses with.
fn rules(out: &mut String, schema: &Value) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let _ = write!(out, "\n* {}", flat(&rule["message"]));
    }
    if schema.get("x-kubernetes-validations").is_some() {
        out.push('\n');
    }
}

#[derive(Default)]
struct Table {
    rows: String,
}

impl Table {
    fn has_fields(schema: &Value) -> bool {
        fields(schema).next().is_some() || parts(schema).any(|(_, part)| Self::has_fields(part))
    }

    fn row(&mut self, path: &str, schema: &Value, required: bool) {
        let about = flat(&schema["description"]);
        let _ = writeln!(self.rows, "| `{path}` | {} | {about} |", kind(schema, required));
    }

    /// Rows of everything in `schema`, at every depth.
    fn below(&mut self, path: &str, schema: &Value) {
        for (name, field) in fields(schema) {
            let path = format!("{path}.{name}");
            self.row(&path, field, required(schema, name));
            self.below(&path, field);
        }
        for (suffix, part) in parts(schema) {
            self.below(&format!("{path}{suffix}"), part);
        }
    }

    fn write(&self, out: &mut String) {
        let _ = write!(out, "\n| field | is | what |\n| --- | --- | --- |\n{}", self.rows);
    }
}

fn fields(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// What lists and maps hold.
fn parts(schema: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    let of = |part, suffix| schema.get(part).filter(|p| p.is_object()).map(|p| (suffix, p));
    of("items", "[]").into_iter().chain(of("additionalProperties", ".*"))
}

fn required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|all| all.iter().any(|r| r == name))
}

/// Type, bounds and default.
fn kind(schema: &Value, required: bool) -> String {
    let mut says = vec![type_of(schema)];
    if required {
        says[0] += ", required";
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().filter(|v| !v.is_null()).map(code).collect();
        says.push(values.join(", "));
    }
    for (least, most, unit) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
        ("minProperties", "maxProperties", " entries"),
    ] {
        // Schemas have bounds as 1.0, also of integers.
        let bound = |name| schema[name].as_f64();
        match (bound(least), bound(most)) {
            (Some(least), Some(most)) => says.push(format!("{least} to {most}{unit}")),
            (Some(least), None) => says.push(format!("at least {least}{unit}")),
            (None, Some(most)) => says.push(format!("at most {most}{unit}")),
            (None, None) => {}
        }
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        says.push(format!("matches `{}`", pattern.replace('|', "\\|")));
    }
    if schema.get("oneOf").is_some() {
        says.push("exactly one of its fields".into());
    }
    if let Some(default) = schema.get("default") {
        says.push(format!("default {}", code(default)));
    }
    says.join("; ")
}

fn type_of(schema: &Value) -> String {
    let of = |part: &str| schema.get(part).filter(|p| p.is_object()).map(type_of);
    match (schema["type"].as_str(), of("items"), of("additionalProperties")) {
        (_, Some(items), _) => format!("list of {items}"),
        (_, _, Some(values)) => format!("map of {values}"),
        (Some(name), ..) => name.to_owned(),
        (None, ..) if schema.get("x-kubernetes-int-or-string").is_some() => {
            "integer or string".to_owned()
        }
        (None, ..) => "anything".to_owned(),
    }
}

fn code(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

/// A text on one line of a table.
fn flat(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
