//! Who may ask, how often, over how many connections; TLS; gRPC.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Double, Setting, client, infer, request, start};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mixnn_serving::grpc::proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use mixnn_serving::grpc::proto::model_infer_request::InferInputTensor;
use mixnn_serving::grpc::proto::{
    InferTensorContents, ModelInferRequest, ModelMetadataRequest, ServerReadyRequest,
};
use mixnn_serving::{Batching, Limits, Rate, Tls, TokenFile};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::sync::Arc;
use tonic::Code;

type Plain = Client<hyper_util::client::legacy::connect::HttpConnector, tonic::body::Body>;

fn grpc(url: &str) -> GrpcInferenceServiceClient<Plain> {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    GrpcInferenceServiceClient::with_origin(client, url.parse().unwrap())
}

fn input(shape: &[i64]) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "double".into(),
        id: "i".into(),
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            shape: shape.to_vec(),
            ..InferInputTensor::default()
        }],
        ..ModelInferRequest::default()
    }
}

fn floats(values: &[f32]) -> bytes::Bytes {
    values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_raw_and_typed() {
    let (_server, url) = start(&Double::new(), Setting::default());
    let mut client = grpc(&url);
    assert!(client.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let asked = ModelMetadataRequest { name: "double".into(), version: String::new() };
    let model = client.model_metadata(asked).await.unwrap().into_inner();
    assert_eq!(model.inputs[0].shape, [-1, 3]);
    let raw =
        ModelInferRequest { raw_input_contents: vec![floats(&[1.0, 2.0, 3.0])], ..input(&[1, 3]) };
    let answer = client.model_infer(raw.clone()).await.unwrap().into_inner();
    assert_eq!(answer.raw_output_contents, [floats(&[2.0, 4.0, 6.0])]);
    assert_eq!((answer.id.as_str(), answer.model_version.as_str()), ("i", "1"));
    let mut typed = input(&[1, 3]);
    typed.inputs[0].contents = Some(InferTensorContents {
        fp32_contents: vec![1.0, 2.0, 3.0],
        ..InferTensorContents::default()
    });
    let answer = client.model_infer(typed.clone()).await.unwrap().into_inner();
    assert_eq!(answer.outputs[0].contents.as_ref().unwrap().fp32_contents, [2.0, 4.0, 6.0]);
    assert!(answer.raw_output_contents.is_empty());

    let refused = [
        (
            ModelInferRequest { raw_input_contents: vec![floats(&[1.0])], ..input(&[1, 3]) },
            Code::InvalidArgument,
        ),
        (
            ModelInferRequest {
                raw_input_contents: vec![floats(&[f32::NAN; 3])],
                ..input(&[1, 3])
            },
            Code::InvalidArgument,
        ),
        (
            ModelInferRequest { raw_input_contents: vec![floats(&[1.0]); 2], ..input(&[1, 3]) },
            Code::InvalidArgument,
        ),
        (
            ModelInferRequest { raw_input_contents: vec![floats(&[1.0; 3])], ..typed },
            Code::InvalidArgument,
        ),
        (input(&[1, 3]), Code::InvalidArgument),
        (input(&[1, 4]), Code::InvalidArgument),
        (ModelInferRequest { model_name: "other".into(), ..raw.clone() }, Code::NotFound),
        (ModelInferRequest { model_version: "9".into(), ..raw }, Code::NotFound),
    ];
    for (request, code) in refused {
        assert_eq!(client.model_infer(request).await.unwrap_err().code(), code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_nobody_asks() {
    let token = "t".repeat(40);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("ann {token}")).unwrap();
    let authenticator = Some(Arc::new(TokenFile::open(file.path()).unwrap()) as Arc<_>);
    let (_server, url) = start(&Double::new(), Setting { authenticator, ..Setting::default() });
    let ask = async |header: Option<String>| {
        let mut get = client().get(format!("{url}/v2/models/double"));
        if let Some(header) = header {
            get = get.header("authorization", header);
        }
        get.send().await.unwrap()
    };
    let refused = ask(None).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(refused.headers()["www-authenticate"], "Bearer");
    assert!(refused.text().await.unwrap().contains("Authorization: Bearer"));
    assert_eq!(ask(Some("Bearer wrong".into())).await.status(), 401);
    assert_eq!(ask(Some(format!("Basic {token}"))).await.status(), 401);
    assert_eq!(ask(Some(format!("Bearer {token}"))).await.status(), 200);
    assert_eq!(client().get(format!("{url}/v2/health/ready")).send().await.unwrap().status(), 200);
    let refused = grpc(&url).model_infer(input(&[1, 3])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(grpc(&url).server_ready(ServerReadyRequest {}).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let one = NonZeroU32::MIN;
    let rate = Some(Rate { per_second: one, burst: one.saturating_add(1) });
    let limits = Limits { rate, ..Limits::default() };
    let (_server, url) = start(&Double::new(), Setting { limits, ..Setting::default() });
    let ask = async || client().get(format!("{url}/v2")).send().await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(ask().await);
    }
    assert_eq!(answers[0].status(), 200);
    let refused = answers.iter().find(|a| a.status() == 429).expect("eight at once are too many");
    assert_eq!(refused.headers()["retry-after"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_make_room() {
    let limits = Limits { connections: 50, ..Limits::default() };
    let (_server, url) = start(&Double::new(), Setting { limits, ..Setting::default() });
    let address = url.strip_prefix("http://").unwrap().to_owned();
    let idle: Vec<TcpStream> = tokio::task::spawn_blocking(move || {
        (0..400).map(|_| TcpStream::connect(&address).unwrap()).collect()
    })
    .await
    .unwrap();
    for _ in 0..20 {
        assert_eq!(infer(&url, &[[1.0; 3]]).await.0, 200);
    }
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_full_is_said_at_once() {
    let model = Double::new();
    model.hold();
    let batching = Batching { in_flight: 1, queue: 2, merge: false, ..Batching::default() };
    let (_server, url) = start(&model, Setting { batching, ..Setting::default() });
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let url = url.clone();
        asked.spawn(async move { infer(&url, &[[1.0; 3]]).await.0 });
    }
    let mut refused = 0;
    while refused < 10 {
        assert_eq!(asked.join_next().await.unwrap().unwrap(), 503);
        refused += 1;
    }
    model.let_go();
    let rest = asked.join_all().await;
    assert!(rest.contains(&200), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_bodies_together_are_bounded() {
    let limits = Limits { buffered: 64 << 10, ..Limits::default() };
    let (_server, url) = start(&Double::new(), Setting { limits, ..Setting::default() });
    let post = client().post(format!("{url}/v2/models/double/infer"));
    let response = post.body(" ".repeat(1 << 20)).send().await;
    // The server may close before all has been written.
    assert!(response.is_err() || response.is_ok_and(|r| r.status() == 503));
    assert_eq!(infer(&url, &[[1.0; 3]]).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_both_protocols() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = Some(Tls::open(&certificate, &key).unwrap());
    let (_server, url) = start(&Double::new(), Setting { tls, ..Setting::default() });
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let trusting = reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap();
    let post = trusting.post(format!("{url}/v2/models/double/infer"));
    let response = post.body(request(&[[1.0; 3]]).to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(client().get(format!("{url}/v2")).send().await.is_err(), "an unknown certificate");
    assert!(Tls::open(&key, &key).is_err_and(|e| e.to_string().contains("certificate")));
}
