//! From one file to one state for each layer.

use crate::error::{Problem, WeightsError};
use crate::expected::{Expected, expected};
use crate::file::{Weights, not_finite};
use crate::rename::Rename;
use mixnn_model::Model;
use safetensors::tensor::TensorView;
use std::collections::{BTreeMap, HashMap};

/// What one layer begins from.
#[derive(Clone, PartialEq, Eq)]
pub struct LayerState {
    /// The layer's name.
    pub layer: String,
    /// safetensors with the names within the layer and the number of steps, as a layer pod takes it up.
    /// No optimizer moments.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for LayerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LayerState({}, {} bytes)", self.layer, self.bytes.len())
    }
}

/// Cuts a file of weights into the states of a model's layers, in its order: every tensor is there,
/// none is over, each has its shape and holds finite numbers.
///
/// `step`: after how many optimizer steps the states are; 0 to begin a training with them.
///
/// # Errors
/// All that is wrong, by tensor.
pub fn split(
    model: &Model,
    bytes: &[u8],
    rename: &Rename,
    step: u64,
) -> Result<Vec<LayerState>, WeightsError> {
    let file = Weights::parse(bytes)?;
    let all = expected(model);
    let by_name: HashMap<&str, &Expected> = all.iter().map(|e| (e.name.as_str(), e)).collect();
    let mut problems = Vec::new();
    let mut found: BTreeMap<(usize, &str), TensorView<'_>> = BTreeMap::new();
    for name in file.names() {
        let Some(view) = file.tensor(name) else { continue };
        let Some(expected) = by_name.get(rename.apply(name).as_str()) else {
            problems.push(Problem::Extra(shortened(name)));
            continue;
        };
        problems.extend(problem(name, &view, expected));
        if found.insert((expected.layer, &expected.within), view).is_some() {
            let to = &expected.name;
            problems.push(Problem::File(format!("two tensors are renamed to '{to}'")));
        }
    }
    let missing = all.iter().filter(|e| !found.contains_key(&(e.layer, e.within.as_str())));
    problems.extend(missing.map(|e| Problem::Missing(e.name.clone())));
    if !problems.is_empty() {
        return Err(WeightsError(problems));
    }
    let layers = model.layers().iter().enumerate();
    layers.map(|(place, layer)| state(place, &layer.spec.name, &found, step)).collect()
}

fn problem(name: &str, view: &TensorView<'_>, expected: &Expected) -> Option<Problem> {
    if view.shape() != expected.shape || view.dtype() != expected.dtype {
        return Some(Problem::Mismatch {
            name: name.to_owned(),
            found: format!("{:?} of shape {:?}", view.dtype(), view.shape()),
            expected: format!("{:?} of shape {:?}", expected.dtype, expected.shape),
        });
    }
    let at = not_finite(view)?;
    Some(Problem::NotFinite { name: name.to_owned(), at })
}

fn state(
    place: usize,
    layer: &str,
    found: &BTreeMap<(usize, &str), TensorView<'_>>,
    step: u64,
) -> Result<LayerState, WeightsError> {
    let own = found.range((place, "")..(place + 1, ""));
    let views = own.map(|((_, name), view)| (*name, view));
    let metadata = HashMap::from([("step".to_owned(), step.to_string())]);
    let bytes = safetensors::serialize(views, Some(metadata));
    let bytes = bytes.map_err(|e| Problem::File(format!("layer {layer}: {e}")))?;
    Ok(LayerState { layer: layer.to_owned(), bytes })
}

/// A stranger's text, in an error.
fn shortened(text: &str) -> String {
    const MOST: usize = 128;
    text.char_indices()
        .nth(MOST)
        .map_or_else(|| text.to_owned(), |(at, _)| format!("{}..", &text[..at]))
}
