//! ATen operations, as PyTorch 2.13 exports them without decompositions, and what they are here.

use super::graph::{Argument, Node, TensorMeta};
use serde_json::{Value, json};
use std::collections::HashMap;

/// What an operation is here: what it is written as, and which of its tensors come from which argument.
pub(super) struct Known {
    pub(super) op: Value,
    /// Name of a tensor within the operation, and the argument that it is in.
    pub(super) tensors: Vec<(&'static str, &'static str)>,
}

/// What a node means.
pub(super) enum Meaning {
    /// An operation of this project.
    Op(Known),
    /// Nothing: its output is its input.
    Same,
    /// The sum of two activations.
    Sum,
}

const WEIGHTS: [(&str, &str); 2] = [("weight", "weight"), ("bias", "bias")];

/// Reads arguments of one node.
pub(super) struct Reading<'a> {
    pub(super) node: &'a Node,
    pub(super) tensors: &'a HashMap<String, TensorMeta>,
}

type Meant = Result<Meaning, String>;

/// The meaning of a node, or why it has none here.
pub(super) fn meaning(reading: &Reading<'_>) -> Meant {
    let target = reading.node.target.trim_start_matches("torch.ops.");
    let plain = |name: &str| Ok(op(json!({ name: {} }), []));
    match target {
        "aten.linear.default" => reading.linear(),
        "aten.conv1d.default" => reading.convolution("conv1d"),
        "aten.conv2d.default" => reading.convolution("conv2d"),
        "aten.conv_transpose2d.input" => reading.transposed(),
        "aten.batch_norm.default" => reading.batch_norm(),
        "aten.group_norm.default" => reading.group_norm(),
        "aten.layer_norm.default" => reading.layer_norm(),
        "aten.embedding.default" => reading.embedding(),
        "aten.relu.default" | "aten.relu_.default" => plain("relu"),
        "aten.silu.default" | "aten.silu_.default" => plain("silu"),
        "aten.tanh.default" | "aten.tanh_.default" => plain("tanh"),
        "aten.sigmoid.default" | "aten.sigmoid_.default" => plain("sigmoid"),
        "aten.gelu.default" => match reading.text("approximate").unwrap_or("none") {
            "none" => plain("gelu"),
            other => Ok(op(json!({"gelu": {"approximate": other}}), [])),
        },
        "aten.leaky_relu.default" | "aten.leaky_relu_.default" => {
            let slope = reading.float("negative_slope", 0.01)?;
            Ok(op(json!({"leakyRelu": {"slope": slope}}), []))
        }
        "aten.softmax.int" => {
            let dim = reading.dimension("dim")?;
            Ok(op(json!({"softmax": {"dim": dim}}), []))
        }
        "aten.dropout.default" | "aten.dropout_.default" => {
            let p = reading.float("p", 0.5)?;
            Ok(op(json!({"dropout": {"p": p}}), []))
        }
        "aten.max_pool2d.default" => reading.pool("maxPool2d"),
        "aten.avg_pool2d.default" => reading.pool("avgPool2d"),
        "aten.adaptive_avg_pool2d.default" => reading.adaptive("adaptiveAvgPool2d"),
        "aten.adaptive_max_pool2d.default" => reading.adaptive("adaptiveMaxPool2d"),
        "aten.flatten.using_ints"
        | "aten.view.default"
        | "aten.reshape.default"
        | "aten._unsafe_view.default"
        | "aten.unflatten.int"
        | "aten.squeeze.dim"
        | "aten.squeeze.dims"
        | "aten.squeeze.default"
        | "aten.unsqueeze.default" => reading.reshape(),
        "aten.permute.default" => reading.permute(),
        "aten.transpose.int" => reading.transpose(),
        "aten.mean.dim" => reading.mean(),
        "aten.contiguous.default"
        | "aten.clone.default"
        | "aten.detach.default"
        | "aten.alias.default"
        | "aten.detach_.default" => Ok(Meaning::Same),
        "aten.add.Tensor" | "aten.add_.Tensor" => match reading.int("alpha", 1)? {
            1 => Ok(Meaning::Sum),
            _ => Err("a sum with a factor".into()),
        },
        other => Err(format!("{other} is no operation that can be told here")),
    }
}

fn op<const N: usize>(op: Value, tensors: [(&'static str, &'static str); N]) -> Meaning {
    Meaning::Op(Known { op, tensors: tensors.into() })
}

impl Reading<'_> {
    fn linear(&self) -> Meant {
        let [outputs, inputs] = self.shape("weight")?;
        let mut linear = json!({"in": inputs, "out": outputs});
        self.biased(&mut linear);
        Ok(op(json!({ "linear": linear }), WEIGHTS))
    }

    fn convolution(&self, name: &str) -> Meant {
        let shape = self.weight("weight")?;
        let (outputs, inputs, kernel) = match *shape {
            [outputs, inputs, kernel] => (outputs, inputs, kernel),
            [outputs, inputs, height, width] if height == width => (outputs, inputs, height),
            _ => return Err(format!("a kernel of shape {shape:?}: kernels are square here")),
        };
        let groups = self.whole("groups", 1)?;
        let inputs = inputs.saturating_mul(groups);
        let mut of = json!({"in": inputs, "out": outputs, "kernel": kernel});
        self.put(&mut of, "stride", 1)?;
        self.put(&mut of, "padding", 0)?;
        self.put(&mut of, "dilation", 1)?;
        set(&mut of, "groups", groups, 1);
        self.biased(&mut of);
        Ok(op(json!({ name: of }), WEIGHTS))
    }

    fn transposed(&self) -> Meant {
        let [inputs, outputs, height, width] = self.shape("weight")?;
        if height != width || self.number("dilation", 1)? != 1 {
            return Err(
                "a transposed convolution with a kernel that is not square, or dilated".into()
            );
        }
        let groups = self.whole("groups", 1)?;
        let mut of = json!({"in": inputs, "out": outputs.saturating_mul(groups), "kernel": height});
        self.put(&mut of, "stride", 1)?;
        self.put(&mut of, "padding", 0)?;
        set(&mut of, "outputPadding", self.number("output_padding", 0)?, 0);
        set(&mut of, "groups", groups, 1);
        self.biased(&mut of);
        Ok(op(json!({ "convTranspose2d": of }), WEIGHTS))
    }

    fn batch_norm(&self) -> Meant {
        let [channels] = self.shape("running_mean")?;
        let (eps, momentum) = (self.float("eps", 1e-5)?, self.float("momentum", 0.1)?);
        let mut of = json!({"channels": channels, "eps": eps, "momentum": momentum});
        let mut tensors = vec![("running_mean", "running_mean"), ("running_var", "running_var")];
        tensors.push(("num_batches_tracked", "running_mean"));
        tensors.extend(self.affine(&mut of));
        Ok(Meaning::Op(Known { op: json!({ "batchNorm": of }), tensors }))
    }

    fn group_norm(&self) -> Meant {
        let groups = self.int("num_groups", 0)?;
        let input = self.input().and_then(TensorMeta::sample);
        let channels = input.and_then(|shape| shape.first().copied()).ok_or("an unknown input")?;
        let mut of =
            json!({"groups": groups, "channels": channels, "eps": self.float("eps", 1e-5)?});
        let tensors = self.affine(&mut of);
        Ok(Meaning::Op(Known { op: json!({ "groupNorm": of }), tensors }))
    }

    fn layer_norm(&self) -> Meant {
        let shape = self.numbers("normalized_shape")?;
        let mut of = json!({"shape": shape, "eps": self.float("eps", 1e-5)?});
        let tensors = self.affine(&mut of);
        Ok(Meaning::Op(Known { op: json!({ "layerNorm": of }), tensors }))
    }

    fn embedding(&self) -> Meant {
        let [count, size] = self.shape("weight")?;
        let mut of = json!({"count": count, "size": size});
        if let Ok(padding) = u32::try_from(self.int("padding_idx", -1)?) {
            of["padding"] = json!(padding);
        }
        Ok(op(json!({ "embedding": of }), [("weight", "weight")]))
    }

    fn pool(&self, name: &str) -> Meant {
        let told = |what: &str, usual: bool| {
            self.node.argument(what).and_then(|a| a.as_bool).unwrap_or(usual)
        };
        let divides = self.node.argument("divisor_override").is_some_and(|a| a.as_int.is_some());
        if told("ceil_mode", false) || !told("count_include_pad", true) || divides {
            return Err(
                "a pool with ceil_mode, count_include_pad=False or a divisor of its own".into()
            );
        }
        if self.number("dilation", 1)? != 1 {
            return Err("a dilated pool".into());
        }
        let kernel = self.number("kernel_size", 0)?;
        let mut of = json!({ "kernel": kernel });
        set(&mut of, "stride", self.number("stride", kernel)?, kernel);
        self.put(&mut of, "padding", 0)?;
        Ok(op(json!({ name: of }), []))
    }

    fn adaptive(&self, name: &str) -> Meant {
        match self.numbers("output_size")?.as_slice() {
            [height, width] => Ok(op(json!({ name: {"height": height, "width": width} }), [])),
            other => Err(format!("output_size {other:?}")),
        }
    }

    /// Whatever it is called: the same elements in another shape, which the program tells.
    fn reshape(&self) -> Meant {
        let meta = self.node.output().and_then(|name| self.tensors.get(name));
        let after = meta.and_then(TensorMeta::sample).ok_or("an unknown shape")?;
        let before = self.input().and_then(TensorMeta::sample).ok_or("an unknown shape")?;
        if before == after {
            return Ok(Meaning::Same);
        }
        if before.iter().product::<usize>() != after.iter().product::<usize>() {
            return Err(format!(
                "samples of {before:?} become {after:?}: it moves the batch dimension"
            ));
        }
        Ok(match after.as_slice() {
            [_] => op(json!({"flatten": {}}), []),
            shape => op(json!({"reshape": {"shape": shape}}), []),
        })
    }

    fn permute(&self) -> Meant {
        let rank = self.rank()?;
        let dims = self.node.argument("dims").and_then(|a| a.as_ints.clone()).ok_or("no dims")?;
        let order: Option<Vec<usize>> = dims.iter().map(|&dim| place(dim, rank)).collect();
        match order.as_deref() {
            Some([0, rest @ ..]) if rest.iter().all(|&dim| dim > 0) => {
                let order: Vec<usize> = rest.iter().map(|dim| dim - 1).collect();
                Ok(op(json!({"permute": {"order": order}}), []))
            }
            _ => Err(format!("dims {dims:?} move the batch dimension")),
        }
    }

    fn transpose(&self) -> Meant {
        let (a, b) = (self.dimension("dim0")?, self.dimension("dim1")?);
        let mut order: Vec<usize> = (0..self.rank()? - 1).collect();
        order.swap(a, b);
        Ok(op(json!({"permute": {"order": order}}), []))
    }

    fn mean(&self) -> Meant {
        let keeps = self.node.argument("keepdim").and_then(|a| a.as_bool).unwrap_or(false);
        let dims = self.node.argument("dim").and_then(|a| a.as_ints.clone()).unwrap_or_default();
        match (dims.as_slice(), keeps) {
            (&[dim], false) => {
                let dim = place(dim, self.rank()?).and_then(|dim| dim.checked_sub(1));
                let dim = dim.ok_or("a mean over the batch")?;
                Ok(op(json!({"mean": {"dim": dim}}), []))
            }
            _ => Err(format!(
                "a mean over dimensions {dims:?}, keepdim {keeps}: one at a time here, which goes"
            )),
        }
    }

    fn affine(&self, of: &mut Value) -> Vec<(&'static str, &'static str)> {
        if self.has("weight") {
            return WEIGHTS.into();
        }
        of["affine"] = json!(false);
        Vec::new()
    }

    fn biased(&self, of: &mut Value) {
        if !self.has("bias") {
            of["bias"] = json!(false);
        }
    }

    fn has(&self, name: &str) -> bool {
        self.node.argument(name).is_some_and(|argument| argument.as_tensor.is_some())
    }

    /// What an operation computes on.
    fn input(&self) -> Option<&TensorMeta> {
        self.tensors.get(self.node.tensors().next()?)
    }

    fn rank(&self) -> Result<usize, String> {
        let rank = self.input().map(|meta| meta.sizes.len()).filter(|rank| (1..=9).contains(rank));
        rank.ok_or_else(|| "an input of unknown shape".to_owned())
    }

    fn weight(&self, name: &str) -> Result<Vec<usize>, String> {
        let argument = self.node.argument(name).and_then(|a| a.as_tensor.as_ref());
        let meta = argument.and_then(|tensor| self.tensors.get(&tensor.name));
        meta.and_then(TensorMeta::shape).ok_or_else(|| format!("{name} has no shape"))
    }

    fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N], String> {
        let shape = self.weight(name)?;
        shape.as_slice().try_into().map_err(|_| format!("{name} is of shape {shape:?}"))
    }

    fn int(&self, name: &str, usual: i64) -> Result<i64, String> {
        match self.node.argument(name) {
            None => Ok(usual),
            Some(argument) => argument.as_int.ok_or_else(|| format!("{name} is no number")),
        }
    }

    fn whole(&self, name: &str, usual: usize) -> Result<usize, String> {
        let value = self.int(name, usual as i64)?;
        usize::try_from(value).map_err(|_| format!("{name} is {value}"))
    }

    fn float(&self, name: &str, usual: f64) -> Result<f64, String> {
        let Some(argument) = self.node.argument(name) else { return Ok(usual) };
        let value = argument.as_float.as_ref().and_then(Value::as_f64);
        let value = value.or(argument.as_int.map(|n| n as f64));
        value.ok_or_else(|| format!("{name} is no number"))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.node.argument(name)?.as_string.as_deref()
    }

    /// A list of numbers, or a number for both dimensions, which must be one number here.
    fn number(&self, name: &str, usual: usize) -> Result<usize, String> {
        let Some(argument) = self.node.argument(name) else { return Ok(usual) };
        if argument.as_string.is_some() {
            return Err(format!("{name} is a word: write the number"));
        }
        let all = list(argument).ok_or_else(|| format!("{name} is no number"))?;
        match all.as_slice() {
            [] => Ok(usual),
            [first, rest @ ..] if rest.iter().all(|other| other == first) => Ok(*first),
            _ => Err(format!("{name} {all:?}: both dimensions have the same here")),
        }
    }

    fn numbers(&self, name: &str) -> Result<Vec<usize>, String> {
        let argument = self.node.argument(name).and_then(list);
        argument.ok_or_else(|| format!("{name} is no list of numbers"))
    }

    fn put(&self, of: &mut Value, name: &str, usual: usize) -> Result<(), String> {
        set(of, name, self.number(name, usual)?, usual);
        Ok(())
    }

    /// A dimension of a sample: without that of the batch.
    fn dimension(&self, name: &str) -> Result<usize, String> {
        let dim = place(self.int(name, -1)?, self.rank()?);
        dim.and_then(|dim| dim.checked_sub(1))
            .ok_or_else(|| format!("{name} is the batch dimension"))
    }
}

/// What is as usual is not written.
fn set(of: &mut Value, name: &str, value: usize, usual: usize) {
    if value != usual {
        of[name] = json!(value);
    }
}

fn list(argument: &Argument) -> Option<Vec<usize>> {
    let whole = |n: i64| usize::try_from(n).ok();
    let symbols = || argument.as_sym_ints.as_ref()?.iter().map(|n| n.as_int).collect();
    let one = || argument.as_int.map(|n| vec![n]);
    let all: Vec<i64> = argument.as_ints.clone().or_else(one).or_else(symbols)?;
    all.into_iter().map(whole).collect()
}

/// A dimension that may be counted from the end.
fn place(dim: i64, rank: usize) -> Option<usize> {
    let dim = if dim < 0 { dim.checked_add(rank as i64)? } else { dim };
    usize::try_from(dim).ok().filter(|&dim| dim < rank)
}
