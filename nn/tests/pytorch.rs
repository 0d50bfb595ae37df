//! Every operation computes what PyTorch's own module does: outputs, gradients, buffers, under
//! PyTorch's names. The numbers come from `tests/pytorch/operations.py`.

#![allow(clippy::unwrap_used)]

mod common;

use common::{owner, pin};
use mixnn_model::{Learning, Op, Operation};
use mixnn_nn::{Device, Kind, Layer, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

const FILE: &[u8] = include_bytes!("pytorch/operations.safetensors");

/// Outputs differ in the last places where sums are taken in another order.
const TOLERANCE: f64 = 2e-5;

fn tensor(view: &TensorView<'_>) -> Tensor {
    let kind = if view.dtype() == Dtype::I64 { Kind::Int64 } else { Kind::Float };
    let shape: Vec<i64> = view.shape().iter().map(|&s| s as i64).collect();
    Tensor::from_data_size(view.data(), &shape, kind)
}

/// One operation as a layer with the parameters of a case, that learns at this rate.
struct Case<'f> {
    name: &'f str,
    file: &'f SafeTensors<'f>,
    op: Op,
}

impl Case<'_> {
    fn get(&self, what: &str) -> Option<Tensor> {
        self.file.tensor(&format!("{}/{what}", self.name)).ok().map(|view| tensor(&view))
    }

    /// The tensors below a folder, under the names that a layer of one operation gives them.
    fn below(&self, folder: &str) -> BTreeMap<String, Tensor> {
        let prefix = format!("{}/{folder}/", self.name);
        let ours = self.file.tensors().into_iter().filter_map(|(name, view)| {
            let name = name.strip_prefix(&prefix)?;
            Some((format!("0.{name}"), tensor(&view)))
        });
        ours.collect()
    }

    fn layer(&self, rate: f64) -> Layer {
        let parameters = self.op.parameters().len();
        let setting = json!({"weightDecay": 0.0, "lrFactor": 1.0});
        let learning: Learning = serde_json::from_value(json!({
            "optimizer": {"sgd": {"lr": rate}}, "settings": vec![setting; parameters],
            "schedule": {}, "totalSteps": 1, "clips": false, "precision": "F32",
        }))
        .unwrap();
        let key = owner().layer_key("a");
        let mut layer =
            Layer::new(std::slice::from_ref(&self.op), &learning, Device::Cpu, key).unwrap();
        let prefix = format!("{}/p/", self.name);
        let views =
            self.file.tensors().into_iter().filter_map(|(name, view)| {
                Some((format!("0.{}", name.strip_prefix(&prefix)?), view))
            });
        let step = HashMap::from([("step".to_owned(), "0".to_owned())]);
        layer.import(&safetensors::serialize(views, Some(step)).unwrap()).unwrap();
        layer
    }

    fn close(&self, what: &str, found: &Tensor, expected: &Tensor) {
        assert_eq!(found.size(), expected.size(), "{}: {what}", self.name);
        let off = (found - expected).abs().max().double_value(&[]);
        assert!(off < TOLERANCE, "{}: {what} is off by {off}", self.name);
    }

    fn check(&self) {
        let (x, g) = (self.get("x").unwrap(), self.get("g").unwrap());
        let mut layer = self.layer(1.0);
        let y = layer.forward(0, &x, x.kind() == Kind::Float).unwrap();
        self.close("the output", &y, &self.get("y").unwrap());
        let dx = layer.backward(0, &g).unwrap();
        if let Some(expected) = self.get("dx") {
            self.close("the gradient by the input", &dx.unwrap(), &expected);
        }
        layer.apply(None).unwrap();
        let export = layer.export().unwrap().to_bytes().unwrap();
        let after = SafeTensors::deserialize(&export).unwrap();
        let (before, gradients) = (self.below("p"), self.below("d"));
        for (name, gradient) in gradients {
            let moved = &before[&name] - tensor(&after.tensor(&name).unwrap());
            self.close(&format!("the gradient by {name}"), &moved, &gradient);
        }
        for (name, buffer) in self.below("after") {
            self.close(&name, &tensor(&after.tensor(&name).unwrap()), &buffer);
        }
        // A rate that moves nothing: parameters as before, buffers as after.
        let mut still = self.layer(1e-30);
        drop(still.forward(0, &x, false).unwrap());
        still.backward(0, &g).unwrap();
        still.apply(None).unwrap();
        self.close(
            "the output in evaluation",
            &still.evaluate(&x).unwrap(),
            &self.get("eval").unwrap(),
        );
    }
}

#[test]
fn every_operation_computes_what_pytorch_does() {
    pin();
    let (_, metadata) = SafeTensors::read_metadata(FILE).unwrap();
    let operations = metadata.metadata().as_ref().unwrap()["operations"].clone();
    let operations: BTreeMap<String, Value> = serde_json::from_str(&operations).unwrap();
    let file = SafeTensors::deserialize(FILE).unwrap();
    let mut missing: Vec<&str> = Op::NAMES.to_vec();
    for (name, op) in &operations {
        let op: Op = serde_json::from_value(op.clone()).unwrap();
        missing.retain(|other| *other != op.name());
        Case { name, file: &file, op }.check();
    }
    // Its numbers are drawn by MixNN's own key: other tests hold it to the same bits.
    assert_eq!(missing, ["dropout"], "every operation has a case in tests/pytorch/operations.py");
}
