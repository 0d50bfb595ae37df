//! Shapes, counts and refusals of the operations beyond LeNet's.

#![allow(clippy::unwrap_used)]

use mixnn_model::{Op, Operation, Shape};
use serde_json::{Value, json};

fn op(value: &Value) -> Op {
    serde_json::from_value(value.clone()).unwrap()
}

fn refusal(value: Value, input: &Shape) -> String {
    op(&value).output(input).unwrap_err().to_string()
}

/// By PyTorch 2.13: shapes, `sum(p.numel())`; FLOPs by hand.
#[test]
fn shapes_parameters_and_flops() {
    let conv = json!({"conv2d": {"in": 3, "out": 8, "kernel": 3, "padding": 1}});
    let encoder = json!({"size": 16, "heads": 4, "feedForward": 32});
    let table = [
        (json!({"linear": {"in": 5, "out": 3}}), vec![4, 5], vec![4, 3], 18, 4 * 3 * 11),
        (
            json!({"conv1d": {"in": 4, "out": 6, "kernel": 3, "stride": 2}}),
            vec![4, 11],
            vec![6, 5],
            78,
            30 * 25,
        ),
        (conv.clone(), vec![3, 10, 10], vec![8, 10, 10], 224, 800 * 55),
        (
            json!({"convTranspose2d": {"in": 4, "out": 2, "kernel": 2, "stride": 2, "bias": false}}),
            vec![4, 5, 5],
            vec![2, 10, 10],
            32,
            2 * 100 * 8,
        ),
        (json!({"batchNorm": {"channels": 8}}), vec![8, 4, 4], vec![8, 4, 4], 16, 128),
        (
            json!({"layerNorm": {"shape": [4, 4], "affine": false}}),
            vec![8, 4, 4],
            vec![8, 4, 4],
            0,
            128,
        ),
        (
            json!({"adaptiveAvgPool2d": {"height": 1, "width": 1}}),
            vec![8, 4, 4],
            vec![8, 1, 1],
            0,
            128,
        ),
        (
            json!({"maxPool2d": {"kernel": 3, "stride": 2, "padding": 1}}),
            vec![1, 8, 8],
            vec![1, 4, 4],
            0,
            144,
        ),
        (json!({"permute": {"order": [1, 0]}}), vec![8, 4], vec![4, 8], 0, 0),
        (
            json!({"residual": {"body": [conv], "shortcut": [{"conv2d": {"in": 3, "out": 8, "kernel": 1, "bias": false}}]}}),
            vec![3, 10, 10],
            vec![8, 10, 10],
            248,
            800 + 800 * 55 + 800 * 6,
        ),
        (
            json!({"attention": {"size": 16, "heads": 4}}),
            vec![5, 16],
            vec![5, 16],
            1088,
            4 * 256 * 10 + 4 * 16 * 25 + 100,
        ),
        (
            json!({"transformerEncoder": encoder}),
            vec![5, 16],
            vec![5, 16],
            2224,
            11940 + 5 * 4 * 16 * 32,
        ),
    ];
    for (value, input, output, parameters, flops) in table {
        let (op, input) = (op(&value), Shape::new(input).unwrap());
        assert_eq!(op.output(&input).unwrap().sizes(), output, "{value}");
        let count: i64 = op.parameters().iter().map(mixnn_model::Parameter::elements).sum();
        assert_eq!((count, op.flops(&input)), (parameters, flops), "{value}");
    }
}

#[test]
fn tokens_go_into_an_embedding_and_nothing_else() {
    let text = Shape::tokens(12, 50).unwrap();
    let embedding = json!({"embedding": {"count": 50, "size": 8}});
    assert_eq!(op(&embedding).output(&text).unwrap(), Shape::new([12, 8]).unwrap());
    assert!(
        refusal(json!({"embedding": {"count": 49, "size": 8}}), &text).contains("set count to 50")
    );
    assert!(
        refusal(json!({"linear": {"in": 12, "out": 8}}), &text).contains("begin with an embedding")
    );
    assert!(refusal(embedding, &Shape::new([12]).unwrap()).contains("expects tokens"));
}

#[test]
fn what_does_not_fit_says_what_would() {
    let sequence = Shape::new([6, 16]).unwrap();
    let picture = Shape::new([8, 4, 4]).unwrap();
    for (value, input, words) in [
        (json!({"attention": {"size": 16, "heads": 3}}), &sequence, "must divide size (16)"),
        (json!({"attention": {"size": 8, "heads": 2}}), &sequence, "set size to 16"),
        (json!({"attention": {"size": 8, "heads": 2}}), &picture, "expects [positions, features]"),
        (
            json!({"transformerDecoder": {"size": 16, "heads": 2, "feedForward": 4, "memory": 6}}),
            &sequence,
            "nothing is left",
        ),
        (
            json!({"transformerEncoder": {"size": 16, "heads": 2, "feedForward": 4, "first": 7}}),
            &sequence,
            "first is 7",
        ),
        (json!({"positionalEmbedding": {"length": 5, "size": 16}}), &sequence, "set length to 6"),
        (json!({"groupNorm": {"groups": 3, "channels": 8}}), &picture, "must divide channels (8)"),
        (json!({"batchNorm": {"channels": 4}}), &picture, "set channels to 8"),
        (json!({"layerNorm": {"shape": [5]}}), &picture, "set shape to [4]"),
        (
            json!({"conv2d": {"in": 8, "out": 9, "kernel": 1, "groups": 2}}),
            &picture,
            "must divide in (8) and out (9)",
        ),
        (
            json!({"convTranspose2d": {"in": 8, "out": 8, "kernel": 1, "outputPadding": 1}}),
            &picture,
            "below the stride",
        ),
        (
            json!({"reshape": {"shape": [5, 5]}}),
            &picture,
            "has 25 elements, its input [8, 4, 4] has 128",
        ),
        (json!({"permute": {"order": [0, 0, 1]}}), &picture, "each dimension"),
        (json!({"softmax": {"dim": 3}}), &picture, "dimensions from 0 to 2"),
        (
            json!({"residual": {"body": [{"conv2d": {"in": 8, "out": 9, "kernel": 1}}]}}),
            &picture,
            "add a shortcut",
        ),
        (
            json!({"residual": {"body": [{"relu": {}}, {"linear": {"in": 3, "out": 3}}]}}),
            &picture,
            "body op 1 (linear)",
        ),
    ] {
        let said = refusal(value.clone(), input);
        assert!(said.contains(words), "{value}: {said}");
    }
    let mut nested = json!({"relu": {}});
    for _ in 0..6 {
        nested = json!({"residual": {"body": [nested]}});
    }
    assert!(refusal(nested, &picture).contains("nested deeper than 4"));
}
