//! Where each field of a YAML file stands.

use saphyr_parser::{Event, Parser, Span};
use serde::Serialize;
use std::collections::HashMap;

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Position {
    fn of(span: Span) -> Self {
        Self { line: span.start.line(), column: span.start.col() + 1 }
    }
}

/// The place of every field: `spec.layers[0].name`.
#[derive(Default)]
pub(super) struct Marks {
    places: HashMap<String, Position>,
    twice: Vec<(String, String)>,
}

/// A mapping or sequence that is open.
enum Open {
    Mapping { path: String, key: Option<String> },
    Sequence { path: String, next: usize },
}

impl Marks {
    /// Reads a file's events.
    pub(super) fn scan(text: &str) -> Result<Self, (Option<Position>, String)> {
        let mut marks = Self::default();
        let mut open: Vec<Open> = Vec::new();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|e| {
                let (line, column) = (e.marker().line(), e.marker().col() + 1);
                (Some(Position { line, column }), e.info().to_owned())
            })?;
            marks.event(&event, Position::of(span), &mut open);
        }
        Ok(marks)
    }

    fn event(&mut self, event: &Event<'_>, at: Position, open: &mut Vec<Open>) {
        match event {
            Event::Scalar(text, ..) => {
                if let Some(Open::Mapping { path, key: key @ None }) = open.last_mut() {
                    let field = join(path, text);
                    if self.places.insert(field.clone(), at).is_some() {
                        self.twice.push((field.clone(), text.to_string()));
                    }
                    *key = Some(field);
                } else {
                    self.value(at, open);
                }
            }
            Event::Alias(_) => {
                self.value(at, open);
            }
            Event::MappingStart(..) => {
                let path = self.value(at, open);
                open.push(Open::Mapping { path, key: None });
            }
            Event::SequenceStart(..) => {
                let path = self.value(at, open);
                open.push(Open::Sequence { path, next: 0 });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
            }
            _ => {}
        }
    }

    /// A value begins: gives its path, and moves its parent on. A field keeps the place of its key.
    fn value(&mut self, at: Position, open: &mut [Open]) -> String {
        match open.last_mut() {
            None => String::new(),
            Some(Open::Mapping { key, .. }) => key.take().unwrap_or_default(),
            Some(Open::Sequence { path, next }) => {
                let field = format!("{path}[{next}]");
                *next += 1;
                self.places.insert(field.clone(), at);
                field
            }
        }
    }

    /// Keys that stand twice in a mapping, with their fields.
    pub(super) fn twice(&self) -> &[(String, String)] {
        &self.twice
    }

    /// The place of a field, or of the nearest one around it.
    pub(super) fn find(&self, field: &str) -> Option<Position> {
        let mut field = field;
        loop {
            if let Some(at) = self.places.get(field) {
                return Some(*at);
            }
            field = &field[..field.rfind(['.', '['])?];
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
