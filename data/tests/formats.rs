//! CSV, Parquet, pictures and tokens: what is read, and what is said of each fault.

#![allow(clippy::unwrap_used)]

use image::{GrayImage, Rgb, RgbImage};
use mixnn_data::{Batch, Batches, Data, DataError, Dataset, Pass, Place, Values, npy};
use mixnn_model::{DatasetSpec, Labels};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

fn open(spec: &Value, folder: &Path) -> Result<Data, DataError> {
    let spec: DatasetSpec = serde_json::from_value(spec.clone()).unwrap();
    assert_eq!(spec.problems(), []);
    Data::open(&spec, Some(&Place::from(folder)), &mut |_| {})
}

fn all(set: &Arc<Dataset>) -> Result<Vec<Batch>, DataError> {
    Batches::new(Arc::clone(set), Pass { epoch: None, batch: 4, least: 1, skip: 0 }).collect()
}

/// What is said when data are opened and read.
fn fault(spec: &Value, folder: &Path) -> String {
    match open(spec, folder).and_then(|data| all(&data.train)) {
        Ok(batches) => panic!("{batches:?}"),
        Err(error) => error.to_string(),
    }
}

fn write(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

fn flowers() -> Value {
    json!({"csv": {
        "files": {"train": "train.csv", "holdOut": 0.2},
        "columns": {
            "features": ["length", "width"], "mean": [1.0, 0.0], "std": [2.0],
            "target": {"class": {"column": "kind", "classes": 2, "names": ["rose", "tulip"]}}
        }
    }})
}

const ROWS: &str =
    "kind,width,length\nrose,1,3\ntulip,-2.5,5\nrose,0,1\n\"tulip\",1e1,1\nrose,2,2\n";

#[test]
fn csv_columns_are_found_by_name_scaled_and_held_out() {
    let folder = write(&[("train.csv", ROWS.as_bytes())]);
    let data = open(&flowers(), folder.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (4, 1));
    assert_eq!((data.train.shape(), data.labels()), (&[2][..], Labels::Class { classes: 2 }));
    let mut rows = Vec::new();
    for batch in all(&data.train).unwrap().into_iter().chain(all(&data.test).unwrap()) {
        let (Values::F32(values), Values::I64(ids)) = (&batch.samples, &batch.targets) else {
            panic!("{batch:?}")
        };
        rows.extend(values.chunks(2).zip(ids).map(|(v, &id)| (v[0], v[1], id)));
    }
    rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let expected = [(0.0, 0.0, 0), (0.0, 5.0, 1), (0.5, 1.0, 0), (1.0, 0.5, 0), (2.0, -1.25, 1)];
    assert_eq!(rows, expected);
}

#[test]
fn each_fault_of_a_csv_file_names_line_and_column() {
    let of = |text: &str| fault(&flowers(), write(&[("train.csv", text.as_bytes())]).path());
    let number = of(&ROWS.replace("-2.5", "wide"));
    assert!(
        number.contains("train.csv, line 3, column 'width': is \"wide\"; it must be a number"),
        "{number}"
    );
    let class = of(&ROWS.replace("\"tulip\"", "lily"));
    assert!(
        class.contains("line 5, column 'kind': is \"lily\"; it must be one of rose, tulip"),
        "{class}"
    );
    let short = of(&ROWS.replace(",1e1,1", ",1e1"));
    assert!(short.contains("line 5: has 2 fields; the header has 3"), "{short}");
    let missing = of(&ROWS.replace("length", "size"));
    assert!(missing.contains("has no column 'length'; it has kind, width, size"), "{missing}");
    assert!(of(&ROWS.replace("1e1", "inf")).contains("must be a number"));
    assert!(of("kind,width,length\n").contains("no rows"));
    assert!(of("").contains("is empty"));
    let nothing = fault(&flowers(), tempfile::tempdir().unwrap().path());
    assert!(nothing.contains("train.csv"), "{nothing}");
}

#[test]
fn rows_of_many_blocks_and_files_come_in_order() {
    let mut files = Vec::new();
    for part in 0..3 {
        let rows: String =
            (0..40_000).map(|i| format!("{}.0,{}\n", part * 40_000 + i, i % 2)).collect();
        files.push((format!("train/{part}.csv"), format!("x,y\n{rows}")));
    }
    files.push(("train/.hidden.csv".into(), "junk".into()));
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let folder = write(&files);
    let spec = json!({"csv": {"files": {"train": "train", "test": "train"}, "columns": {
        "features": ["x"], "target": {"bits": {"columns": ["y"]}}
    }}});
    let data = open(&spec, folder.path()).unwrap();
    assert!(data.train.blocks() > 3);
    let mut next = 0.0;
    for batch in all(&data.train).unwrap() {
        let Values::F32(values) = batch.samples else { panic!("{:?}", batch.samples) };
        for value in values {
            assert_eq!(value.to_bits(), f32::to_bits(next));
            next += 1.0;
        }
    }
    assert_eq!(next as u32, 120_000);
}

fn parquet(folder: &Path, rows: i32, groups: i32, null_at: Option<i32>) {
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type};
    use parquet::file::writer::SerializedFileWriter;
    let schema =
        "message m { REQUIRED DOUBLE x; OPTIONAL INT32 y; REQUIRED BYTE_ARRAY kind (UTF8); }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let file = std::fs::File::create(folder.join("train.parquet")).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    for group in 0..groups {
        let all: Vec<i32> = (group * rows..(group + 1) * rows).collect();
        let mut out = writer.next_row_group().unwrap();
        let mut column = out.next_column().unwrap().unwrap();
        let values: Vec<f64> = all.iter().map(|&i| f64::from(i) / 2.0).collect();
        column.typed::<DoubleType>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
        let mut column = out.next_column().unwrap().unwrap();
        let levels: Vec<i16> = all.iter().map(|&i| i16::from(Some(i) != null_at)).collect();
        let values: Vec<i32> = all.iter().copied().filter(|&i| Some(i) != null_at).collect();
        column.typed::<Int32Type>().write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
        let mut column = out.next_column().unwrap().unwrap();
        let values: Vec<ByteArray> =
            all.iter().map(|&i| if i % 2 == 0 { "even" } else { "odd" }.into()).collect();
        column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
        out.close().unwrap();
    }
    writer.close().unwrap();
}

fn numbers() -> Value {
    json!({"parquet": {"files": {"train": "train.parquet", "test": "train.parquet"}, "columns": {
        "features": ["x", "y"],
        "target": {"class": {"column": "kind", "classes": 2, "names": ["even", "odd"]}}
    }}})
}

#[test]
fn parquet_is_read_by_row_group_and_faults_name_the_row() {
    let folder = tempfile::tempdir().unwrap();
    parquet(folder.path(), 10, 3, None);
    let data = open(&numbers(), folder.path()).unwrap();
    assert_eq!((data.train.len(), data.train.blocks()), (30, 3));
    let batches = all(&data.train).unwrap();
    assert_eq!(batches[3].samples, Values::F32(vec![6.0, 12.0, 6.5, 13.0, 7.0, 14.0, 7.5, 15.0]));
    assert_eq!(batches[3].targets, Values::I64(vec![0, 1, 0, 1]));
    parquet(folder.path(), 10, 3, Some(17));
    let null = fault(&numbers(), folder.path());
    assert!(
        null.contains("train.parquet, row 18, column 'y': is empty; it must be a number"),
        "{null}"
    );
    let bytes = std::fs::read(folder.path().join("train.parquet")).unwrap();
    std::fs::write(folder.path().join("train.parquet"), &bytes[..bytes.len() - 9]).unwrap();
    assert!(fault(&numbers(), folder.path()).contains("is no whole Parquet file"));
    std::fs::write(folder.path().join("train.parquet"), b"PAR1").unwrap();
    assert!(fault(&numbers(), folder.path()).contains("is no whole Parquet file"));
}

fn pictures() -> Value {
    json!({"images": {
        "files": {"train": "train", "test": "train"}, "size": [2, 3], "classes": 2,
        "mean": [0.0], "std": [1.0]
    }})
}

fn png(picture: &RgbImage) -> Vec<u8> {
    let mut out = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

#[test]
fn pictures_come_channel_by_channel_and_classes_by_folder() {
    let picture = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, y as u8, 255]));
    let mut grey = std::io::Cursor::new(Vec::new());
    GrayImage::new(3, 2).write_to(&mut grey, image::ImageFormat::Jpeg).unwrap();
    let grey = grey.into_inner();
    let folder = write(&[
        ("train/cat/b.png", &png(&picture)),
        ("train/cat/.DS_Store", b"junk"),
        ("train/ant/a.JPG", &grey),
    ]);
    let data = open(&pictures(), folder.path()).unwrap();
    assert_eq!(data.class_names, ["ant", "cat"]);
    assert_eq!(data.train.shape(), [3, 2, 3]);
    let batch = all(&data.train).unwrap().remove(0);
    assert_eq!(batch.targets, Values::I64(vec![0, 1]));
    let Values::F32(values) = batch.samples else { panic!("{:?}", batch.samples) };
    let levels: Vec<u8> = values[18..].iter().map(|v| (v * 255.0).round() as u8).collect();
    assert_eq!(levels, [0, 1, 2, 0, 1, 2, 0, 0, 0, 1, 1, 1, 255, 255, 255, 255, 255, 255]);
}

#[test]
fn each_fault_of_a_picture_names_its_file() {
    let good = png(&RgbImage::new(3, 2));
    let of = |name: &str, bytes: &[u8]| {
        let folder = write(&[("train/a/good.png", &good), (name, bytes)]);
        fault(&pictures(), folder.path())
    };
    let large = of("train/b/large.png", &png(&RgbImage::new(4, 4)));
    assert!(
        large.contains("train/b/large.png: is 4 high and 4 wide; the model says 2 and 3"),
        "{large}"
    );
    let cut = of("train/b/cut.png", &good[..good.len() / 2]);
    assert!(cut.contains("train/b/cut.png: is no whole PNG or JPEG"), "{cut}");
    let loose = of("train/loose.png", &good);
    assert!(loose.contains("loose.png lies in no folder of a class"), "{loose}");
    let one = of("train/a/other.png", &good);
    assert!(one.contains("has 1 folders with pictures (a); the model says 2 classes"), "{one}");
    let mut resize = pictures();
    resize["images"]["fit"] = json!("Resize");
    let folder = write(&[("train/a/x.png", &good), ("train/b/y.png", &png(&RgbImage::new(9, 9)))]);
    assert_eq!(all(&open(&resize, folder.path()).unwrap().train).unwrap()[0].len, 2);
}

fn tokens(format: &str, file: &str, vocabulary: Option<&str>, size: u32) -> Value {
    let mut spec = json!({"tokens": {
        "files": {"train": file, "test": file}, "format": format, "vocabularySize": size, "context": 3
    }});
    if let Some(words) = vocabulary {
        spec["tokens"]["vocabulary"] = json!(words);
    }
    spec
}

fn u16s(ids: &[u16]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

#[test]
fn targets_of_tokens_are_one_further_in_every_format() {
    let ids = [5, 6, 7, 8, 9, 4, 3, 2];
    let wide: Vec<u8> = ids.iter().flat_map(|&id| u32::from(id as u16).to_le_bytes()).collect();
    let array = [npy::header("<u2", 8), u16s(&ids)].concat();
    let words = "unk a b c d e f g h i";
    let text = "e f\tg\nh i  d\u{a0}c\nb";
    let folder = write(&[
        ("bytes", &[5, 6, 7, 8, 9, 4, 3, 2]),
        ("ids.u16", &u16s(&ids)),
        ("ids.u32", &wide),
        ("ids.npy", &array),
        ("words", words.replace(' ', "\n").as_bytes()),
        ("text.txt", text.as_bytes()),
    ]);
    for spec in [
        tokens("Bytes", "bytes", None, 256),
        tokens("U16", "ids.u16", None, 10),
        tokens("U32", "ids.u32", None, 10),
        tokens("Npy", "ids.npy", None, 10),
        tokens("Words", "text.txt", Some("words"), 10),
    ] {
        let data = open(&spec, folder.path()).unwrap();
        let batch = all(&data.train).unwrap().remove(0);
        assert_eq!(batch.samples, Values::I64(vec![5, 6, 7, 8, 9, 4]), "{spec}");
        assert_eq!(batch.targets, Values::I64(vec![6, 7, 8, 9, 4, 3]), "{spec}");
    }
    let large = fault(&tokens("U16", "ids.u16", None, 9), folder.path());
    assert!(large.contains("ids.u16, token 4: is 9; vocabularySize says 0 to 8"), "{large}");
    let odd = write(&[("a.u16", &[1, 2, 3]), ("b.u16", &[1, 0, 2, 0])]);
    assert!(fault(&tokens("U16", "a.u16", None, 9), odd.path()).contains("no multiple of 2"));
    assert!(fault(&tokens("U16", "b.u16", None, 9), odd.path()).contains("has 2 tokens"));
    let twice = write(&[("words", b"unk\na\na\n"), ("t.txt", b"a a a a")]);
    let twice = fault(&tokens("Words", "t.txt", Some("words"), 3), twice.path());
    assert!(twice.contains("words, line 3: 'a' stands in line 2 already"), "{twice}");
    let broken = write(&[("words", b"unk\na\nb\n"), ("t.txt", b"a a \xff a")]);
    let broken = fault(&tokens("Words", "t.txt", Some("words"), 3), broken.path());
    assert!(broken.contains("t.txt, byte 4: is not UTF-8"), "{broken}");
}

proptest! {
    #[test]
    fn no_bytes_make_the_npy_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), count: u32) {
        let _ = npy::parse(&bytes);
        let _ = npy::parse(&[b"\x93NUMPY\x01\x00\x40\x00{'descr'", &bytes[..]].concat());
        let header = npy::header("<i8", u64::from(count));
        let parsed = npy::parse(&header).unwrap();
        prop_assert_eq!((parsed.count, parsed.width, parsed.signed), (u64::from(count), 8, true));
        prop_assert_eq!(parsed.start, header.len() as u64);
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let folder = write(&[("train.csv", &bytes), ("train.parquet", &bytes), ("t.txt", &bytes),
            ("train/a/x.png", &bytes), ("words", b"unk\na\nb")]);
        for spec in [flowers(), numbers(), tokens("Words", "t.txt", Some("words"), 3), pictures()] {
            if let Ok(data) = open(&spec, folder.path()) {
                let _ = all(&data.train);
            }
        }
    }
}
