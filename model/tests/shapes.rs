//! Shapes, parameters and what is said when they do not fit.

#![allow(clippy::unwrap_used)]

use mixnn_model::{Labels, Model, ModelErrors, Op, Operation, Shape};
use proptest::prelude::*;
use serde_json::{Value, json};

fn op(value: Value) -> Op {
    serde_json::from_value(value).unwrap()
}

fn output(op_: Value, input: &[usize]) -> Result<Vec<usize>, String> {
    let shape = op(op_).output(&Shape::new(input).unwrap());
    shape.map(|s| s.sizes().to_vec()).map_err(|e| e.to_string())
}

/// Shapes that PyTorch 2.13 gives for the same modules.
#[test]
fn shapes_are_those_of_pytorch() {
    let table = [
        (json!({"linear": {"in": 400, "out": 120}}), vec![400], vec![120]),
        (
            json!({"conv2d": {"in": 1, "out": 6, "kernel": 5, "padding": 2}}),
            vec![1, 28, 28],
            vec![6, 28, 28],
        ),
        (json!({"conv2d": {"in": 6, "out": 16, "kernel": 5}}), vec![6, 14, 14], vec![16, 10, 10]),
        (
            json!({"conv2d": {"in": 3, "out": 8, "kernel": 3, "stride": 2, "padding": 1}}),
            vec![3, 33, 20],
            vec![8, 17, 10],
        ),
        (json!({"maxPool2d": {"kernel": 2}}), vec![6, 28, 28], vec![6, 14, 14]),
        (json!({"maxPool2d": {"kernel": 3, "stride": 2}}), vec![4, 13, 10], vec![4, 6, 4]),
        (json!({"avgPool2d": {"kernel": 2}}), vec![2, 5, 5], vec![2, 2, 2]),
        (json!({"flatten": {}}), vec![16, 5, 5], vec![400]),
        (json!({"relu": {}}), vec![3, 2], vec![3, 2]),
        (json!({"dropout": {"p": 0.5}}), vec![7], vec![7]),
    ];
    for (op, input, expected) in table {
        assert_eq!(output(op.clone(), &input), Ok(expected), "{op}");
    }
}

#[test]
fn parameters_have_pytorchs_names_and_layouts() {
    let of = |value| -> Vec<(String, Vec<i64>)> {
        op(value).parameters().into_iter().map(|p| (p.name, p.shape)).collect()
    };
    let linear = of(json!({"linear": {"in": 4, "out": 3}}));
    assert_eq!(linear, [("weight".into(), vec![3, 4]), ("bias".into(), vec![3])]);
    let conv = of(json!({"conv2d": {"in": 2, "out": 5, "kernel": 3, "bias": false}}));
    assert_eq!(conv, [("weight".into(), vec![5, 2, 3, 3])]);
    assert!(of(json!({"relu": {}})).is_empty());
}

fn model(layers: Value, sample: &[usize], classes: usize) -> Result<Model, ModelErrors> {
    let training = json!({"dataset": {"digits": {"train": 10, "test": 10}}, "batchSize": 4, "epochs": 1,
        "optimizer": {"sgd": {"lr": 0.1}}});
    let (layers, training) =
        (serde_json::from_value(layers).unwrap(), serde_json::from_value(training).unwrap());
    Model::new(layers, training, &Shape::new(sample).unwrap(), &Labels::Class { classes })
}

fn errors(layers: Value) -> String {
    model(layers, &[1, 28, 28], 10).unwrap_err().to_string()
}

#[test]
fn errors_name_the_layer_the_op_and_both_shapes() {
    let conv = json!({"conv2d": {"in": 1, "out": 2, "kernel": 5}});
    let said =
        errors(json!([{"name": "first", "ops": [conv, {"linear": {"in": 100, "out": 10}}]}]));
    assert_eq!(
        said,
        "layer \"first\", op 1 (linear): expects 100 features, its input has shape [2, 24, 24]: add a flatten before it and set in to 1152"
    );
    let said = errors(
        json!([{"name": "last", "ops": [{"flatten": {}}, {"linear": {"in": 784, "out": 9}}]}]),
    );
    assert_eq!(said, "layers: the last layer gives [9]; cross entropy over 10 classes takes [10]");
    let said = errors(json!([{"name": "pool", "ops": [{"maxPool2d": {"kernel": 29}}]}]));
    assert!(said.contains("a window of 29 does not fit on a side of 28"), "{said}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let good = json!([{"flatten": {}}, {"linear": {"in": 784, "out": 784}}]);
    let last = json!([{"linear": {"in": 784, "out": 10}}]);
    let said = errors(json!([
        {"name": "Upper", "ops": good}, {"name": "twice", "ops": [{"relu": {}}]}, {"name": "twice", "ops": last},
    ]));
    assert!(
        said.contains("(\"Upper\"): a name has") && said.contains("(\"twice\"): another layer"),
        "{said}"
    );
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    for bad in [
        json!({"linear": {"in": 0, "out": 1}}),
        json!({"conv2d": {"in": 1, "out": 1, "kernel": 0}}),
        json!({"conv2d": {"in": 1, "out": 1, "kernel": 1, "stride": 0}}),
        json!({"dropout": {"p": 1.0}}),
        json!({"dropout": {"p": -0.1}}),
        json!({"maxPool2d": {"kernel": 0}}),
    ] {
        assert!(output(bad.clone(), &[1, 4, 4]).is_err(), "{bad}");
    }
    for unknown in [json!({"linear": {"in": 1, "out": 1, "dropout": 3}}), json!({"gelu2": {}})] {
        assert!(serde_json::from_value::<Op>(unknown).is_err());
    }
}

#[test]
fn training_fields_are_named_with_their_path() {
    let layers =
        json!([{"name": "a", "ops": [{"flatten": {}}, {"linear": {"in": 784, "out": 10}}]}]);
    let training = json!({"dataset": {"digits": {"train": 0, "test": 10}}, "batchSize": 2, "microBatches": 3,
        "epochs": 0, "optimizer": {"adam": {"lr": -1.0, "beta1": 1.0}}});
    let (layers, training) =
        (serde_json::from_value(layers).unwrap(), serde_json::from_value(training).unwrap());
    let said = Model::new(
        layers,
        training,
        &Shape::new([1, 28, 28]).unwrap(),
        &Labels::Class { classes: 10 },
    )
    .unwrap_err()
    .to_string();
    for field in [
        "training.microBatches: is 3",
        "training.epochs",
        "dataset.digits.train",
        "optimizer.adam.lr: is -1",
        "adam.beta1",
    ] {
        assert!(said.contains(field), "{field} in {said}");
    }
}

proptest! {
    /// Whatever a file asks for, inference ends with a shape within the limits or with an error.
    #[test]
    fn no_numbers_make_inference_panic(
        a in any::<u32>(), b in any::<u32>(), kernel in any::<u32>(), stride in any::<u32>(),
        padding in any::<u32>(), side in 1..5000_usize,
    ) {
        let ops = [
            json!({"linear": {"in": a, "out": b}}),
            json!({"conv2d": {"in": a, "out": b, "kernel": kernel, "stride": stride, "padding": padding}}),
            json!({"maxPool2d": {"kernel": kernel, "stride": stride}}),
        ];
        for value in ops {
            let op = op(value);
            for input in [vec![side], vec![1, side, side]] {
                let input = Shape::new(input).unwrap();
                if let Ok(output) = op.output(&input) {
                    prop_assert!(output.elements() <= mixnn_model::limits::ELEMENTS);
                }
            }
            let again: Op = serde_json::from_value(serde_json::to_value(&op).unwrap()).unwrap();
            prop_assert_eq!(again, op);
        }
    }
}
