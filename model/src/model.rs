//! A model after every check.

use crate::error::{ModelError, ModelErrors};
use crate::{
    Buffer, Labels, LayerSpec, Learning, Operation, Parameter, ParameterSetting, Shape,
    TrainingSpec, limits,
};
use std::collections::HashSet;

/// A model whose layers fit each other and its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    layers: Vec<Layer>,
    training: TrainingSpec,
    labels: Labels,
}

/// A layer with its shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// As written.
    pub spec: LayerSpec,
    /// Shape of one input sample.
    pub input: Shape,
    /// Shape of one output sample.
    pub output: Shape,
}

impl Layer {
    /// The parameters with the index of their operation, in model order.
    pub fn parameters(&self) -> impl Iterator<Item = (usize, Parameter)> + '_ {
        let of = |(i, op): (usize, &crate::Op)| op.parameters().into_iter().map(move |p| (i, p));
        self.spec.ops.iter().enumerate().flat_map(of)
    }

    /// The buffers with the index of their operation, in model order.
    pub fn buffers(&self) -> impl Iterator<Item = (usize, Buffer)> + '_ {
        let of = |(i, op): (usize, &crate::Op)| op.buffers().into_iter().map(move |b| (i, b));
        self.spec.ops.iter().enumerate().flat_map(of)
    }

    /// How many numbers it learns.
    pub fn parameter_count(&self) -> i64 {
        self.parameters().map(|(_, p)| p.elements()).sum()
    }

    /// Floating-point operations of one sample's forward pass ([`Operation::flops`]). The backward
    /// pass takes about twice as many.
    pub fn flops(&self) -> u64 {
        crate::ops::flops_of(&self.spec.ops, &self.input)
    }
}

impl Model {
    /// Checks a model against the shape of its samples and their labels.
    ///
    /// # Errors
    /// All that is wrong. Shapes are checked up to the first operation that does not fit, because
    /// nothing is known behind it.
    pub fn new(
        layers: Vec<LayerSpec>,
        training: TrainingSpec,
        sample: &Shape,
        labels: &Labels,
    ) -> Result<Self, ModelErrors> {
        let mut problems = name_problems(&layers);
        problems.extend(training.problems());
        let mut checked = Vec::with_capacity(layers.len());
        let mut shape = sample.clone();
        for spec in layers {
            match infer(&spec, &shape) {
                Ok(output) => {
                    checked.push(Layer { spec, input: shape, output: output.clone() });
                    shape = output;
                }
                Err(problem) => {
                    problems.push(problem);
                    return Err(ModelErrors(problems));
                }
            }
        }
        if let Some((field, problem)) = training.loss.problem(&shape, labels) {
            problems.push(ModelError::Field { field: field.into(), problem });
        }
        if problems.is_empty() {
            Ok(Self { layers: checked, training, labels: labels.clone() })
        } else {
            Err(ModelErrors(problems))
        }
    }

    /// The layers, input first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// How the model is trained.
    pub const fn training(&self) -> &TrainingSpec {
        &self.training
    }

    /// What its samples are labelled with.
    pub const fn labels(&self) -> &Labels {
        &self.labels
    }

    /// How many numbers are learned.
    pub fn parameter_count(&self) -> i64 {
        self.layers.iter().map(Layer::parameter_count).sum()
    }

    /// How a layer learns, in a training of `total_steps` steps.
    pub fn learning(&self, layer: &Layer, total_steps: u64) -> Learning {
        let training = &self.training;
        let setting = |(op, p): (usize, Parameter)| {
            let name = format!("{}.{op}.{}", layer.spec.name, p.name);
            let group = training.parameter_groups.iter().find(|g| g.names(&name, p.role));
            let decay = group.and_then(|g| g.weight_decay);
            ParameterSetting {
                weight_decay: decay.unwrap_or_else(|| training.optimizer.weight_decay()),
                lr_factor: group.map_or(1.0, |g| g.lr_factor),
            }
        };
        Learning {
            optimizer: training.optimizer.clone(),
            settings: layer.parameters().map(setting).collect(),
            schedule: training.schedule.clone(),
            total_steps,
            clips: training.clip_norm.is_some(),
            precision: training.precision,
            frozen: !layer.spec.trainable,
        }
    }
}

fn name_problems(layers: &[LayerSpec]) -> Vec<ModelError> {
    let mut problems = Vec::new();
    if layers.is_empty() || layers.len() > limits::LAYERS {
        problems.push(ModelError::Field {
            field: "layers".into(),
            problem: format!(
                "a model has from 1 to {} layers; this has {}",
                limits::LAYERS,
                layers.len()
            ),
        });
    }
    if !layers.is_empty() && layers.iter().all(|l| !l.trainable) {
        problems.push(ModelError::Field {
            field: "layers".into(),
            problem: "every layer has trainable: false: nothing would be learned".into(),
        });
    }
    let mut seen = HashSet::new();
    for (place, layer) in layers.iter().enumerate() {
        let mut problem = |problem: String| {
            problems.push(ModelError::Layer { place, name: layer.name.clone(), problem });
        };
        if !is_dns_label(&layer.name) {
            problem(
                "a name has 1 to 63 of a-z, 0-9 and '-', and neither begins nor ends with '-'"
                    .into(),
            );
        }
        if !seen.insert(&layer.name) {
            problem("another layer has this name already".into());
        }
        if layer.ops.is_empty() || layer.ops.len() > limits::OPS {
            problem(format!(
                "a layer has from 1 to {} ops; this has {}",
                limits::OPS,
                layer.ops.len()
            ));
        }
    }
    problems
}

fn is_dns_label(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=limits::NAME).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn infer(layer: &LayerSpec, input: &Shape) -> Result<Shape, ModelError> {
    layer.ops.iter().enumerate().try_fold(input.clone(), |shape, (index, op)| {
        op.output(&shape).map_err(|source| ModelError::Op {
            layer: layer.name.clone(),
            index,
            op: op.name(),
            source,
        })
    })
}
