//! What a layer has learned: parameters and optimizer moments, and their form in safetensors.

use crate::NnError;
use crate::error::Context;
use crate::tensor::bytes_of;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// Parameters and moments after `step` optimizer steps.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) step: u64,
    pub(crate) parameters: Vec<Tensor>,
    pub(crate) moments: Moments,
}

/// An optimizer's moments: empty before the first step and where the optimizer has none.
#[derive(Default)]
pub(crate) struct Moments {
    pub(crate) first: Vec<Tensor>,
    pub(crate) second: Vec<Tensor>,
}

/// Prefixes of the moments' names in safetensors; a parameter has none.
const FIRST: &str = "optimizer.first.";
const SECOND: &str = "optimizer.second.";
/// Metadata key of the number of steps.
const STEP: &str = "step";

impl State {
    /// Writes the state as safetensors under the names of the parameters.
    pub(crate) fn to_safetensors(&self, names: &[String]) -> Result<Vec<u8>, NnError> {
        let mut all = Vec::new();
        for (prefix, tensors) in self.groups() {
            for (name, tensor) in names.iter().zip(tensors) {
                let contiguous = tensor.f_detach().and_then(|t| t.f_contiguous());
                let contiguous = contiguous.context("reading a parameter")?;
                let shape = contiguous.size().iter().map(|&s| s as usize).collect();
                all.push((format!("{prefix}{name}"), shape, bytes_of(&contiguous, 4)?));
            }
        }
        write(&all, HashMap::from([(STEP.to_owned(), self.step.to_string())]))
    }

    /// Reads a state that [`to_safetensors`](Self::to_safetensors) wrote for the same layer.
    pub(crate) fn from_safetensors(
        bytes: &[u8],
        names: &[String],
        shapes: &[Vec<i64>],
    ) -> Result<Self, NnError> {
        let refused = |e: &dyn std::fmt::Display| NnError::State(e.to_string());
        let file = SafeTensors::deserialize(bytes).map_err(|e| refused(&e))?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| refused(&e))?;
        let step = metadata.metadata().as_ref().and_then(|m| m.get(STEP)?.parse().ok());
        let step = step.ok_or_else(|| NnError::State("the number of steps is missing".into()))?;
        let group = |prefix: &str| -> Result<Vec<Tensor>, NnError> {
            let one = |(name, shape): (&String, &Vec<i64>)| {
                let name = format!("{prefix}{name}");
                let view =
                    file.tensor(&name).map_err(|e| NnError::State(format!("{name}: {e}")))?;
                read(&name, &view, shape)
            };
            names.iter().zip(shapes).map(one).collect()
        };
        let moments = |prefix: &str| {
            let there = file.names().iter().any(|name| name.starts_with(prefix));
            if there { group(prefix) } else { Ok(Vec::new()) }
        };
        let state = Self {
            step,
            parameters: group("")?,
            moments: Moments { first: moments(FIRST)?, second: moments(SECOND)? },
        };
        let read = state.groups().iter().map(|(_, tensors)| tensors.len()).sum::<usize>();
        if read != file.len() {
            return Err(NnError::State(format!(
                "{} tensors, of which {read} are known",
                file.len()
            )));
        }
        state.parameters.iter().for_each(|p| drop(p.set_requires_grad(true)));
        Ok(state)
    }

    fn groups(&self) -> [(&'static str, &[Tensor]); 3] {
        [("", &self.parameters), (FIRST, &self.moments.first), (SECOND, &self.moments.second)]
    }
}

fn read(name: &str, view: &TensorView<'_>, shape: &[i64]) -> Result<Tensor, NnError> {
    let found: Vec<i64> = view.shape().iter().map(|&s| s as i64).collect();
    if found != shape || view.dtype() != Dtype::F32 {
        let found = format!("{:?} of shape {found:?}", view.dtype());
        return Err(NnError::State(format!("{name} is {found} instead of F32 of shape {shape:?}")));
    }
    Tensor::f_from_data_size(view.data(), shape, Kind::Float).context("making a parameter")
}

type Named = (String, Vec<usize>, Vec<u8>);

fn write(tensors: &[Named], metadata: HashMap<String, String>) -> Result<Vec<u8>, NnError> {
    let views = tensors.iter().map(view_of).collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize(views, Some(metadata)).map_err(|e| NnError::State(e.to_string()))
}

fn view_of((name, shape, data): &Named) -> Result<(String, TensorView<'_>), NnError> {
    let view = TensorView::new(Dtype::F32, shape.clone(), data);
    view.map(|view| (name.clone(), view)).map_err(|e| NnError::State(e.to_string()))
}

/// The parameters in a layer's export, without optimizer state, under `layer`'s name: `conv1.0.weight`.
fn parameters_of_export(layer: &str, export: &[u8]) -> Result<Vec<Named>, NnError> {
    let file = SafeTensors::deserialize(export).map_err(|e| NnError::State(e.to_string()))?;
    let ours = |(name, view): (String, TensorView<'_>)| {
        let is_moment = name.starts_with(FIRST) || name.starts_with(SECOND);
        let named = || (format!("{layer}.{name}"), view.shape().to_vec(), view.data().to_vec());
        (!is_moment).then(named)
    };
    Ok(file.tensors().into_iter().filter_map(ours).collect())
}

/// Joins the exports of all layers into one safetensors file with PyTorch's names, loadable by
/// `model.load_state_dict(safetensors.torch.load_file(..))`.
///
/// # Errors
/// One of them is no export of a layer.
pub fn merge_exports<'a>(
    exports: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<u8>, NnError> {
    let mut all = Vec::new();
    for (layer, export) in exports {
        all.extend(parameters_of_export(layer, export)?);
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    write(&all, HashMap::from([("format".to_owned(), "pt".to_owned())]))
}
