#![no_main]

//! Files of weights: as they come, and as a header around which the rest of a file is made.

use mixnn_model::{Labels, Model, Shape};
use mixnn_weights::{Rename, skeleton, split};
use std::sync::LazyLock;

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let layers = r#"[
        {"name": "conv", "ops": [{"conv2d": {"in": 1, "out": 2, "kernel": 3}}, {"relu": {}}, {"flatten": {}}]},
        {"name": "last", "ops": [{"linear": {"in": 8, "out": 10}}]}]"#;
    let training = r#"{"dataset": {"digits": {"train": 10, "test": 10}}, "batchSize": 2, "microBatches": 1,
        "epochs": 1, "optimizer": {"sgd": {"lr": 0.1}}}"#;
    let (layers, training) =
        (serde_json::from_str(layers).unwrap(), serde_json::from_str(training).unwrap());
    let sample = Shape::new([1, 4, 4]).unwrap();
    Model::new(layers, training, &sample, &Labels::Class { classes: 10 }).unwrap()
});

fn read(file: &[u8]) {
    if let Ok(states) = split(&MODEL, file, &Rename::default(), 7) {
        assert_eq!(states.len(), 2, "one state for each layer");
    }
    if let Ok(found) = skeleton(file) {
        for op in found.layers.iter().flat_map(|layer| &layer.ops) {
            serde_json::from_value::<mixnn_model::Op>(op.clone()).expect("an operation of models");
        }
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    read(data);
    // The header of a file that is as long as its largest offset could say.
    let rest = vec![0; data.first().map_or(0, |n| usize::from(*n) * 16)];
    let header = data.get(1..).unwrap_or_default();
    read(&[&(header.len() as u64).to_le_bytes(), header, &rest].concat());
});
