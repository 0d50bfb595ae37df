//! The same data from a folder and from a real S3 server (moto's).

#![allow(clippy::unwrap_used)]

mod common;

use common::s3::{Server, put};
use mixnn_data::{Batch, Batches, Data, Epoch, Pass, Place};
use std::process::Command;
use std::sync::Arc;

fn batches(spec: &serde_json::Value, place: &Place) -> Vec<Batch> {
    let spec = serde_json::from_value(spec.clone()).unwrap();
    let data = Data::open(&spec, Some(place), &mut |_| {}).unwrap();
    let epoch = Epoch { number: 2, shuffle_key: [7; 32], augment_key: [8; 32] };
    let pass = Pass { epoch: Some(epoch), batch: 8, least: 1, skip: 1 };
    Batches::new(Arc::clone(&data.train), pass).map(Result::unwrap).collect()
}

/// Settings come from the environment, which only a process of its own can set: the test runs itself.
#[test]
fn a_folder_and_a_bucket_give_the_same_batches() {
    if std::env::var_os("AWS_ENDPOINT").is_none() {
        let server = Server::start();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_folder_and_a_bucket_give_the_same_batches", "--nocapture"])
            .envs(common::s3::settings(server.port))
            .env("S3_PORT", server.port.to_string())
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    // The outer test keeps the server and its process.
    assert!(mixnn_place::store_settings().len() >= 4);
    let folder = tempfile::tempdir().unwrap();
    let port: u16 = std::env::var("S3_PORT").unwrap().parse().unwrap();
    put(port, "/bucket", b"");
    let keep = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        put(port, &format!("/bucket/some/prefix/{name}"), content);
    };
    let row = |i: u32| format!("{i},{}\n", i % 3);
    let rows = (0..100).map(row).collect::<Vec<_>>().concat();
    keep("train.csv", format!("x,y\n{rows}").as_bytes());
    for (class, shade) in [("dark", 10), ("light", 240)] {
        for i in 0..12_u8 {
            let picture = image::GrayImage::from_pixel(4, 4, image::Luma([shade + i % 10]));
            let mut png = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
            keep(&format!("pictures/{class}/{i}.png"), &png.into_inner());
        }
    }
    let csv = serde_json::json!({"csv": {"files": {"train": "train.csv", "holdOut": 0.1}, "columns": {
        "features": ["x"], "target": {"class": {"column": "y", "classes": 3}}}}});
    let images = serde_json::json!({"images": {"files": {"train": "pictures", "holdOut": 0.25},
        "size": [4, 4], "channels": "Grey", "classes": 2,
        "augment": {"horizontalFlip": true, "cropPadding": 1}}});
    let bucket: Place = "s3://bucket/some/prefix".parse().unwrap();
    for spec in [csv, images] {
        let local = batches(&spec, &Place::from(folder.path()));
        assert!(local.len() >= 2);
        assert!(local == batches(&spec, &bucket), "{spec}");
    }
    let missing = serde_json::json!({"csv": {"files": {"train": "no.csv", "holdOut": 0.1}, "columns": {
        "features": ["x"], "target": {"class": {"column": "y", "classes": 3}}}}});
    let spec = serde_json::from_value(missing).unwrap();
    let error = Data::open(&spec, Some(&bucket), &mut |_| {}).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("s3://bucket/some/prefix/no.csv"), "{error}");
}
