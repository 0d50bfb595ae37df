//! Every format of data, distributed over real processes against one process: the same batches, the same
//! bits, also when the order is taken up in the middle of an epoch.

#![allow(clippy::unwrap_used)]

mod common;

use common::{ADAM, Running, Spec, mixnn, newest_checkpoint, run, runner_pid, signal, stderr};
use parquet::data_type::{DoubleType, Int32Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use rustix::process::Signal;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

const TWO_NUMBERS: &str = r#"[{"name": "hidden", "ops": [{"linear": {"in": 2, "out": 8}}, {"tanh": {}}]},
    {"name": "out", "ops": [{"linear": {"in": 8, "out": 3}}]}]"#;
const CSV: &str = r#"{"csv": {"files": {"train": "train.csv", "holdOut": 0.1}, "columns": {
    "features": ["x", "y"], "target": {"class": {"column": "kind", "classes": 3}}}}}"#;
const PARQUET: &str = r#"{"parquet": {"files": {"train": "train.parquet", "holdOut": 0.1}, "columns": {
    "features": ["x", "y"], "target": {"class": {"column": "kind", "classes": 3}}}}}"#;
const PICTURES: &str = r#"{"images": {"files": {"train": "pictures", "holdOut": 0.2}, "size": [8, 8],
    "classes": 2, "augment": {"horizontalFlip": true, "cropPadding": 1}}}"#;
const CONVOLUTION: &str = r#"[{"name": "conv", "ops": [{"conv2d": {"in": 3, "out": 4, "kernel": 3}}, {"relu": {}}]},
    {"name": "out", "ops": [{"flatten": {}}, {"linear": {"in": 144, "out": 2}}]}]"#;
const TOKENS: &str =
    r#"{"tokens": {"files": {"train": "text", "holdOut": 0.1}, "format": "Bytes", "context": 16}}"#;
const LANGUAGE: &str = r#"[{"name": "embed", "ops": [{"embedding": {"count": 256, "size": 8}}, {"positionalEmbedding": {"length": 16, "size": 8}}]},
    {"name": "decoder", "ops": [{"transformerEncoder": {"size": 8, "heads": 2, "feedForward": 16, "causal": true}}]},
    {"name": "out", "ops": [{"linear": {"in": 8, "out": 256}}]}]"#;

fn spec(layers: &'static str, dataset: &'static str) -> Spec {
    Spec {
        layers,
        dataset,
        optimizer: ADAM,
        hops: 1,
        relays: 1,
        suite: "X25519",
        ..Spec::default()
    }
}

/// Points of three kinds.
fn points(count: u32) -> impl Iterator<Item = (f64, f64, i32)> {
    (0..count).map(|i| (f64::from(i % 17) / 17.0, f64::from(i % 5) / 5.0, (i % 3) as i32))
}

fn write_csv(folder: &Path, count: u32) {
    let mut text = "x,y,kind\n".to_owned();
    points(count).for_each(|(x, y, kind)| writeln!(text, "{x},{y},{kind}").unwrap());
    std::fs::write(folder.join("train.csv"), text).unwrap();
}

fn write_parquet(folder: &Path, count: u32) {
    let schema = "message points { required double x; required double y; required int32 kind; }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let file = std::fs::File::create(folder.join("train.parquet")).unwrap();
    let mut writer =
        SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::default())).unwrap();
    let all: Vec<_> = points(count).collect();
    for rows in all.chunks(200) {
        let mut group = writer.next_row_group().unwrap();
        let x: Vec<f64> = rows.iter().map(|r| r.0).collect();
        let y: Vec<f64> = rows.iter().map(|r| r.1).collect();
        for values in [x, y] {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<DoubleType>().write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        let kinds: Vec<i32> = rows.iter().map(|r| r.2).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int32Type>().write_batch(&kinds, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn write_pictures(folder: &Path) {
    for (class, shade) in [("dark", 20_u8), ("light", 200)] {
        let place = folder.join("pictures").join(class);
        std::fs::create_dir_all(&place).unwrap();
        for i in 0..160_u32 {
            let pixel = |x: u32, y: u32| {
                image::Rgb([shade + (x * 3 + i % 7) as u8, shade + y as u8, shade + (i % 50) as u8])
            };
            let name = if i % 2 == 0 { format!("{i}.png") } else { format!("{i}.jpg") };
            image::RgbImage::from_fn(8, 8, pixel).save(place.join(name)).unwrap();
        }
    }
}

fn assert_same_bits(spec: &Spec, write: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let file = spec.write(folder.path());
    let args = ["run", "--compare", "-o", "json", "--data", ".", "-f", file.to_str().unwrap()];
    let output = run(folder.path(), &args);
    let result: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    let (distributed, reference) = (&result["distributed"], &result["reference"]);
    assert!(distributed["steps"].as_u64().unwrap() >= 14, "{result:#}");
    assert_eq!(distributed["tested"], reference["tested"], "{result:#}");
    assert_eq!(result["sameBits"], true, "{result:#}");
}

#[test]
fn csv() {
    assert_same_bits(&spec(TWO_NUMBERS, CSV), |folder| write_csv(folder, 700));
}

#[test]
fn parquet_row_groups() {
    assert_same_bits(&spec(TWO_NUMBERS, PARQUET), |folder| write_parquet(folder, 700));
}

#[test]
fn augmented_pictures() {
    assert_same_bits(&Spec { batch: 16, ..spec(CONVOLUTION, PICTURES) }, write_pictures);
}

#[test]
fn tokens() {
    let mut text = String::new();
    (0..1200).for_each(|i| write!(text, "{} is {}. ", i % 37, i * i % 101).unwrap());
    assert_same_bits(&spec(LANGUAGE, TOKENS), |folder| {
        std::fs::write(folder.join("text"), text).unwrap();
    });
}

#[test]
fn an_order_that_is_taken_up_in_the_middle_of_an_epoch() {
    let folder = tempfile::tempdir().unwrap();
    write_csv(folder.path(), 40_000);
    let file = spec(TWO_NUMBERS, CSV).write(folder.path());
    let every = ["--data", ".", "--checkpoint-every", "20", "-f", file.to_str().unwrap()];
    let mut command = mixnn(folder.path());
    command.arg("run").args(every);
    let running = Running::spawn(command, folder);
    let second = || newest_checkpoint(running.folder.path()) >= Some(2);
    running.wait_for("checkpoint", second);
    signal(runner_pid(&running), Signal::INT);
    let Running { mut runner, folder } = running;
    runner.wait().unwrap();
    let args = [&["run", "--resume", "run/secret-name-1", "--compare", "-o", "json"], &every[..]];
    let output = run(folder.path(), &args.concat());
    let result: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", stderr(&output)));
    assert_eq!(result["distributed"]["steps"], 1800, "{result:#}");
    assert_eq!(result["sameBits"], true, "{result:#}");
}
