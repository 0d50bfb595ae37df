//! Programs of `torch.export`: what is told of them, and files that lie, each refused within bounded memory. What
//! PyTorch itself writes is converted in `e2e/tests/weights.rs`.

#![allow(clippy::unwrap_used)]

use mixnn_weights::ProgramFile;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn tensor(name: &str) -> Value {
    json!({"as_tensor": {"name": name}})
}

fn meta(sizes: &[i64]) -> Value {
    let mut strides = vec![1; sizes.len()];
    for i in (1..sizes.len()).rev() {
        strides[i - 1] = strides[i] * sizes[i];
    }
    let all = |ns: &[i64]| ns.iter().map(|n| json!({"as_int": n})).collect::<Vec<_>>();
    json!({"dtype": 7, "sizes": all(sizes), "strides": all(&strides), "storage_offset": {"as_int": 0}})
}

fn node(target: &str, inputs: &[(&str, Value)], output: &str) -> Value {
    let inputs: Vec<_> =
        inputs.iter().map(|(name, arg)| json!({"name": name, "arg": arg})).collect();
    let metadata = json!({"nn_module_stack": "L['self'],,Net;L['self'].fc,fc,Linear"});
    json!({"target": format!("torch.ops.aten.{target}"), "inputs": inputs, "outputs": [tensor(output)], "metadata": metadata})
}

/// `relu(linear(x)) + x`, as it is exported.
fn program() -> Value {
    let x = ("input", tensor("x"));
    let linear =
        node("linear.default", &[x, ("weight", tensor("p_w")), ("bias", tensor("p_b"))], "linear");
    let relu = node("relu.default", &[("self", tensor("linear"))], "relu");
    let add = node("add.Tensor", &[("self", tensor("relu")), ("other", tensor("x"))], "add");
    let parameter =
        |name: &str, of: &str| json!({"parameter": {"arg": {"name": name}, "parameter_name": of}});
    json!({
        "schema_version": {"major": 8, "minor": 20},
        "graph_module": {
            "graph": {
                "nodes": [linear, relu, add],
                "tensor_values": {
                    "x": meta(&[2, 3]), "p_w": meta(&[3, 3]), "p_b": meta(&[3]),
                    "linear": meta(&[2, 3]), "relu": meta(&[2, 3]), "add": meta(&[2, 3]),
                },
            },
            "signature": {
                "input_specs": [parameter("p_w", "fc.weight"), parameter("p_b", "fc.bias"), {"user_input": {"arg": tensor("x")}}],
                "output_specs": [{"user_output": {"arg": tensor("add")}}],
            },
        },
    })
}

fn payload(path: &str, sizes: &[i64]) -> Value {
    json!({"path_name": path, "is_param": true, "use_pickle": false, "tensor_meta": meta(sizes)})
}

fn config() -> Value {
    json!({"config": {"fc.weight": payload("weight_0", &[3, 3]), "fc.bias": payload("weight_1", &[3])}})
}

const CONFIG: &str = "net/data/weights/model_weights_config.json";

fn archive(program: &[u8], config: &[u8], more: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let usual: [(&str, &[u8]); 4] = [
        ("net/models/model.json", program),
        (CONFIG, config),
        ("net/data/weights/weight_0", &[1; 36]),
        ("net/data/weights/weight_1", &[2; 12]),
    ];
    for (name, bytes) in usual.iter().chain(more) {
        zip.start_file(*name, stored).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn file(program: &Value, config: &Value) -> Vec<u8> {
    archive(program.to_string().as_bytes(), config.to_string().as_bytes(), &[])
}

fn read(file: Vec<u8>) -> Result<ProgramFile<Cursor<Vec<u8>>>, String> {
    ProgramFile::read(Cursor::new(file)).map_err(|e| e.to_string())
}

/// Why the weights of a file are not given.
fn refusal(config: &Value) -> String {
    read(file(&program(), config)).unwrap().weights().unwrap_err().to_string()
}

#[test]
fn a_sum_is_a_residual_and_takes_its_weights_along() {
    let mut read = read(file(&program(), &config())).unwrap();
    let told = read.program();
    assert_eq!(told.unknown, Vec::<String>::new());
    assert_eq!((told.input.as_slice(), told.output.as_slice()), (&[3_usize][..], &[3_usize][..]));
    let body = json!([{"linear": {"in": 3, "out": 3}}, {"relu": {}}]);
    assert_eq!(told.layers[0].ops, [json!({"residual": {"body": body}})]);
    let name = told.layers[0].name.clone();
    let weights = read.weights().unwrap();
    let weights = safetensors::SafeTensors::deserialize(&weights).unwrap();
    let weight = weights.tensor(&format!("{name}.0.body.0.weight")).unwrap();
    assert_eq!((weight.shape(), weight.data()), (&[3, 3][..], &[1; 36][..]));
    assert_eq!(weights.len(), 2);
}

#[test]
fn what_has_no_counterpart_is_told_by_node_and_module() {
    let mut strange = program();
    strange["graph_module"]["graph"]["nodes"][1]["target"] = json!("torch.ops.aten.erf.default");
    let mut read = read(file(&strange, &config())).unwrap();
    let unknown = &read.program().unknown;
    assert_eq!(
        unknown,
        &["node relu of module fc: aten.erf.default is no operation that can be told here"]
    );
    assert!(read.weights().unwrap_err().to_string().contains("not all of the program"));
    let mut lying = program();
    lying["graph_module"]["graph"]["tensor_values"]["add"] = meta(&[2, 4]);
    let read = self::read(file(&lying, &config())).unwrap();
    assert!(
        read.program().unknown[0].contains("gives [4] there, and [3] here"),
        "{:?}",
        read.program().unknown
    );
}

#[test]
fn lying_weights_are_refused_by_name() {
    for (path, sizes, says) in [
        ("../../models/model.json", &[3, 3][..], "outside of the weights' folder"),
        ("weight_0", &[1 << 40, 1 << 40], "larger than the file"),
        ("weight_0", &[4, 3], "shorter than it is said to be"),
        ("weight_9", &[3, 3], "weight_9"),
        ("weight_0", &[-1, 3], "no list of numbers"),
    ] {
        let mut config = config();
        config["config"]["fc.weight"] = payload(path, sizes);
        let said = refusal(&config);
        assert!(said.contains(says), "{said}");
    }
    let mut pickled = config();
    pickled["config"]["fc.weight"]["use_pickle"] = json!(true);
    assert!(refusal(&pickled).contains("tensor 'fc.weight' is pickled"));
    let mut half = config();
    half["config"]["fc.weight"]["tensor_meta"]["dtype"] = json!(6);
    assert!(refusal(&half).contains("export the model as float32"));
    assert!(refusal(&json!({"config": {}})).contains("holds no tensor 'fc.weight'"));
}

#[test]
fn archives_that_are_no_programs_or_too_much_are_refused() {
    let said = |file: Vec<u8>| read(file).err().unwrap();
    let (graph, weights) = (program().to_string().into_bytes(), config().to_string().into_bytes());
    assert!(said(b"PK\x03\x04 and no more".to_vec()).contains("no program"));
    assert!(
        said(archive(&graph, &weights, &[("net/models/two.json", b"{}")]))
            .contains("more than one model")
    );
    assert!(said(archive(b"{}", &weights, &[])).contains("missing field"));
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    assert!(said(archive(&deep, &weights, &[])).contains("models/model.json"));
    assert!(said(archive(&vec![b' '; (16 << 20) + 1], &weights, &[])).contains("the most is"));
    let mut old = program();
    old["schema_version"]["major"] = json!(5);
    assert!(said(file(&old, &config())).contains("major version 5"));
    // An entry that says it is deflated, and one that says it is encrypted: nothing is ever inflated.
    for (at, bits) in [(8_usize, [8_u8, 0]), (6, [1, 0])] {
        let mut changed = archive(&graph, &weights, &[]);
        let central = changed.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        changed[at..at + 2].copy_from_slice(&bits);
        changed[central + at + 2..central + at + 4].copy_from_slice(&bits);
        assert!(said(changed).contains("models/model.json"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// A changed byte, or a few: never a panic, and never more than the file could hold.
    #[test]
    fn changed_files_are_read_or_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut file = file(&program(), &config());
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let length = file.len();
        if let Ok(mut read) = read(file) && let Ok(weights) = read.weights() {
            prop_assert!(weights.len() <= 4096 + 4 * length);
        }
    }
}
