//! What a file of weights tells of the model that it is from, and what it cannot.
//!
//! Names and shapes give linear, convolutional, normalising and embedding modules; nothing in a file
//! says what lies between them (activations, pooling, reshaping), nor strides and padding.

use crate::error::{Problem, WeightsError};
use crate::file::Weights;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

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
        check_name(name)?;
        let Some(view) = file.tensor(name) else { continue };
        let (module, parameter) = name.rsplit_once('.').unwrap_or(("", name));
        let place = modules.entry(parts(module)).or_default();
        place.insert(parameter.to_owned(), view.shape().to_vec());
    }
    let mut out = Skeleton { layers: Vec::new(), unknown: Vec::new(), rename: Vec::new() };
    let mut taken = HashMap::new();
    for (module, parameters) in &modules {
        add(&mut out, &mut taken, &joined(module), parameters);
    }
    out.unknown.push(
        "the order of layers: they are in the order of their names; put them in the order of the forward pass".into(),
    );
    out.unknown.push(
        "what lies between them: activations, pooling, flatten, dropout; add these ops".into(),
    );
    Ok(out)
}

/// Names go into comments, shell rules and YAML: from a file of a stranger, too.
fn check_name(name: &str) -> Result<(), WeightsError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if name.len() <= 512 && name.chars().all(plain) {
        return Ok(());
    }
    Err(Problem::Name { name: name.chars().take(64).collect() }.into())
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

fn add(
    out: &mut Skeleton,
    taken: &mut HashMap<String, usize>,
    module: &str,
    parameters: &BTreeMap<String, Vec<usize>>,
) {
    let name = unique(label(module), taken);
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
pub(crate) fn label(module: &str) -> String {
    let lower = module.to_lowercase();
    let dashed: String =
        lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let kept: String = dashed.trim_matches('-').chars().take(50).collect();
    if kept.is_empty() { "layer".into() } else { kept.trim_end_matches('-').to_owned() }
}

/// The name, or with the first number behind it that no layer has yet. `taken` holds, for each name, the
/// number that is tried next.
pub(crate) fn unique(name: String, taken: &mut HashMap<String, usize>) -> String {
    let Some(mut next) = taken.get(&name).copied() else {
        taken.insert(name.clone(), 2);
        return name;
    };
    let mut numbered = format!("{name}-{next}");
    while taken.contains_key(&numbered) {
        next += 1;
        numbered = format!("{name}-{next}");
    }
    taken.insert(name, next + 1);
    taken.insert(numbered.clone(), 2);
    numbered
}
