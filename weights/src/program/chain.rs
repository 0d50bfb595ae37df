//! One path through a graph, from what goes in to what comes out. Sums of two branches become residuals.

use super::ProgramError;
use super::graph::{ExportedProgram, Node, TensorMeta};
use super::ops::{Known, Meaning, Reading, meaning};
use mixnn_model::limits;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// The most nodes of a graph.
const MAX_NODES: usize = 1 << 13;
/// The most operations in all, those within residuals counted once for each.
const MAX_OPS: usize = 1 << 16;
/// So many problems are told.
const MAX_TOLD: usize = 100;

/// A program's operations in order.
pub(super) struct Chain {
    pub(super) found: Vec<Found>,
    pub(super) unknown: Vec<String>,
    pub(super) input: Vec<usize>,
    pub(super) takes_tokens: bool,
    /// How many tokens there are.
    pub(super) vocabulary: Option<usize>,
    pub(super) output: Vec<usize>,
}

/// An operation in the path.
#[derive(Clone)]
pub(super) struct Found {
    /// As a MixNNModel has it.
    pub(super) op: Value,
    /// Path of the module that it is of.
    pub(super) module: String,
    /// For people: which node it is.
    pub(super) node: String,
    /// Its tensors: the name within the operation, and that in the program.
    pub(super) weights: Vec<(String, String)>,
    /// Shape of a sample behind it, if the program tells.
    pub(super) output: Option<Vec<usize>>,
    /// How many operations it holds, itself included, and how deep they are nested.
    size: usize,
    depth: usize,
}

/// What a value of the graph is.
enum Made<'a> {
    /// A tensor of the file.
    Weight(&'a str),
    /// Comes of what goes in, by this step.
    Active(usize),
    /// Anything else.
    Other,
}

/// One step of the path: what comes before it, and what it does.
struct Step {
    before: Option<usize>,
    found: Vec<Found>,
}

struct Walk<'a> {
    made: HashMap<&'a str, Made<'a>>,
    steps: Vec<Step>,
    tensors: &'a HashMap<String, TensorMeta>,
    unknown: Vec<String>,
    ops: usize,
}

fn refused<T>(what: impl Into<String>) -> Result<T, ProgramError> {
    Err(ProgramError(what.into()))
}

pub(super) fn program(program: &ExportedProgram) -> Result<Chain, ProgramError> {
    let graph = &program.graph_module.graph;
    if graph.nodes.len() > MAX_NODES {
        return refused(format!("has {} nodes; the most is {MAX_NODES}", graph.nodes.len()));
    }
    let (inputs, made) = inputs(program);
    let &[input] = inputs.as_slice() else {
        return refused(format!("takes {} tensors; a model takes one here", inputs.len()));
    };
    let tensors = &graph.tensor_values;
    let begin = Step { before: None, found: Vec::new() };
    let mut walk = Walk { made, steps: vec![begin], tensors, unknown: Vec::new(), ops: 0 };
    walk.made.insert(input, Made::Active(0));
    for node in &graph.nodes {
        walk.node(node)?;
    }
    let outputs = &program.graph_module.signature.output_specs;
    let given = outputs.iter().filter_map(|spec| spec.user_output.as_ref());
    let given: Vec<Option<&str>> =
        given.map(|output| Some(output.arg.as_tensor.as_ref()?.name.as_str())).collect();
    let &[Some(output)] = given.as_slice() else {
        return refused(format!("gives {} values; a model gives one tensor here", given.len()));
    };
    let Some(&Made::Active(last)) = walk.made.get(output) else {
        return refused("what it gives does not come of what it takes");
    };
    let found = walk.between(last, 0);
    let meta = tensors.get(input);
    let sample = |meta: Option<&TensorMeta>| meta.and_then(TensorMeta::sample);
    let Some(shape) = sample(meta) else { return refused("tells no shape of its input") };
    let takes_tokens = meta.is_some_and(|meta| meta.dtype == super::graph::ScalarType::LONG);
    let first = found.first().map(|one: &Found| &one.op["embedding"]["count"]);
    let vocabulary = first.and_then(Value::as_u64).map(|n| n as usize).filter(|_| takes_tokens);
    let output = sample(tensors.get(output)).unwrap_or_default();
    Ok(Chain { found, unknown: walk.unknown, input: shape, takes_tokens, vocabulary, output })
}

/// What the caller gives, and what the file holds.
fn inputs(program: &ExportedProgram) -> (Vec<&str>, HashMap<&str, Made<'_>>) {
    let (mut inputs, mut made) = (Vec::new(), HashMap::new());
    for spec in &program.graph_module.signature.input_specs {
        if let Some(user) = spec.user_input.as_ref().and_then(|user| user.arg.as_tensor.as_ref()) {
            inputs.push(user.name.as_str());
        }
        if let Some(parameter) = &spec.parameter {
            made.insert(parameter.arg.name.as_str(), Made::Weight(&parameter.parameter_name));
        }
        if let Some(buffer) = &spec.buffer {
            made.insert(buffer.arg.name.as_str(), Made::Weight(&buffer.buffer_name));
        }
        if let Some(constant) = &spec.tensor_constant {
            made.insert(constant.arg.name.as_str(), Made::Other);
        }
    }
    (inputs, made)
}

impl<'a> Walk<'a> {
    fn node(&mut self, node: &'a Node) -> Result<(), ProgramError> {
        let Some(output) = node.output() else { return Ok(()) };
        let active = |name: &str| match self.made.get(name) {
            Some(Made::Active(step)) => Some(*step),
            _ => None,
        };
        let from: Vec<usize> = node.tensors().filter_map(active).collect();
        let Some(&first) = from.first() else {
            // Counts batches, most likely: nothing that comes out depends on it alone.
            self.made.entry(output).or_insert(Made::Other);
            return Ok(());
        };
        let made = match (meaning(&Reading { node, tensors: self.tensors }), from.as_slice()) {
            (Ok(Meaning::Op(known)), [_]) => self.op(node, known),
            (Ok(Meaning::Same), [_]) => Ok(None),
            (Ok(Meaning::Sum), &[a, b]) => {
                let step = self.sum(node, a, b)?;
                step.map(|step| {
                    self.made.insert(output, Made::Active(step));
                    None
                })
            }
            (Ok(_), _) => Err(format!("{} activations go in; one can here", from.len())),
            (Err(problem), _) => Err(problem),
        };
        match made {
            Ok(Some(found)) => {
                self.ops += found.size;
                self.steps.push(Step { before: Some(first), found: vec![found] });
                self.made.insert(output, Made::Active(self.steps.len() - 1));
            }
            Ok(None) => {
                self.made.entry(output).or_insert(Made::Active(first));
            }
            Err(problem) => {
                self.tell(node, &problem);
                // As if it were not there, so that what comes behind it is told too.
                self.made.insert(output, Made::Active(first));
            }
        }
        Ok(())
    }

    fn tell(&mut self, node: &Node, problem: &str) {
        if self.unknown.len() < MAX_TOLD {
            self.unknown.push(format!("{}: {problem}", named(node)));
        }
    }

    fn op(&self, node: &Node, known: Known) -> Result<Option<Found>, String> {
        let mut weights = Vec::with_capacity(known.tensors.len());
        for (within, argument) in known.tensors {
            let Some(tensor) = node.argument(argument).and_then(|a| a.as_tensor.as_ref()) else {
                continue;
            };
            let Some(Made::Weight(of)) = self.made.get(tensor.name.as_str()) else {
                return Err(format!("its {argument} is computed, and no tensor of the file"));
            };
            let of = match (within, of.rsplit_once('.')) {
                ("num_batches_tracked", Some((module, _))) => format!("{module}.{within}"),
                ("num_batches_tracked", None) => within.to_owned(),
                _ => (*of).to_owned(),
            };
            weights.push((within.to_owned(), of));
        }
        let of_weights = weights.first().and_then(|(_, of)| of.rsplit_once('.'));
        let module = of_weights.map_or(node.module(), |(module, _)| module).to_owned();
        let output =
            node.output().and_then(|name| self.tensors.get(name)).and_then(TensorMeta::sample);
        Ok(Some(Found {
            op: known.op,
            module,
            node: named(node),
            weights,
            output,
            size: 1,
            depth: 0,
        }))
    }

    /// A sum of two branches from one point is a residual: gives its step, or why it is none.
    fn sum(
        &mut self,
        node: &Node,
        a: usize,
        b: usize,
    ) -> Result<Result<usize, String>, ProgramError> {
        let trunk: HashSet<usize> = self.trunk(a).collect();
        let Some(fork) = self.trunk(b).find(|step| trunk.contains(step)) else {
            return Ok(Err("the branches of a sum come from nowhere in common".into()));
        };
        let (one, other) = (self.between(a, fork), self.between(b, fork));
        let (body, shortcut) = if one.len() >= other.len() { (one, other) } else { (other, one) };
        let depth = 1 + body.iter().chain(&shortcut).map(|found| found.depth).max().unwrap_or(0);
        let size = 1 + body.iter().chain(&shortcut).map(|found| found.size).sum::<usize>();
        self.ops += size;
        if self.ops > MAX_OPS {
            return refused(format!("has more than {MAX_OPS} operations within residuals"));
        }
        if body.is_empty() || depth > limits::NESTING {
            return Ok(Err(format!(
                "a sum of branches that are {depth} deep, or of a value with itself"
            )));
        }
        let module = body.last().map(|found| found.module.clone()).unwrap_or_default();
        let module = module.rsplit_once('.').map_or(module.clone(), |(block, _)| block.to_owned());
        let mut weights = Vec::new();
        let mut residual = json!({});
        for (name, branch) in [("body", body), ("shortcut", shortcut)] {
            for (at, found) in branch.iter().enumerate() {
                let within =
                    |(within, of): &(String, String)| (format!("{name}.{at}.{within}"), of.clone());
                weights.extend(found.weights.iter().map(within));
            }
            if !branch.is_empty() {
                residual[name] = branch.into_iter().map(|found| found.op).collect();
            }
        }
        let output =
            node.output().and_then(|name| self.tensors.get(name)).and_then(TensorMeta::sample);
        let op = json!({ "residual": residual });
        let found = Found { op, module, node: named(node), weights, output, size, depth };
        self.steps.push(Step { before: Some(fork), found: vec![found] });
        Ok(Ok(self.steps.len() - 1))
    }

    /// A step, the one before it, and so on to the beginning.
    fn trunk(&self, from: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(from), |&step| self.steps[step].before)
    }

    /// What is done after step `from`, up to `to`.
    fn between(&self, to: usize, from: usize) -> Vec<Found> {
        let steps: Vec<usize> = self.trunk(to).take_while(|&step| step != from).collect();
        steps.into_iter().rev().flat_map(|step| self.steps[step].found.clone()).collect()
    }
}

/// A node, for people.
fn named(node: &Node) -> String {
    let module = match node.module() {
        "" => String::new(),
        module => format!(" of module {}", clean(module)),
    };
    format!("node {}{module}", clean(node.output().unwrap_or("?")))
}

/// What a stranger wrote, for a comment.
fn clean(text: &str) -> String {
    text.chars().take(80).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}
