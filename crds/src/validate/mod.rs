//! Everything that is wrong with a MixNNModel file, at once, each with its place in the file.

mod marks;
mod schema;

pub use marks::Position;

use crate::{FileError, MixNNModel, MixNNModelSpec, file};
use marks::Marks;
use mixnn_model::ModelError;
use serde::Serialize;
use std::path::Path;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Where in the file, if that can be told.
    #[serde(flatten)]
    pub position: Option<Position>,
    /// Which field, as in `spec.layers[0].name`. Empty for the file as a whole.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// A file that has been checked against the schema of a MixNNModel.
pub struct Document {
    /// The text, for showing lines of it.
    pub text: String,
    /// All that is wrong so far, in the order of the file.
    pub problems: Vec<Problem>,
    /// The model, if nothing is wrong.
    pub model: Option<MixNNModel>,
    marks: Marks,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read. All else is among the problems.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        file::read(path).map(Self::parse)
    }

    /// Checks a text: YAML, fields, types, bounds. Not whether layers fit each other.
    pub fn parse(text: String) -> Self {
        let mut document =
            Self { problems: Vec::new(), model: None, marks: Marks::default(), text };
        match Marks::scan(&document.text) {
            Ok(marks) => document.marks = marks,
            Err((position, problem)) => {
                document.problems.push(Problem { position, field: String::new(), problem });
                return document;
            }
        }
        for (field, key) in document.marks.twice().to_vec() {
            document.add(&field, format!("{key} stands here twice"));
        }
        let value = match file::to_value(&document.text) {
            Ok(value) => value,
            Err(problem) => {
                document.add("", problem);
                return document;
            }
        };
        for (field, problem) in file::header_problems(&value) {
            document.add(field, problem);
        }
        let schema = schemars::schema_for!(MixNNModelSpec).to_value();
        match value.get("spec") {
            Some(spec) => {
                let walk = schema::Walk::new(&schema);
                for (field, problem) in walk.problems(spec, "spec") {
                    document.add(&field, problem);
                }
            }
            None => document.add("", "spec is missing".into()),
        }
        if document.problems.is_empty() {
            match file::model(value) {
                Ok(model) => document.model = Some(model),
                Err((field, problem)) => document.add(&field, problem),
            }
        }
        document.sort();
        document
    }

    /// Adds what does not fit in the model's layers, data and training.
    pub fn add_all(&mut self, errors: &[ModelError]) {
        for error in errors {
            let (field, problem) = self.place(error);
            self.add(&field, problem);
        }
        self.sort();
    }

    fn place(&self, error: &ModelError) -> (String, String) {
        let layers = self.model.as_ref().map_or(&[][..], |m| &m.spec.layers);
        match error {
            ModelError::Op { layer, index, .. } => {
                let at = layers.iter().position(|l| l.name == *layer).unwrap_or(0);
                (format!("spec.layers[{at}].ops[{index}]"), error.to_string())
            }
            ModelError::Layer { place, .. } => {
                (format!("spec.layers[{place}].name"), error.to_string())
            }
            ModelError::Dataset { field, problem } => {
                (format!("spec.training.dataset.{field}"), problem.clone())
            }
            ModelError::Field { field, problem } => (format!("spec.{field}"), problem.clone()),
        }
    }

    fn add(&mut self, field: &str, problem: String) {
        let position = self.marks.find(field);
        self.problems.push(Problem { position, field: field.to_owned(), problem });
    }

    fn sort(&mut self) {
        self.problems.sort_by_key(|p| p.position);
        self.problems.dedup();
    }
}
