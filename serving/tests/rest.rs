//! REST: what is answered, and what is refused.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Double, Setting, client, infer, post, request, start};
use mixnn_serving::{Batching, Limits};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn json_flat_nested_and_in_binary_give_the_same() {
    let (_server, url) = start(&Double::new(), Setting::default());
    let (status, flat) = infer(&url, &[[1.0, 2.0, 0.1], [4.0, 5.0, 6.0]]).await;
    assert_eq!(status, 200, "{flat}");
    assert_eq!(flat["model_version"], "1");
    assert_eq!(flat["outputs"][0]["shape"], json!([2, 3]));
    assert_eq!(flat["outputs"][0]["data"], json!([2.0, 4.0, 0.2, 8.0, 10.0, 12.0]));
    let mut nested = request(&[[0.0; 3]; 2]);
    nested["inputs"][0]["data"] = json!([[1, 2, 0.1], [4, 5, 6]]);
    nested["id"] = json!("seven");
    let (_, nested) = post(&url, nested.to_string()).await;
    assert_eq!(nested["outputs"], flat["outputs"]);
    assert_eq!(nested["id"], "seven");

    let floats: Vec<u8> =
        [1.0_f32, 2.0, 0.1, 4.0, 5.0, 6.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let head = json!({
        "inputs": [{ "name": "x", "datatype": "FP32", "shape": [2, 3], "parameters": { "binary_data_size": 24 } }],
        "outputs": [{ "name": "y", "parameters": { "binary_data": true } }],
    })
    .to_string();
    let body = [head.as_bytes(), &floats].concat();
    let post = client().post(format!("{url}/v2/models/double/versions/1/infer"));
    let response =
        post.header("Inference-Header-Content-Length", head.len()).body(body).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let split: usize =
        response.headers()["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let bytes = response.bytes().await.unwrap();
    let head: Value = serde_json::from_slice(&bytes[..split]).unwrap();
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], 24);
    let doubled: Vec<f32> =
        bytes[split..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert_eq!(doubled, [2.0, 4.0, 0.2, 8.0, 10.0, 12.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_is_described() {
    let (_server, url) = start(&Double::new(), Setting::default());
    let get = async |path: &str| {
        let response = client().get(format!("{url}{path}")).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap_or(Value::Null))
    };
    assert_eq!(get("/v2").await.1["extensions"][0], "binary_tensor_data");
    assert_eq!(get("/v2/health/live").await.0, 200);
    assert_eq!(get("/v2/health/ready").await.0, 200);
    let model = get("/v2/models/double").await.1;
    assert_eq!(model["versions"], json!(["1", "2"]));
    assert_eq!(model["inputs"][0], json!({"name": "x", "datatype": "FP32", "shape": [-1, 3]}));
    assert_eq!(get("/v2/models/double/versions/1/ready").await.0, 200);
    assert_eq!(get("/v2/models/double/versions/2/ready").await.0, 503);
    for missing in [
        "/v2/models/other",
        "/v2/models/double/versions/9",
        "/nowhere",
        "/v2/models/double/versions/9/ready",
    ] {
        let (status, body) = get(missing).await;
        assert_eq!(status, 404, "{missing}");
        assert!(body["error"].is_string(), "{missing}: {body}");
    }
    let (status, body) = get("/v2/models/double/infer").await;
    assert!(status == 405 && body["error"].is_string(), "{body}");
    let document = get("/openapi.json").await.1;
    assert_eq!(
        document["components"]["schemas"]["Input"]["properties"]["name"]["enum"],
        json!(["x"])
    );
    let index = client().post(format!("{url}/v2/repository/index")).body("{\"ready\":true}");
    let index: Value = index.send().await.unwrap().json().await.unwrap();
    assert_eq!(index, json!([{"name": "double", "version": "1", "state": "READY", "reason": ""}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_with_what_would_be_right() {
    let (_server, url) = start(&Double::new(), Setting::default());
    let with = |place: &str, value: Value| {
        let mut body = request(&[[1.0, 2.0, 3.0]]);
        *body.pointer_mut(place).unwrap() = value;
        body.to_string()
    };
    let added = |place: &str, name: &str| {
        let mut body = request(&[[1.0, 2.0, 3.0]]);
        body.pointer_mut(place).unwrap()[name] = json!({ "z": 1 });
        body.to_string()
    };
    let cases = [
        (String::new(), "EOF"),
        ("[".repeat(100_000), "invalid type"),
        ("{}".into(), "`inputs`"),
        ("{\"inputs\": []}".into(), "'x' is missing"),
        (request(&[[1.0; 3]]).to_string() + "x", "trailing"),
        (added("", "unknown_field"), "unknown_field"),
        (added("/inputs/0", "dtype"), "inputs[0]"),
        (added("", "parameters"), "parameter 'z'"),
        (added("/inputs/0", "parameters"), "parameter 'z'"),
        (with("/inputs/0/name", json!("q")), "takes 'x'"),
        (with("/inputs/0/datatype", json!("INT64")), "takes FP32"),
        (with("/inputs/0/shape", json!([1, 4])), "[-1, 3]"),
        (with("/inputs/0/shape", json!([2, 3])), "has 6"),
        (with("/inputs/0/shape", json!([-1, 3])), "[-1, 3]"),
        (with("/inputs/0/shape", json!([33, 3])), "most in one request is 32"),
        (with("/inputs/0/shape", json!(vec![1; 1000])), "at most 32"),
        (with("/inputs/0/data", json!([1, 2, 1e39])), "does not fit"),
        (with("/inputs/0/data", json!("abc")), "string"),
        (request(&[[1.0, 2.0, 3.0]]).to_string().replace("3.0", "NaN"), "expected"),
        (
            json!({"inputs": vec![request(&[[1.0; 3]])["inputs"][0].clone(); 2]}).to_string(),
            "twice",
        ),
        (
            json!({"inputs": request(&[[1.0; 3]])["inputs"], "outputs": [{"name": "z"}]})
                .to_string(),
            "gives 'y'",
        ),
    ];
    for (body, said) in cases {
        let (status, answer) = post(&url, body.clone()).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(
            status == 400 && error.contains(said) && error.len() < 600,
            "{said}: {status} {answer}"
        );
    }
    assert_eq!(infer(&url, &[[1.0, 2.0, 3.0]]).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_that_does_not_fit_its_header_is_refused() {
    let (_server, url) = start(&Double::new(), Setting::default());
    let send = async |announced: usize, size: i64, bytes: &[u8]| {
        let head = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": size}}]}).to_string();
        let body = [head.as_bytes(), bytes].concat();
        let length = if announced == 0 { head.len() } else { announced };
        let post = client().post(format!("{url}/v2/models/double/infer"));
        let post = post.header("Inference-Header-Content-Length", length);
        let response = post.body(body).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap()["error"].to_string())
    };
    for (announced, size, bytes, said) in [
        (0, 12, &[0_u8; 8][..], "8 came"),
        (0, 8, &[0; 12], "takes 12 bytes"),
        (0, 12, &[0; 16], "belong to no input"),
        (0, -1, &[0; 12], "takes 12 bytes"),
        (1 << 40, 12, &[0; 12], "at most the body's"),
        (0, 12, &f32::NAN.to_le_bytes().repeat(3), "not finite"),
    ] {
        let (status, error) = send(announced, size, bytes).await;
        assert!(status == 400 && error.contains(said), "{said}: {status} {error}");
    }
}

/// Sends bytes as they are, perhaps closes its half, and reads all that comes.
fn raw(url: &str, bytes: &[u8], close: bool) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // A server that has answered already may have closed its side.
    let _ = stream.write_all(bytes);
    if close {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(n) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&answer);
        if n == 0 || text.contains("\"error\"") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_or_lie_about_their_length() {
    let limits = Limits { body: 1 << 20, ..Limits::default() };
    let (_server, url) = start(&Double::new(), Setting { limits, ..Setting::default() });
    let post = "POST /v2/models/double/infer HTTP/1.1\r\nhost: x\r\n";
    let answers = tokio::task::spawn_blocking({
        let url = url.clone();
        move || {
            let announced = format!("{post}content-length: 2147483648\r\n\r\n{{");
            let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
            let chunked = format!("{post}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}");
            let lying = format!("{post}content-length: 500\r\n\r\n{{\"inputs\": [");
            let body = request(&[[1.0, 2.0, 3.0]]).to_string();
            let half = format!("{post}content-length: {}\r\n\r\n{body}", body.len());
            [
                raw(&url, announced.as_bytes(), false),
                raw(&url, chunked.as_bytes(), false),
                raw(&url, lying.as_bytes(), true),
                raw(&url, half.as_bytes(), true),
            ]
        }
    });
    let answers = answers.await.unwrap();
    for (answer, status) in answers.iter().zip(["413", "413", "400", "200"]) {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
    }
    assert!(answers[..3].iter().all(|a| a.contains("{\"error\":")), "{answers:?}");
    assert_eq!(infer(&url, &[[1.0, 2.0, 3.0]]).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_read_within_bounds() {
    use flate2::{Compression, write::GzEncoder};
    let limits = Limits { body: 1 << 20, ..Limits::default() };
    let (_server, url) = start(&Double::new(), Setting { limits, ..Setting::default() });
    let packed = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let send = async |body: Vec<u8>| {
        let post = client().post(format!("{url}/v2/models/double/infer"));
        let post = post.header("content-encoding", "gzip").body(body);
        post.send().await.unwrap().status().as_u16()
    };
    assert_eq!(send(packed(request(&[[1.0; 3]]).to_string().as_bytes())).await, 200);
    assert_eq!(send(packed(&vec![b' '; 64 << 20])).await, 413);
    assert_eq!(send(b"no gzip".to_vec()).await, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_together_go_together_and_each_gets_its_own() {
    let model = Double::new();
    model.hold();
    let batching = Batching { in_flight: 1, max_size: 8, ..Batching::default() };
    let (_server, url) = start(&model, Setting { batching, ..Setting::default() });
    let mut clients = tokio::task::JoinSet::new();
    for i in 0..12_u8 {
        let url = url.clone();
        clients.spawn(async move {
            let value = f32::from(i);
            let (status, answer) = infer(&url, &[[value; 3]]).await;
            assert_eq!(status, 200);
            assert_eq!(
                answer["outputs"][0]["data"],
                json!([2.0 * value, 2.0 * value, 2.0 * value])
            );
        });
    }
    // The first batch is held; the rest gathers behind it.
    tokio::time::sleep(Duration::from_millis(500)).await;
    model.let_go();
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let batches = model.batches.lock().unwrap().clone();
    assert_eq!(batches.iter().sum::<usize>(), 12);
    assert!(batches.len() < 12 && batches.iter().all(|&n| n <= 8), "{batches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_behind_is_a_503_that_says_when_to_come_again() {
    let model = Double::new();
    model.broken.store(true, Ordering::Release);
    let (_server, url) = start(&model, Setting::default());
    let post = client().post(format!("{url}/v2/models/double/infer"));
    let response = post.body(request(&[[1.0; 3]]).to_string()).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "3");
    assert!(
        response.json::<Value>().await.unwrap()["error"].as_str().unwrap().contains("replaced")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_replaced_meanwhile_is_not_answered_for() {
    let model = Double::new();
    model.hold();
    let (_server, url) = start(&model, Setting::default());
    let old = tokio::spawn({
        let url = format!("{url}/v2/models/double/versions/1/infer");
        async move {
            client().post(url).body(request(&[[1.0; 3]]).to_string()).send().await.unwrap().status()
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    *model.version.lock().unwrap() = "2".into();
    model.let_go();
    assert_eq!(old.await.unwrap(), 404);
    assert_eq!(infer(&url, &[[1.0; 3]]).await.1["model_version"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_finishes_what_is_under_way_and_takes_no_more() {
    let model = Double::new();
    model.hold();
    let (server, url) = start(&model, Setting::default());
    let under_way = tokio::spawn({
        let url = url.clone();
        async move { infer(&url, &[[1.0; 3]]).await.0 }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let draining = tokio::spawn(server.drain(Duration::from_millis(300)));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(client().get(format!("{url}/v2/health/ready")).send().await.unwrap().status(), 503);
    tokio::time::sleep(Duration::from_millis(400)).await;
    model.let_go();
    assert_eq!(under_way.await.unwrap(), 200);
    draining.await.unwrap();
    assert!(client().get(format!("{url}/v2")).send().await.is_err());
}
