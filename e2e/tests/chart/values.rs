//! Makes a table of values.yaml: every setting, its default, and the comment above it.

use std::fmt::Write;

/// The table. A comment belongs to the setting right below it; an empty line parts them. Every setting must have one.
pub fn table(yaml: &str) -> String {
    let mut out = "| setting | default | what |\n| --- | --- | --- |\n".to_owned();
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut comment = String::new();
    for line in yaml.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(said) = text.strip_prefix('#') {
            comment += said;
        } else if let Some((key, value)) = text.split_once(':') {
            path.retain(|(depth, _)| *depth < indent);
            path.push((indent, key));
            let name: Vec<_> = path.iter().map(|(_, key)| *key).collect();
            let (name, said) = (name.join("."), std::mem::take(&mut comment));
            match value.trim() {
                // What the settings below have in common, if anything.
                "" if said.is_empty() => {}
                "" => drop(writeln!(out, "| `{name}` | | {} |", said.trim())),
                default => {
                    assert!(!said.is_empty(), "values.yaml does not say what {name} is for");
                    let _ = writeln!(out, "| `{name}` | `{default}` | {} |", said.trim());
                }
            }
        } else {
            comment.clear();
        }
    }
    out
}
