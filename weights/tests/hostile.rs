//! Files that lie, lack, or exceed: each refused by the tensor's name, without a panic.

#![allow(clippy::unwrap_used)]

use mixnn_model::{Labels, LayerSpec, Model, Shape, TrainingSpec};
use mixnn_weights::{Problem, Rename, WeightsError, largest_file, skeleton, split};
use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::HashMap;

fn model() -> Model {
    let layers = r#"[
        {"name": "conv", "ops": [{"conv2d": {"in": 1, "out": 2, "kernel": 3}}, {"relu": {}}, {"flatten": {}}]},
        {"name": "last", "ops": [{"linear": {"in": 8, "out": 10}}]}]"#;
    let training = r#"{"dataset": {"digits": {"train": 10, "test": 10}}, "batchSize": 2, "microBatches": 1, "epochs": 1, "optimizer": {"sgd": {"lr": 0.1}}}"#;
    let layers: Vec<LayerSpec> = serde_json::from_str(layers).unwrap();
    let training: TrainingSpec = serde_json::from_str(training).unwrap();
    let sample = Shape::new([1, 4, 4]).unwrap();
    Model::new(layers, training, &sample, &Labels::Class { classes: 10 }).unwrap()
}

type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

fn tensors() -> Tensors {
    let of = |name: &str, shape: &[usize]| {
        let n: usize = shape.iter().product();
        let data = (0..n).flat_map(|i| (i as f32).to_le_bytes()).collect();
        (name.to_owned(), Dtype::F32, shape.to_vec(), data)
    };
    vec![
        of("conv.0.weight", &[2, 1, 3, 3]),
        of("conv.0.bias", &[2]),
        of("last.0.weight", &[10, 8]),
        of("last.0.bias", &[10]),
    ]
}

fn file(tensors: &Tensors) -> Vec<u8> {
    let views =
        tensors.iter().map(|(n, d, s, data)| (n, TensorView::new(*d, s.clone(), data).unwrap()));
    safetensors::serialize(views, None::<HashMap<String, String>>).unwrap()
}

fn refusal(tensors: &Tensors) -> Vec<Problem> {
    split(&model(), &file(tensors), &Rename::default(), 0).unwrap_err().0
}

#[test]
fn each_layer_gets_its_own_tensors_and_no_other() {
    let states = split(&model(), &file(&tensors()), &Rename::default(), 7).unwrap();
    let names: Vec<&str> = states.iter().map(|s| s.layer.as_str()).collect();
    assert_eq!(names, ["conv", "last"]);
    let conv = safetensors::SafeTensors::deserialize(&states[0].bytes).unwrap();
    let mut within = conv.names();
    within.sort_unstable();
    assert_eq!(within, ["0.bias", "0.weight"]);
    assert_eq!(conv.tensor("0.weight").unwrap().data(), tensors()[0].3);
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&states[0].bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["step"], "7");
    assert!(file(&tensors()).len() < largest_file(&model()));
}

#[test]
fn missing_extra_and_wrong_tensors_are_all_named() {
    let mut wrong = tensors();
    wrong[0].2 = vec![2, 9];
    wrong.remove(1);
    wrong.push(("stranger".into(), Dtype::F32, vec![1], vec![0; 4]));
    let problems = refusal(&wrong);
    assert!(problems.contains(&Problem::Missing("conv.0.bias".into())), "{problems:?}");
    assert!(problems.contains(&Problem::Extra("stranger".into())), "{problems:?}");
    let text = WeightsError(problems).to_string();
    assert!(
        text.contains(
            "'conv.0.weight' is F32 of shape [2, 9]; the model takes F32 of shape [2, 1, 3, 3]"
        ),
        "{text}"
    );
}

#[test]
fn another_element_type_and_values_that_are_not_finite_are_named() {
    let mut half = tensors();
    half[3] = ("last.0.bias".into(), Dtype::F16, vec![10], vec![0; 20]);
    assert!(refusal(&half)[0].to_string().contains("'last.0.bias' is F16"));
    let mut nan = tensors();
    nan[1].3[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(refusal(&nan), [Problem::NotFinite { name: "conv.0.bias".into(), at: 1 }]);
}

#[test]
fn other_names_are_taken_under_rules() {
    let mut other = tensors();
    other.iter_mut().for_each(|t| t.0 = t.0.replace(".0.", "."));
    let rules = Rename::parse(&["conv=conv.0".into(), "last=last.0".into()]).unwrap();
    let renamed = split(&model(), &file(&other), &rules, 0).unwrap();
    assert_eq!(renamed, split(&model(), &file(&tensors()), &Rename::default(), 0).unwrap());
    let twice = Rename::parse(&["conv.bias=conv.0.weight".into(), "conv=conv.0".into()]).unwrap();
    assert!(
        split(&model(), &file(&other), &twice, 0).unwrap_err().to_string().contains("two tensors")
    );
}

#[test]
fn headers_that_lie_are_refused() {
    let good = file(&tensors());
    let mut cases: Vec<Vec<u8>> =
        vec![vec![], vec![0; 7], vec![0xFF; 64], good[..good.len() - 1].to_vec()];
    cases.push([&good[..], &[0]].concat());
    cases.push([&u64::MAX.to_le_bytes()[..], b"{}"].concat());
    cases.push([&(good.len() as u64 * 2).to_le_bytes()[..], &good[8..]].concat());
    let header = |json: &str, data: usize| {
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; data]].concat()
    };
    cases.push(header(r#"{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4]}}"#, 4));
    cases.push(header(
        r#"{"a":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,4]}}"#,
        4,
    ));
    cases.push(header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4));
    cases.push(header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4));
    for (i, case) in cases.iter().enumerate() {
        let error = split(&model(), case, &Rename::default(), 0).expect_err(&format!("case {i}"));
        assert!(matches!(error.0[0], Problem::File(_)), "case {i}: {error}");
        assert!(skeleton(case).is_err(), "case {i}");
    }
}

/// What `convert` writes goes into comments, shells and clusters.
#[test]
fn a_skeleton_of_names_that_are_no_names_is_refused() {
    for name in ["x\n---\nkind: ClusterRoleBinding\n#.weight", "a$(id).weight", "a'.weight"] {
        let one = vec![(name.to_owned(), Dtype::F32, vec![1], vec![0; 4])];
        let refused = skeleton(&file(&one)).map(|_| ()).unwrap_err();
        assert!(matches!(refused.0[0], Problem::Name { .. }), "{name:?}");
    }
}

#[test]
fn thousands_of_modules_of_one_label_get_names_of_their_own() {
    let all = (0..4000).map(|i| {
        (
            format!("_{}.weight", "_".repeat(i % 400) + &"-".repeat(i / 400)),
            Dtype::F32,
            vec![1, 1],
            vec![0; 4],
        )
    });
    let found = skeleton(&file(&all.collect())).unwrap();
    let names: std::collections::HashSet<_> = found.layers.iter().map(|l| &l.name).collect();
    assert_eq!((names.len(), found.layers.len()), (4000, 4000));
}

#[test]
fn every_operation_of_a_skeleton_is_one_of_the_models() {
    let of = |name: &str, shape: &[usize]| {
        (name.to_owned(), Dtype::F32, shape.to_vec(), vec![0; 4 * shape.iter().product::<usize>()])
    };
    let all = vec![
        of("bn.weight", &[4]),
        of("bn.bias", &[4]),
        of("bn.running_mean", &[4]),
        of("bn.running_var", &[4]),
        of("conv.weight", &[2, 1, 3, 3]),
        of("emb.weight", &[7, 5]),
        of("fc.weight", &[3, 2]),
        of("ln.weight", &[6]),
        of("ln.bias", &[6]),
        of("wave.weight", &[2, 1, 3]),
    ];
    let found = skeleton(&file(&all)).unwrap();
    let names = found.layers.iter().flat_map(|l| &l.ops).map(|op| {
        let op: mixnn_model::Op = serde_json::from_value(op.clone()).unwrap();
        op.name()
    });
    let expected = ["batchNorm", "conv2d", "embedding", "linear", "layerNorm", "conv1d"];
    assert_eq!(names.collect::<Vec<_>>(), expected);
}

#[test]
fn a_skeleton_says_what_it_knows_and_what_it_does_not() {
    let mut other = tensors();
    other.iter_mut().for_each(|t| t.0 = t.0.replace(".0.", "."));
    other.push(("strange".into(), Dtype::F32, vec![1, 1, 1], vec![0; 4]));
    let found = skeleton(&file(&other)).unwrap();
    let layers = serde_json::to_value(&found.layers).unwrap();
    assert_eq!(layers[0]["ops"][0]["conv2d"], serde_json::json!({"in": 1, "out": 2, "kernel": 3}));
    assert_eq!(layers[1]["ops"][0]["linear"], serde_json::json!({"in": 8, "out": 10}));
    assert_eq!(found.rename, ["conv=conv.0", "last=last.0"]);
    assert!(found.unknown.iter().any(|u| u.contains("stride")), "{found:?}");
    assert!(found.unknown.iter().any(|u| u.contains("strange")), "{found:?}");
}

proptest! {
    #[test]
    fn mutated_files_are_read_or_refused(at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 1..9)) {
        let mut broken = file(&tensors());
        let at = at.index(broken.len());
        let end = (at + bytes.len()).min(broken.len());
        broken[at..end].copy_from_slice(&bytes[..end - at]);
        let _ = split(&model(), &broken, &Rename::default(), 0);
        let _ = skeleton(&broken);
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(split(&model(), &bytes, &Rename::default(), 0).is_err());
    }

    #[test]
    fn random_headers_are_read_or_refused(json in "[{}\\[\\]\":,a-zA-Z0-9_ ]{0,120}", data in 0_usize..32) {
        let file = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; data]].concat();
        let _ = split(&model(), &file, &Rename::default(), 0);
        let _ = skeleton(&file);
    }
}
