//! The same data from a folder and from a real S3 server (moto's).

#![allow(clippy::unwrap_used)]

use mixnn_data::{Batch, Batches, Data, Epoch, Pass, Place, store_settings};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Fetching the server takes a while the first time.
const START: Duration = Duration::from_secs(300);

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/s3-server.sh");
        let child = Command::new(script)
            .arg(port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { child, port };
        let begun = Instant::now();
        while request(port, "GET", "/", b"").is_none() {
            assert!(begun.elapsed() < START, "no S3 server after {START:?}");
            assert!(server.child.try_wait().unwrap().is_none(), "scripts/s3-server.sh has ended");
            std::thread::sleep(Duration::from_millis(200));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A plain request; gives the status line.
fn request(port: u16, method: &str, path: &str, body: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let length = body.len();
    let signed = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x";
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {signed}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    String::from_utf8_lossy(&answer).lines().next().map(str::to_owned)
}

fn put(port: u16, path: &str, body: &[u8]) {
    let status = request(port, "PUT", path, body).unwrap();
    assert!(status.contains("200"), "{path}: {status}");
}

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
        let endpoint = format!("http://127.0.0.1:{}", server.port);
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_folder_and_a_bucket_give_the_same_batches", "--nocapture"])
            .envs([("AWS_ENDPOINT", endpoint.as_str()), ("AWS_ALLOW_HTTP", "true")])
            .envs([("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")])
            .envs([("AWS_REGION", "us-east-1"), ("S3_PORT", &server.port.to_string())])
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    // The outer test keeps the server and its process.
    assert!(store_settings().len() >= 4);
    let folder = tempfile::tempdir().unwrap();
    let port: u16 = std::env::var("S3_PORT").unwrap().parse().unwrap();
    put(port, "/bucket", b"");
    let keep = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        put(port, &format!("/bucket/some/prefix/{name}"), content);
    };
    let rows: String = (0..100).map(|i| format!("{i},{}\n", i % 3)).collect();
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
