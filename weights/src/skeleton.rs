//! What a file of weights tells of the model that it is from, and what it cannot.
//!
//! Names and shapes give linear, convolutional, normalising and embedding modules; nothing in a file
//! says what lies between them (activations, pooling, reshaping), nor strides and padding.

use crate::error::WeightsError;
use crate::file::Weights;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Layers as far as they can be told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Skeleton {
    /// In the order of the names' numbers, then of the names.
    pub layers: Vec<SkeletonLayer>,
    /// What could not be told, for a person to fill in.
    pub unknown: Vec<String>,
    /// `OLD=NEW` rules under which the file's names become the skeleton's.
    pub rename: Vec<String>,
}

/// A layer as far as it can be told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SkeletonLayer {
    /// A DNS label made from the module's name.
    pub name: String,
    /// Its operations, as `spec.layers[].ops` takes them.
    pub ops: Vec<Value>,
}

/// Reads a skeleton off a safetensors file.
///
/// # Errors
/// It is no safetensors file.
pub fn skeleton(bytes: &[u8]) -> Result<Skeleton, WeightsError> {
    let file = Weights::parse(bytes)?;
    let mut modules: BTreeMap<Vec<Part>, BTreeMap<String, Vec<usize>>> = BTreeMap::new();
    for name in file.names() {
        let Some(view) = file.tensor(name) else { continue };
        let (module, parameter) = name.rsplit_once('.').unwrap_or(("", name));
        let place = modules.entry(parts(module)).or_default();
        place.insert(parameter.to_owned(), view.shape().to_vec());
    }
    let mut out = Skeleton { layers: Vec::new(), unknown: Vec::new(), rename: Vec::new() };
    for (module, parameters) in &modules {
        add(&mut out, &joined(module), parameters);
    }
    out.unknown.push(
        "the order of layers: they are in the order of their names; put them in the order of the forward pass".into(),
    );
    out.unknown.push(
        "what lies between them: activations, pooling, flatten, dropout; add these ops".into(),
    );
    Ok(out)
}

/// Numbers sort as numbers, and before words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

fn parts(module: &str) -> Vec<Part> {
    let part = |p: &str| p.parse().map_or_else(|_| Part::Word(p.to_owned()), Part::Number);
    module.split('.').map(part).collect()
}

fn joined(module: &[Part]) -> String {
    let text = |p: &Part| match p {
        Part::Number(n) => n.to_string(),
        Part::Word(word) => word.clone(),
    };
    module.iter().map(text).collect::<Vec<_>>().join(".")
}

fn add(out: &mut Skeleton, module: &str, parameters: &BTreeMap<String, Vec<usize>>) {
    let name = unique(&label(module), &out.layers);
    let shape = |p: &str| parameters.get(p).map(Vec::as_slice);
    let bias = parameters.contains_key("bias");
    let op = match (shape("weight"), parameters.contains_key("running_mean")) {
        (Some(&[n]), true) => {
            out.unknown.push(format!(
                "layer {name}: eps and momentum of batchNorm (taken for their defaults)"
            ));
            Some(json!({ "batchNorm": { "channels": n } }))
        }
        (Some(sizes), _) if sizes.len() == 1 => {
            out.unknown.push(format!(
                "layer {name}: layerNorm, groupNorm or another normalisation, and its eps"
            ));
            Some(json!({ "layerNorm": { "shape": sizes } }))
        }
        (Some(&[rows, columns]), _) if module.to_lowercase().contains("emb") && !bias => {
            out.unknown.push(format!("layer {name}: taken for an embedding because of its name"));
            Some(json!({ "embedding": { "count": rows, "size": columns } }))
        }
        (Some(&[outputs, inputs]), _) => Some(linear(inputs, outputs, bias)),
        (Some(&[outputs, inputs, kernel]), _) => {
            out.unknown.push(format!(
                "layer {name}: stride, padding and groups of conv1d (taken for 1, 0 and 1)"
            ));
            Some(convolution("conv1d", inputs, outputs, kernel, bias))
        }
        (Some(&[outputs, inputs, height, width]), _) if height == width => {
            out.unknown.push(format!(
                "layer {name}: stride, padding and groups of conv2d (taken for 1, 0 and 1)"
            ));
            Some(convolution("conv2d", inputs, outputs, height, bias))
        }
        _ => None,
    };
    let Some(op) = op else {
        let listed: Vec<String> = parameters.iter().map(|(p, s)| format!("{p} {s:?}")).collect();
        out.unknown.push(format!(
            "module '{module}' with {}: no operation is known for it",
            listed.join(", ")
        ));
        return;
    };
    if format!("{name}.0") != module {
        out.rename.push(format!("{module}={name}.0"));
    }
    out.layers.push(SkeletonLayer { name, ops: vec![op] });
}

fn linear(inputs: usize, outputs: usize, bias: bool) -> Value {
    let mut op = json!({ "in": inputs, "out": outputs });
    if !bias {
        op["bias"] = json!(false);
    }
    json!({ "linear": op })
}

fn convolution(name: &str, inputs: usize, outputs: usize, kernel: usize, bias: bool) -> Value {
    let mut op = json!({ "in": inputs, "out": outputs, "kernel": kernel });
    if !bias {
        op["bias"] = json!(false);
    }
    json!({ name: op })
}

/// A DNS label: what else a name has becomes a dash.
fn label(module: &str) -> String {
    let lower = module.to_lowercase();
    let dashed: String =
        lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let kept: String = dashed.trim_matches('-').chars().take(50).collect();
    if kept.is_empty() { "layer".into() } else { kept.trim_end_matches('-').to_owned() }
}

fn unique(name: &str, taken: &[SkeletonLayer]) -> String {
    let is_taken = |n: &str| taken.iter().any(|l| l.name == n);
    if !is_taken(name) {
        return name.to_owned();
    }
    // One more name than there are taken ones: one of them is free.
    let mut others = (2..=taken.len() + 2).map(|i| format!("{name}-{i}"));
    others.find(|n| !is_taken(n)).unwrap_or_default()
}
