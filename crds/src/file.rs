//! MixNNModel files. The one place that knows YAML.

use crate::MixNNModel;
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
    let io = |source| FileError::Io { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(io)?.len();
    let name = path.display().to_string();
    if size > MAX_FILE {
        return Err(FileError::Content {
            name,
            problem: format!("{size} bytes; the most is {MAX_FILE}"),
        });
    }
    parse_str(&name, &std::fs::read_to_string(path).map_err(io)?)
}

/// Reads one MixNNModel from text; `name` is for errors.
///
/// # Errors
/// It is none; the text says where.
pub fn parse_str(name: &str, text: &str) -> Result<MixNNModel, FileError> {
    let error = |problem: String| FileError::Content { name: name.to_owned(), problem };
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let one = || error("a file holds exactly one MixNNModel".into());
    let document = documents.next().ok_or_else(one)?;
    // Through JSON, as Kubernetes does: YAML's own tags for enums are not ours.
    let value = serde_json::Value::deserialize(document).map_err(|e| error(e.to_string()))?;
    if documents.next().is_some() {
        return Err(one());
    }
    for (field, expected) in [("apiVersion", "mixnn.dev/v1alpha1"), ("kind", "MixNNModel")] {
        let found = value.get(field).and_then(serde_json::Value::as_str);
        if found != Some(expected) {
            let found = found.map_or("missing".to_owned(), |f| format!("'{f}'"));
            return Err(error(format!("{field} is {found}; it must be '{expected}'")));
        }
    }
    let model: MixNNModel = serde_path_to_error::deserialize(value)
        .map_err(|e| error(format!("{}: {}", e.path(), e.inner())))?;
    match model.spec.relays.problem() {
        Some(problem) => Err(error(problem)),
        None => Ok(model),
    }
}

pub(crate) fn to_yaml(value: &impl Serialize) -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(value)
}
