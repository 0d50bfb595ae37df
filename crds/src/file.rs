//! MixNNModel files. The one place that knows YAML.

use crate::MixNNModel;
use mixnn_model::LayerSpec;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The largest file taken.
const MAX_FILE: u64 = 1 << 20;

/// Why a file is no MixNNModel.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is not YAML, or not a MixNNModel.
    #[error("{name}: {problem}")]
    Content {
        /// Which file.
        name: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

/// Reads a file with one MixNNModel.
///
/// # Errors
/// It is none; the text says where.
pub fn parse_file(path: &Path) -> Result<MixNNModel, FileError> {
    parse_str(&path.display().to_string(), &read(path)?)
}

/// Reads the layers of sealed mode: a list as `spec.layers`.
///
/// # Errors
/// It is none; the text says where.
pub fn parse_layers(path: &Path) -> Result<Vec<LayerSpec>, FileError> {
    let error = |problem: String| FileError::Content { name: path.display().to_string(), problem };
    let value = to_value(&read(path)?).map_err(error)?;
    serde_path_to_error::deserialize(value)
        .map_err(|e| error(format!("{}: {}", e.path(), e.inner())))
}

/// The text of a file that is not too large.
pub(crate) fn read(path: &Path) -> Result<String, FileError> {
    let io = |source| FileError::Io { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(io)?.len();
    if size > MAX_FILE {
        let name = path.display().to_string();
        return Err(FileError::Content {
            name,
            problem: format!("{size} bytes; the most is {MAX_FILE}"),
        });
    }
    std::fs::read_to_string(path).map_err(io)
}

/// Reads one MixNNModel from text; `name` is for errors.
///
/// # Errors
/// It is none; the text says where.
pub fn parse_str(name: &str, text: &str) -> Result<MixNNModel, FileError> {
    let error = |problem: String| FileError::Content { name: name.to_owned(), problem };
    let value = to_value(text).map_err(error)?;
    if let Some((_, problem)) = header_problems(&value).into_iter().next() {
        return Err(error(problem));
    }
    let at = |(field, problem): (String, String)| match field.as_str() {
        "" => error(problem),
        _ => error(format!("{field}: {problem}")),
    };
    model(value).map_err(at)
}

/// The one document of a text, through JSON, as Kubernetes does: YAML's own tags for enums are not ours.
pub(crate) fn to_value(text: &str) -> Result<serde_json::Value, String> {
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let one = || "a file holds exactly one MixNNModel".to_owned();
    let document = documents.next().ok_or_else(one)?;
    let value = serde_json::Value::deserialize(document).map_err(|e| e.to_string())?;
    if documents.next().is_some() { Err(one()) } else { Ok(value) }
}

/// What is wrong with `apiVersion` and `kind`: field and words.
pub(crate) fn header_problems(value: &serde_json::Value) -> Vec<(&'static str, String)> {
    let expected = [("apiVersion", "mixnn.dev/v1alpha1"), ("kind", "MixNNModel")];
    let wrong = expected.into_iter().filter_map(|(field, expected)| {
        let found = value.get(field).and_then(serde_json::Value::as_str);
        let shown = found.map_or("missing".to_owned(), |f| format!("'{f}'"));
        (found != Some(expected))
            .then(|| (field, format!("{field} is {shown}; it must be '{expected}'")))
    });
    wrong.collect()
}

/// The model in a document, or the field that is wrong and why.
pub(crate) fn model(value: serde_json::Value) -> Result<MixNNModel, (String, String)> {
    let model: MixNNModel = serde_path_to_error::deserialize(value)
        .map_err(|e| (e.path().to_string(), e.inner().to_string()))?;
    match model.spec.relays.problem() {
        Some(problem) => Err((String::new(), problem)),
        None => Ok(model),
    }
}

pub(crate) fn to_yaml(value: &impl Serialize) -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(value)
}
