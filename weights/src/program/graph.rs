//! What is read of the schema of exported programs, `torch/_export/serde/schema.py`, major version 8. Fields that are
//! not read are passed over.

use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;

#[derive(Deserialize)]
pub(super) struct ExportedProgram {
    pub(super) graph_module: GraphModule,
    pub(super) schema_version: SchemaVersion,
}

#[derive(Deserialize)]
pub(super) struct SchemaVersion {
    pub(super) major: u64,
}

#[derive(Deserialize)]
pub(super) struct GraphModule {
    pub(super) graph: Graph,
    pub(super) signature: Signature,
}

#[derive(Deserialize)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    #[serde(default)]
    pub(super) tensor_values: HashMap<String, TensorMeta>,
}

#[derive(Deserialize)]
pub(super) struct Node {
    pub(super) target: String,
    #[serde(default)]
    pub(super) inputs: Vec<NamedArgument>,
    #[serde(default)]
    pub(super) outputs: Vec<Argument>,
    #[serde(default)]
    pub(super) metadata: Metadata,
}

#[derive(Default, Deserialize)]
pub(super) struct Metadata {
    /// Entries "id,path,type", joined by ";", outermost first.
    #[serde(default)]
    pub(super) nn_module_stack: String,
}

#[derive(Deserialize)]
pub(super) struct NamedArgument {
    pub(super) name: String,
    pub(super) arg: Argument,
}

/// A union: one of them is set.
#[expect(clippy::struct_field_names, reason = "the schema's own names")]
#[derive(Default, Deserialize)]
pub(super) struct Argument {
    pub(super) as_tensor: Option<Named>,
    pub(super) as_tensors: Option<Vec<Named>>,
    pub(super) as_int: Option<i64>,
    pub(super) as_ints: Option<Vec<i64>>,
    pub(super) as_sym_ints: Option<Vec<SymInt>>,
    /// A number, or a word for one that JSON does not have.
    pub(super) as_float: Option<Value>,
    pub(super) as_bool: Option<bool>,
    pub(super) as_string: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

/// A number, or one that is known when the program runs.
#[derive(Clone, Default, Deserialize)]
pub(super) struct SymInt {
    pub(super) as_int: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct Signature {
    pub(super) input_specs: Vec<InputSpec>,
    pub(super) output_specs: Vec<OutputSpec>,
}

#[derive(Deserialize)]
pub(super) struct InputSpec {
    pub(super) user_input: Option<UserInput>,
    pub(super) parameter: Option<Parameter>,
    pub(super) buffer: Option<Buffer>,
    pub(super) tensor_constant: Option<Constant>,
}

#[derive(Deserialize)]
pub(super) struct UserInput {
    pub(super) arg: Argument,
}

#[derive(Deserialize)]
pub(super) struct Parameter {
    pub(super) arg: Named,
    pub(super) parameter_name: String,
}

#[derive(Deserialize)]
pub(super) struct Buffer {
    pub(super) arg: Named,
    pub(super) buffer_name: String,
}

#[derive(Deserialize)]
pub(super) struct Constant {
    pub(super) arg: Named,
}

#[derive(Deserialize)]
pub(super) struct OutputSpec {
    pub(super) user_output: Option<UserInput>,
}

/// PyTorch's number of an element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct ScalarType(pub(super) u32);

impl ScalarType {
    pub(super) const LONG: Self = Self(5);
    pub(super) const FLOAT: Self = Self(7);
}

#[derive(Clone, Deserialize)]
pub(super) struct TensorMeta {
    pub(super) dtype: ScalarType,
    pub(super) sizes: Vec<SymInt>,
    #[serde(default)]
    strides: Vec<SymInt>,
    #[serde(default)]
    storage_offset: SymInt,
}

impl TensorMeta {
    /// All sizes, if they are numbers.
    pub(super) fn shape(&self) -> Option<Vec<usize>> {
        let size = |size: &SymInt| size.as_int.and_then(|n| usize::try_from(n).ok());
        self.sizes.iter().map(size).collect()
    }

    /// Sizes of one sample: without the first, which may be any number.
    pub(super) fn sample(&self) -> Option<Vec<usize>> {
        let rest = self.sizes.get(1..)?;
        let size = |size: &SymInt| size.as_int.and_then(|n| usize::try_from(n).ok());
        rest.iter().map(size).collect()
    }

    /// Where in its storage it begins, in elements.
    pub(super) fn offset(&self) -> Option<u64> {
        u64::try_from(self.storage_offset.as_int?).ok()
    }

    /// Whether elements lie one behind the other, row-major.
    pub(super) fn is_contiguous(&self, shape: &[usize]) -> bool {
        let mut step = Some(1_i64);
        let told = self.strides.iter().rev().zip(shape.iter().rev());
        shape.len() == self.strides.len()
            && told.into_iter().all(|(stride, &size)| {
                let fits = size == 1 || (step.is_some() && stride.as_int == step);
                step = step.and_then(|step| step.checked_mul(i64::try_from(size).ok()?));
                fits
            })
    }
}

#[derive(Deserialize)]
pub(super) struct PayloadConfig {
    pub(super) config: HashMap<String, PayloadMeta>,
}

#[derive(Clone, Deserialize)]
pub(super) struct PayloadMeta {
    pub(super) path_name: String,
    pub(super) use_pickle: bool,
    pub(super) tensor_meta: Option<TensorMeta>,
}

impl Node {
    /// An argument by its name in the operation's schema; one that is left out has its default.
    pub(super) fn argument(&self, name: &str) -> Option<&Argument> {
        self.inputs.iter().find(|input| input.name == name).map(|input| &input.arg)
    }

    /// Names of all tensors that go in.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().flat_map(|input| {
            let one = input.arg.as_tensor.iter();
            one.chain(input.arg.as_tensors.iter().flatten()).map(|named| named.name.as_str())
        })
    }

    /// The name of the first tensor that comes out.
    pub(super) fn output(&self) -> Option<&str> {
        let output = self.outputs.first()?;
        let one = output.as_tensor.as_ref().or_else(|| output.as_tensors.as_ref()?.first());
        one.map(|named| named.name.as_str())
    }

    /// The module that it is of, as the model's own code has it: `features.0`.
    pub(super) fn module(&self) -> &str {
        let innermost = self.metadata.nn_module_stack.rsplit(';').next().unwrap_or_default();
        innermost.split(',').nth(1).unwrap_or_default()
    }
}
