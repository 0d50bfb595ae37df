//! The models that are timed.

use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A model as a file is written of it.
#[derive(Clone, Debug)]
pub struct Model {
    /// For people.
    pub name: String,
    layers: Value,
    /// Samples of a step.
    pub batch: u32,
    /// Parts of it.
    pub micro_batches: u32,
    /// Steps of an epoch.
    pub steps: u32,
    epochs: u32,
    relays: u32,
    /// Relays of each lane.
    pub hops: u32,
}

impl Model {
    fn new(name: &str, layers: Value, batch: u32, steps: u32) -> Self {
        let name = name.to_owned();
        Self { name, layers, batch, micro_batches: 4, steps, epochs: 1, relays: 6, hops: 3 }
    }

    /// The same with other parts of a batch.
    pub fn in_parts(&self, micro_batches: u32) -> Self {
        Self { micro_batches, ..self.clone() }
    }

    /// The same, so many times over.
    pub fn for_epochs(self, epochs: u32) -> Self {
        Self { epochs, ..self }
    }

    /// The same over other numbers of relays.
    pub fn over(&self, hops: u32) -> Self {
        Self { hops, ..self.clone() }
    }

    /// Writes the model's file (JSON is YAML).
    pub fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let train = self.batch * self.steps;
        let file = json!({
            "apiVersion": "mixnn.dev/v1alpha1",
            "kind": "MixNNModel",
            "metadata": {"name": "bench"},
            "spec": {
                "layers": self.layers,
                "training": {
                    "dataset": {"digits": {"train": train, "test": 10}},
                    "batchSize": self.batch,
                    "microBatches": self.micro_batches,
                    "epochs": self.epochs,
                    "optimizer": {"sgd": {"lr": 0.01, "momentum": 0.9}},
                },
                "relays": {"replicas": self.relays, "hops": self.hops},
            },
        });
        let path = folder.join("model.yaml");
        std::fs::write(&path, serde_json::to_string_pretty(&file)?)?;
        Ok(path)
    }
}

/// LeNet-5 in five layers.
pub fn lenet5(batch: u32, steps: u32) -> Model {
    let layers = json!([
        {"name": "conv1", "ops": [{"conv2d": {"in": 1, "out": 6, "kernel": 5, "padding": 2}}, {"relu": {}}, {"maxPool2d": {"kernel": 2}}]},
        {"name": "conv2", "ops": [{"conv2d": {"in": 6, "out": 16, "kernel": 5}}, {"relu": {}}, {"maxPool2d": {"kernel": 2}}]},
        {"name": "fc1", "ops": [{"flatten": {}}, {"linear": {"in": 400, "out": 120}}, {"relu": {}}]},
        {"name": "fc2", "ops": [{"linear": {"in": 120, "out": 84}}, {"relu": {}}]},
        {"name": "fc3", "ops": [{"linear": {"in": 84, "out": 10}}]},
    ]);
    Model::new(&format!("LeNet-5, batch {batch}"), layers, batch, steps)
}

/// Layers of equal width, of which the first takes pictures of digits and the last gives ten classes.
pub fn perceptron(name: &str, width: u32, layers: u32, batch: u32, steps: u32) -> Model {
    let linear = |i: u32| {
        let inputs = if i == 1 { 784 } else { width };
        let outputs = if i == layers { 10 } else { width };
        let linear = json!({"linear": {"in": inputs, "out": outputs}});
        let mut ops = if i == 1 { vec![json!({"flatten": {}}), linear] } else { vec![linear] };
        if i < layers {
            ops.push(json!({"relu": {}}));
        }
        json!({"name": format!("layer{i}"), "ops": ops})
    };
    Model::new(name, (1..=layers).map(linear).collect(), batch, steps)
}
