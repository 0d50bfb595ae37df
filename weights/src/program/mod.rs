//! A program that `torch.export.save` wrote (`.pt2`), as layers: read without Python, and without believing it.
//!
//! ```text
//! archive  a zip of stored entries, each read within bounds   -> the graph's JSON, tensors
//! graph    the schema of torch/_export/serde/schema.py        -> nodes, what goes in and comes out
//! ops      ATen operations                                    -> this project's, with their weights
//! chain    one path through the graph, sums as residuals      -> operations in order
//! ```
//!
//! What has no counterpart here is left out and told, with its node and module, for a person to fill in.

mod archive;
mod chain;
mod graph;
mod ops;

use crate::skeleton::{SkeletonLayer, label, unique};
use archive::Archive;
use chain::Found;
use mixnn_model::{Op, Operation, Shape, limits};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{Read, Seek};

/// Operations that begin a layer of their own.
const HEADS: [&str; 6] = ["linear", "conv1d", "conv2d", "convTranspose2d", "embedding", "residual"];

/// Why a file is no program, or none that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProgramError(pub(crate) String);

/// A program as layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// In the order of the forward pass.
    pub layers: Vec<SkeletonLayer>,
    /// What could not be converted, each with its node. If there is nothing, the layers are the program.
    pub unknown: Vec<String>,
    /// Shape of one sample that goes in.
    pub input: Vec<usize>,
    /// Whether samples are of tokens.
    pub takes_tokens: bool,
    /// Shape of what comes out for it.
    pub output: Vec<usize>,
    /// Names of the layers' tensors, and what they are called in the program.
    weights: Vec<(String, String)>,
}

/// A program, and the file that it is in.
pub struct ProgramFile<R> {
    archive: Archive<R>,
    program: Program,
}

impl<R: Read + Seek> ProgramFile<R> {
    /// Reads the graph; the weights stay where they are.
    ///
    /// # Errors
    /// The file is no program, or larger or deeper than any that is read.
    pub fn read(file: R) -> Result<Self, ProgramError> {
        let mut archive = Archive::open(file)?;
        let graph = archive.graph()?;
        let program = chain::program(&graph).map(Program::of)?;
        Ok(Self { archive, program })
    }

    /// What it is.
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// The weights as a safetensors file under the layers' names.
    ///
    /// # Errors
    /// They are not in the file, of another type than float32, or something had no counterpart.
    pub fn weights(&mut self) -> Result<Vec<u8>, ProgramError> {
        if !self.program.unknown.is_empty() {
            let what =
                "not all of the program could be converted: its weights would not be the model's";
            return Err(ProgramError(what.into()));
        }
        let mut tensors = Vec::with_capacity(self.program.weights.len());
        for (name, of) in &self.program.weights {
            let (dtype, shape, bytes) = match self.archive.tensor(of)? {
                // Counts batches; nothing here depends on it.
                None if of.ends_with(".num_batches_tracked") => (Dtype::I64, vec![], vec![0; 8]),
                None => return Err(ProgramError(format!("the file holds no tensor '{of}'"))),
                Some(tensor) => tensor,
            };
            tensors.push((name.clone(), dtype, shape, bytes));
        }
        written(&tensors)
    }
}

type Held = (String, Dtype, Vec<usize>, Vec<u8>);

fn written(tensors: &[Held]) -> Result<Vec<u8>, ProgramError> {
    let refused = |e: safetensors::SafeTensorError| ProgramError(e.to_string());
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views: Vec<_> = views.collect::<Result<_, _>>().map_err(refused)?;
    safetensors::serialize(views, None).map_err(refused)
}

impl Program {
    /// Operations in order, cut into layers, each shape held against the program's.
    fn of(chain: chain::Chain) -> Self {
        let chain::Chain { found, mut unknown, input, takes_tokens, vocabulary, output } = chain;
        let mut shape = match vocabulary {
            Some(vocabulary) => input.first().and_then(|&n| Shape::tokens(n, vocabulary).ok()),
            None => Shape::new(input.clone()).ok(),
        };
        let mut cut: Vec<Vec<Found>> = Vec::new();
        for one in found {
            shape = shape.and_then(|shape| follow(&one, &shape, &mut unknown));
            match cut.last_mut().filter(|layer| takes(layer, &one)) {
                Some(layer) => layer.push(one),
                None => cut.push(vec![one]),
            }
        }
        let (mut layers, mut weights, mut taken) = (Vec::new(), Vec::new(), HashMap::new());
        for ops in cut {
            // A layer is called after what it is about, not after what makes its input fit.
            let named = ops.iter().find(|one| is_head(&one.op)).or(ops.first());
            let name = unique(label(named.map_or("", |one| &one.module)), &mut taken);
            for (at, one) in ops.iter().enumerate() {
                let bound =
                    |(within, of): &(String, String)| (format!("{name}.{at}.{within}"), of.clone());
                weights.extend(one.weights.iter().map(bound));
            }
            layers.push(SkeletonLayer { name, ops: ops.into_iter().map(|one| one.op).collect() });
        }
        Self { layers, unknown, input, takes_tokens, output, weights }
    }
}

/// Whether an operation goes into a layer that has these: each has one that begins a layer, at the most.
fn takes(layer: &[Found], one: &Found) -> bool {
    layer.len() < limits::OPS && !(is_head(&one.op) && layer.iter().any(|has| is_head(&has.op)))
}

fn is_head(op: &Value) -> bool {
    HEADS.iter().any(|head| op.get(head).is_some())
}

/// The shape behind an operation, which must be what the program says.
fn follow(one: &Found, shape: &Shape, unknown: &mut Vec<String>) -> Option<Shape> {
    let op: Op = match serde_json::from_value(one.op.clone()) {
        Ok(op) => op,
        Err(error) => {
            unknown.push(format!("{}: {error}", one.node));
            return None;
        }
    };
    match op.output(shape) {
        Ok(out) if one.output.as_ref().is_none_or(|told| told == out.sizes()) => Some(out),
        Ok(out) => {
            let told = one.output.as_deref().unwrap_or_default();
            unknown.push(format!("{}: gives {told:?} there, and {out} here", one.node));
            None
        }
        Err(error) => {
            unknown.push(format!("{}: {}: {error}", one.node, op.name()));
            None
        }
    }
}
