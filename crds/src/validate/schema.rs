//! A value against a JSON Schema as schemars writes it, with words for people: all problems at once,
//! and what was probably meant.

use serde_json::{Map, Value};

/// How alike a wrong and a right name must be to be suggested (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.75;
/// The most names that are listed.
const LISTED: usize = 12;

/// A field and what is wrong with it.
type Found = Vec<(String, String)>;

/// Walks a schema and a value side by side.
pub(super) struct Walk<'s> {
    root: &'s Value,
}

/// What a value may be, where the schema has several choices.
#[derive(Default)]
struct Choices<'s> {
    /// Strings.
    words: Vec<&'s str>,
    /// Objects with one key: its name and the schema of its value.
    tagged: Vec<(&'s str, &'s Value)>,
    /// Anything else.
    other: Vec<&'s Value>,
    null: bool,
}

impl<'s> Walk<'s> {
    pub(super) const fn new(root: &'s Value) -> Self {
        Self { root }
    }

    /// All that is wrong with a value.
    pub(super) fn problems(&self, value: &Value, path: &str) -> Found {
        let mut out = Vec::new();
        self.walk(self.root, value, path, &mut out);
        out
    }

    fn resolve(&self, schema: &'s Value) -> &'s Value {
        let name = schema.get("$ref").and_then(Value::as_str);
        let target = name.and_then(|n| self.root.pointer(n.trim_start_matches('#')));
        target.unwrap_or(schema)
    }

    fn walk(&self, schema: &'s Value, value: &Value, path: &str, out: &mut Found) {
        let schema = self.resolve(schema);
        for part in list(schema, "allOf") {
            self.walk(part, value, path, out);
        }
        for choice in ["oneOf", "anyOf"] {
            if schema.get(choice).is_some() {
                return self.choose(list(schema, choice), value, path, out);
            }
        }
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
            let words: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            return word(&words, value, path, out);
        }
        if !type_fits(schema, value) {
            let problem = format!("is {}; it must be {}", shown(value), type_name(schema));
            return out.push((path.to_owned(), problem));
        }
        match value {
            Value::Object(object) => self.object(schema, object, path, out),
            Value::Array(items) => self.array(schema, items, path, out),
            Value::Number(_) => number(schema, value, path, out),
            Value::String(text) => string(schema, text, path, out),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&self, schema: &'s Value, object: &Map<String, Value>, path: &str, out: &mut Found) {
        let empty = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
        let known: Vec<&str> = properties.keys().map(String::as_str).collect();
        let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        for (key, value) in object {
            let field = format!("{path}.{key}");
            if let Some(of) = schema.get("properties").and_then(|p| p.get(key)) {
                self.walk(of, value, &field, out);
            } else if closed {
                out.push((field, unknown("field", key, &known)));
            } else if let Some(of) = schema.get("additionalProperties").filter(|a| a.is_object()) {
                self.walk(of, value, &field, out);
            }
        }
        for name in list(schema, "required").iter().filter_map(Value::as_str) {
            // An unknown name that is meant for it says enough.
            let meant =
                object.keys().any(|k| !properties.contains_key(k) && nearest(k, &[name]).is_some());
            if !object.contains_key(name) && !meant {
                out.push((path.to_owned(), format!("{name} is missing")));
            }
        }
    }

    fn array(&self, schema: &'s Value, items: &[Value], path: &str, out: &mut Found) {
        let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
        let (least, most) = (bound("minItems").unwrap_or(0), bound("maxItems"));
        let n = items.len() as u64;
        if n < least || most.is_some_and(|most| n > most) {
            let to = most.map_or("or more".to_owned(), |most| format!("to {most}"));
            out.push((path.to_owned(), format!("has {n} items; it must have {least} {to}")));
        }
        if let Some(of) = schema.get("items") {
            for (i, item) in items.iter().enumerate() {
                self.walk(of, item, &format!("{path}[{i}]"), out);
            }
        }
    }

    fn choose(&self, options: &'s [Value], value: &Value, path: &str, out: &mut Found) {
        let choices = self.choices(options);
        if value.is_null() && choices.null {
            return;
        }
        match value {
            Value::String(_) if !choices.words.is_empty() && choices.other.is_empty() => {
                word(&choices.words, value, path, out);
            }
            Value::Object(object) if !choices.tagged.is_empty() && choices.other.is_empty() => {
                self.tagged(&choices, object, path, out);
            }
            _ if choices.other.is_empty() => {
                let names: Vec<&str> = choices
                    .words
                    .iter()
                    .copied()
                    .chain(choices.tagged.iter().map(|t| t.0))
                    .collect();
                let form = if choices.tagged.is_empty() { "" } else { ", as in {NAME: {..}}" };
                let problem =
                    format!("is {}; it must be one of {}{form}", shown(value), listed(&names));
                out.push((path.to_owned(), problem));
            }
            _ => self.best(&choices.other, value, path, out),
        }
    }

    /// The problems of the option that has the fewest.
    fn best(&self, options: &[&'s Value], value: &Value, path: &str, out: &mut Found) {
        let problems = options.iter().map(|option| {
            let mut of = Vec::new();
            self.walk(option, value, path, &mut of);
            of
        });
        out.extend(problems.min_by_key(Vec::len).unwrap_or_default());
    }

    fn tagged(
        &self,
        choices: &Choices<'s>,
        object: &Map<String, Value>,
        path: &str,
        out: &mut Found,
    ) {
        let names: Vec<&str> = choices.tagged.iter().map(|t| t.0).collect();
        if object.len() != 1 {
            let found: Vec<&str> = object.keys().map(String::as_str).collect();
            let problem = format!(
                "has {} keys ({}); it must have exactly one of {}",
                found.len(),
                found.join(", "),
                listed(&names)
            );
            return out.push((path.to_owned(), problem));
        }
        for (key, value) in object {
            let field = format!("{path}.{key}");
            match choices.tagged.iter().find(|t| t.0 == key) {
                Some((_, of)) => self.walk(of, value, &field, out),
                None => out.push((field, unknown("name", key, &names))),
            }
        }
    }

    fn choices(&self, options: &'s [Value]) -> Choices<'s> {
        let mut out = Choices::default();
        for option in options {
            let option = self.resolve(option);
            let nested = ["oneOf", "anyOf"].iter().find_map(|c| option.get(c)?.as_array());
            if let Some(nested) = nested {
                let inner = self.choices(nested);
                out.words.extend(inner.words);
                out.tagged.extend(inner.tagged);
                out.other.extend(inner.other);
                out.null |= inner.null;
            } else if let Some(word) = option.get("const").and_then(Value::as_str) {
                out.words.push(word);
            } else if let Some(words) = option.get("enum").and_then(Value::as_array) {
                out.words.extend(words.iter().filter_map(Value::as_str));
            } else if option.get("type").and_then(Value::as_str) == Some("null") {
                out.null = true;
            } else if let Some(tag) = tag(option) {
                out.tagged.push(tag);
            } else {
                out.other.push(option);
            }
        }
        out
    }
}

/// The name and schema of an option that is an object with one key.
fn tag(option: &Value) -> Option<(&str, &Value)> {
    let [Value::String(name)] = option.get("required")?.as_array()?.as_slice() else { return None };
    let properties = option.get("properties")?.as_object()?;
    let closed = option.get("additionalProperties") == Some(&Value::Bool(false));
    (properties.len() == 1 && closed).then(|| Some((name.as_str(), properties.get(name)?)))?
}

fn list<'s>(schema: &'s Value, name: &str) -> &'s [Value] {
    schema.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn type_fits(schema: &Value, value: &Value) -> bool {
    let fits = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        _ => true,
    };
    match schema.get("type") {
        Some(Value::String(name)) => fits(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(fits),
        _ => true,
    }
}

fn type_name(schema: &Value) -> String {
    let name = |name: &str| match name {
        "object" => "a mapping ({KEY: VALUE})",
        "array" => "a list",
        "string" => "text",
        "boolean" => "true or false",
        "number" => "a number",
        "integer" => "a whole number",
        "null" => "nothing",
        _ => "something else",
    };
    match schema.get("type") {
        Some(Value::String(one)) => name(one).into(),
        Some(Value::Array(names)) => {
            let names: Vec<_> =
                names.iter().filter_map(Value::as_str).filter(|n| *n != "null").map(name).collect();
            names.join(" or ")
        }
        _ => "something else".into(),
    }
}

fn number(schema: &Value, value: &Value, path: &str, out: &mut Found) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let Some(found) = value.as_f64() else { return };
    let (least, most) = (bound("minimum"), bound("maximum"));
    let problem = match (least, most) {
        (Some(l), Some(m)) if !(l..=m).contains(&found) => format!("it must be from {l} to {m}"),
        (Some(l), None) if found < l => format!("it must be at least {l}"),
        (None, Some(m)) if found > m => format!("it must be at most {m}"),
        _ => return,
    };
    out.push((path.to_owned(), format!("is {value}; {problem}")));
}

fn string(schema: &Value, text: &str, path: &str, out: &mut Found) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_u64);
    let n = text.chars().count() as u64;
    let (least, most) = (bound("minLength").unwrap_or(0), bound("maxLength").unwrap_or(u64::MAX));
    if n < least || n > most {
        let problem = format!("has {n} characters; it must have from {least} to {most}");
        out.push((path.to_owned(), problem));
    }
    let expected = schema.get("const").and_then(Value::as_str).filter(|c| *c != text);
    if let Some(expected) = expected {
        out.push((path.to_owned(), format!("is '{text}'; it must be '{expected}'")));
    }
}

fn word(words: &[&str], value: &Value, path: &str, out: &mut Found) {
    match value {
        Value::String(text) if words.contains(&text.as_str()) => {}
        Value::String(text) => out.push((path.to_owned(), unknown("value", text, words))),
        other => {
            let problem = format!("is {}; it must be one of {}", shown(other), listed(words));
            out.push((path.to_owned(), problem));
        }
    }
}

fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(meant) => format!("unknown {what} '{name}': did you mean '{meant}'?"),
        None => format!("unknown {what} '{name}'; there are {}", listed(known)),
    }
}

/// The name that was probably meant.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let alike = |k: &&&str| strsim::jaro_winkler(&lower, &k.to_lowercase());
    let best = known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)))?;
    (alike(&best) >= ALIKE).then_some(best)
}

fn listed(names: &[&str]) -> String {
    let more = if names.len() > LISTED { " .." } else { "" };
    let shown: Vec<&str> = names.iter().take(LISTED).copied().collect();
    format!("{}{more}", shown.join(", "))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "a mapping".into(),
        Value::Array(_) => "a list".into(),
        Value::Null => "empty".into(),
        Value::String(text) => format!("'{}'", text.chars().take(40).collect::<String>()),
        other => other.to_string(),
    }
}
