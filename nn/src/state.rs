//! What a layer has learned: parameters and optimizer moments, and their form in safetensors.

use crate::digest::layer_digest;
use crate::error::Context;
use crate::export::{Export, element};
use crate::network::Network;
use crate::{LayerKey, NnError};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// Parameters and moments after `step` optimizer steps.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) step: u64,
    pub(crate) parameters: Vec<Tensor>,
    /// What operations keep beside their parameters.
    pub(crate) buffers: Vec<Tensor>,
    pub(crate) moments: Moments,
}

/// An optimizer's moments: empty before the first step and where the optimizer has none.
#[derive(Default)]
pub(crate) struct Moments {
    pub(crate) first: Vec<Tensor>,
    pub(crate) second: Vec<Tensor>,
    pub(crate) third: Vec<Tensor>,
}

/// Prefixes of the moments' names in safetensors; a parameter has none.
const FIRST: &str = "optimizer.first.";
const SECOND: &str = "optimizer.second.";
const THIRD: &str = "optimizer.third.";
/// Metadata key of the number of steps.
const STEP: &str = "step";

impl State {
    /// The state before the first step.
    pub(crate) fn first(network: &Network, key: &LayerKey) -> Result<Self, NnError> {
        let (parameters, buffers) = (network.init(key)?, network.init_buffers()?);
        Ok(Self { step: 0, parameters, buffers, moments: Moments::default() })
    }

    /// Copies of the buffers, for a step to change.
    pub(crate) fn copy_buffers(&self) -> Vec<Tensor> {
        self.buffers.iter().map(Tensor::copy).collect()
    }

    /// Keyed digest of parameters and buffers.
    pub(crate) fn digest(&self, network: &Network, key: &LayerKey) -> Result<[u8; 32], NnError> {
        let names = network.names().into_iter().chain(network.buffers().into_iter().map(|b| b.0));
        layer_digest(key, names.zip(self.parameters.iter().chain(&self.buffers)))
    }

    /// The state as safetensors under the names of the network.
    pub(crate) fn export(&self, network: &Network) -> Result<Export, NnError> {
        let names = network.names();
        let mut all = Vec::new();
        for (prefix, tensors) in self.groups() {
            all.extend(names.iter().zip(tensors).map(|(name, t)| (format!("{prefix}{name}"), t)));
        }
        let buffers = network.buffers().into_iter().zip(&self.buffers);
        all.extend(buffers.map(|((name, ..), buffer)| (name, buffer)));
        Export::new(all, HashMap::from([(STEP.to_owned(), self.step.to_string())]))
    }

    /// Bytes of its tensors.
    pub(crate) fn size(&self) -> usize {
        let groups = self.groups().into_iter().flat_map(|(_, tensors)| tensors);
        groups.chain(&self.buffers).map(|t| t.numel() * element(dtype(t.kind()))).sum()
    }

    /// Reads a state that [`export`](Self::export) gave for the same layer.
    pub(crate) fn from_safetensors(bytes: &[u8], network: &Network) -> Result<Self, NnError> {
        let refused = |e: &dyn std::fmt::Display| NnError::State(e.to_string());
        let file = SafeTensors::deserialize(bytes).map_err(|e| refused(&e))?;
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| refused(&e))?;
        let step = metadata.metadata().as_ref().and_then(|m| m.get(STEP)?.parse().ok());
        let step = step.ok_or_else(|| NnError::State("the number of steps is missing".into()))?;
        let take = |name: String, shape: &[i64], kind: Kind| -> Result<Tensor, NnError> {
            let view = file.tensor(&name).map_err(|e| NnError::State(format!("{name}: {e}")))?;
            let tensor = read(&name, &view, shape, kind)?;
            tensor.f_to_device(network.device()).context("placing a state")
        };
        let (names, shapes) = (network.names(), network.shapes());
        let group = |prefix: &str| -> Result<Vec<Tensor>, NnError> {
            let one = |(name, shape): (&String, &Vec<i64>)| {
                take(format!("{prefix}{name}"), shape, Kind::Float)
            };
            names.iter().zip(&shapes).map(one).collect()
        };
        let moments = |prefix: &str| {
            let there = file.names().iter().any(|name| name.starts_with(prefix));
            if there { group(prefix) } else { Ok(Vec::new()) }
        };
        let buffers = network.buffers().into_iter();
        let buffers = buffers.map(|(name, shape, kind)| take(name, &shape, kind));
        let state = Self {
            step,
            parameters: group("")?,
            buffers: buffers.collect::<Result<_, _>>()?,
            moments: Moments {
                first: moments(FIRST)?,
                second: moments(SECOND)?,
                third: moments(THIRD)?,
            },
        };
        let known = state.groups().iter().map(|(_, tensors)| tensors.len()).sum::<usize>();
        let known = known + state.buffers.len();
        if known != file.len() {
            return Err(NnError::State(format!(
                "{} tensors, of which {known} are known",
                file.len()
            )));
        }
        let parameters = state.parameters.iter().map(|p| p.set_requires_grad(true)).collect();
        Ok(Self { parameters, ..state })
    }

    /// The same tensors, but for the gradients that were gathered on the parameters.
    pub(crate) fn without_gradients(&self) -> Result<Self, NnError> {
        let bare = |p: &Tensor| Ok(p.f_detach()?.set_requires_grad(true));
        let parameters = self.parameters.iter().map(bare).collect::<Result<_, tch::TchError>>();
        let same = |tensors: &[Tensor]| tensors.iter().map(Tensor::shallow_clone).collect();
        let Moments { first, second, third } = &self.moments;
        Ok(Self {
            step: self.step,
            parameters: parameters.context("keeping a state")?,
            buffers: same(&self.buffers),
            moments: Moments { first: same(first), second: same(second), third: same(third) },
        })
    }

    fn groups(&self) -> [(&'static str, &[Tensor]); 4] {
        let Moments { first, second, third } = &self.moments;
        [("", &self.parameters), (FIRST, first), (SECOND, second), (THIRD, third)]
    }
}

pub(crate) const fn dtype(kind: Kind) -> Dtype {
    match kind {
        Kind::Int64 => Dtype::I64,
        _ => Dtype::F32,
    }
}

fn read(name: &str, view: &TensorView<'_>, shape: &[i64], kind: Kind) -> Result<Tensor, NnError> {
    let found: Vec<i64> = view.shape().iter().map(|&s| s as i64).collect();
    let wanted = dtype(kind);
    if found != shape || view.dtype() != wanted {
        let found = format!("{:?} of shape {found:?}", view.dtype());
        return Err(NnError::State(format!(
            "{name} is {found} instead of {wanted:?} of shape {shape:?}"
        )));
    }
    Tensor::f_from_data_size(view.data(), shape, kind).context("making a parameter")
}

struct Named {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

fn write(tensors: &[Named], metadata: HashMap<String, String>) -> Result<Vec<u8>, NnError> {
    let views = tensors.iter().map(view_of).collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize(views, Some(metadata)).map_err(|e| NnError::State(e.to_string()))
}

fn view_of(t: &Named) -> Result<(String, TensorView<'_>), NnError> {
    let view = TensorView::new(t.dtype, t.shape.clone(), &t.data);
    view.map(|view| (t.name.clone(), view)).map_err(|e| NnError::State(e.to_string()))
}

/// Parameters and buffers of a layer's export, without optimizer state, under `layer`'s name: `conv1.0.weight`.
fn parameters_of_export(layer: &str, export: &[u8]) -> Result<Vec<Named>, NnError> {
    let file = SafeTensors::deserialize(export).map_err(|e| NnError::State(e.to_string()))?;
    let ours = |(name, view): (String, TensorView<'_>)| {
        let is_moment = [FIRST, SECOND, THIRD].iter().any(|prefix| name.starts_with(prefix));
        let named = || Named {
            name: format!("{layer}.{name}"),
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            data: view.data().to_vec(),
        };
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
    all.sort_by(|a, b| a.name.cmp(&b.name));
    write(&all, HashMap::from([("format".to_owned(), "pt".to_owned())]))
}
