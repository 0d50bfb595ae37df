//! Frames, tensors, and what travels as JSON.

use crate::own::sha256;
use mixnn_protocol::control::{Command, Report};
use mixnn_protocol::frame::{self, FrameHeader};
use mixnn_protocol::registration::{
    Advance, Claims, Directory, Head, Refusal, Registered, Registration, Tokens, TokensRequest,
};
use mixnn_protocol::sizes::{FRAME_DATA, FRAME_HEADER};
use mixnn_protocol::tensor::{Dtype, TensorView};
use mixnn_protocol::{Kind, MessageHeader, control};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub fn header(header: &MessageHeader) -> Value {
    json!({
        "kind": header.kind as u8,
        "term": header.term,
        "attempt": header.attempt,
        "step": header.step,
        "microBatch": header.micro_batch,
    })
}

fn written(header: &FrameHeader, data: &[u8]) -> Vec<u8> {
    crate::common::forge::frame(header, data)
}

pub fn frames() -> Value {
    let one = |&kind: &Kind| {
        let n = u32::from(kind as u8);
        let message = MessageHeader {
            kind,
            term: 0x0101_0100 + n,
            attempt: 0x0202_0200 + n,
            step: 0x0303_0303_0303_0300 + u64::from(n),
            micro_batch: 0x0404_0400 + n,
        };
        let data = if kind == Kind::Cover { vec![] } else { format!("{kind:?}").into_bytes() };
        let count = if kind == Kind::Cover { 1 } else { 3 };
        let (index, length) = (count - 1, data.len() as u16);
        let id = 0x0505_0505_0505_0500 + u64::from(n);
        let frame_header = FrameHeader { message, id, index, count, length };
        let frame = written(&frame_header, &data);
        assert_eq!(frame::parse(&frame).unwrap(), (frame_header, &data[..]));
        json!({
            "name": format!("{kind:?}"),
            "header": header(&message),
            "id": id,
            "index": index,
            "count": count,
            "data": hex::encode(&data),
            "start": hex::encode(&frame[..FRAME_HEADER + data.len()]),
            "sha256": sha256(&frame),
        })
    };
    Kind::ALL.iter().map(one).collect()
}

/// Frames that must not be read: each a good one with one fault.
pub fn refused_frames() -> Value {
    let message =
        MessageHeader { kind: Kind::Activation, term: 1, attempt: 2, step: 3, micro_batch: 4 };
    let good = FrameHeader { message, id: 5, index: 0, count: 1, length: 1 };
    let one = |why: &str, change: &dyn Fn(&mut FrameHeader), patch: &[(usize, u8)]| {
        let mut header = good;
        change(&mut header);
        let mut frame = written(&header, &[7]);
        for &(at, byte) in patch {
            frame[at] = byte;
        }
        assert!(frame::parse(&frame).is_err(), "{why}");
        json!({"why": why, "start": hex::encode(&frame[..FRAME_HEADER + 2])})
    };
    [
        one("unknown kind", &|_| (), &[(0, 9)]),
        one("reserved byte", &|_| (), &[(1, 1)]),
        one("padding not zero", &|_| (), &[(FRAME_HEADER + 1, 1)]),
        one("no frames", &|h| h.count = 0, &[]),
        one("index not below count", &|h| h.index = 1, &[]),
        one("not the last, and not full", &|h| h.count = 2, &[]),
        one("last of two, and empty", &|h| (h.index, h.count, h.length) = (1, 2, 0), &[(40, 0)]),
        one("longer than a frame", &|h| h.length = FRAME_DATA as u16 + 1, &[]),
        one("cover with data", &|h| h.message.kind = Kind::Cover, &[]),
        one(
            "cover of two frames",
            &|h| (h.message.kind, h.count, h.length) = (Kind::Cover, 2, 0),
            &[(40, 0)],
        ),
    ]
    .into()
}

pub fn tensors() -> Value {
    let one = |dtype: Dtype, shape: &[u32], data: &[u8]| {
        let tensor = TensorView { dtype, shape: shape.to_vec(), data };
        let bytes = tensor.to_bytes();
        assert_eq!(TensorView::from_bytes(&bytes).unwrap(), tensor);
        json!({"dtype": dtype as u8, "shape": shape, "data": hex::encode(data),
               "bytes": hex::encode(&bytes)})
    };
    let floats: Vec<u8> =
        [1.0_f32, -0.5, f32::MAX, f32::MIN_POSITIVE, 0.0, -0.0].map(f32::to_le_bytes).concat();
    let labels: Vec<u8> = [0_i64, 9, -1].map(i64::to_le_bytes).concat();
    [
        one(Dtype::F32, &[2, 3], &floats),
        one(Dtype::I64, &[3], &labels),
        one(Dtype::Bf16, &[3], &[0x80, 0x3f, 0x00, 0xbf, 0x00, 0x80]),
        one(Dtype::F32, &[], &floats[..4]),
        one(Dtype::F32, &[0, 5], &[]),
    ]
    .into()
}

/// Reads `text` as a `T`, and writes it again: both ways must agree.
fn same<T: Serialize + DeserializeOwned>(text: &str) -> Value {
    let value: Value = serde_json::from_str(text).unwrap();
    let read: T = control::parse(text.as_bytes()).unwrap();
    let written: Value = serde_json::from_slice(&control::to_bytes(&read).unwrap()).unwrap();
    assert_eq!(written, value);
    value
}

pub fn control() -> Value {
    let assign = r#"{"assign": {
        "ops": [{"linear": {"in": 84, "out": 10, "bias": true}}, {"relu": {}}],
        "input": [84], "vocabulary": null, "output": [10], "microBatches": 4,
        "learning": {
                  "optimizer": {"sgd": {"lr": 0.1, "momentum": 0.9, "dampening": 0.0, "nesterov": false, "weightDecay": 0.0005}},
            "settings": [{"weightDecay": 0.0005, "lrFactor": 1.0}, {"weightDecay": 0.0, "lrFactor": 1.0}],
            "schedule": {"warmupSteps": 0, "decay": {"cosine": {"floor": 0.1}}},
            "totalSteps": 1000, "clips": true, "precision": "F32"},
        "device": "cpu",
        "loss": null,
        "profile": {"libtorch": "2.13.0", "threads": 1, "cpuCapability": "avx2"},
        "snapshotEvery": 50}}"#;
    let seal = format!(
        r#"{{"seal": {{"suite": "X25519", "publicKey": "{}"}}}}"#,
        crate::own::base64(&[9; 32])
    );
    let digest = format!(r#"{{"digest": "{}"}}"#, crate::own::base64(&[7; 32]));
    json!({
        "commands": [
            same::<Command>(assign),
            same::<Command>(r#""halt""#),
            same::<Command>(r#""rollback""#),
            same::<Command>(r#"{"apply": 1056964608}"#),
            same::<Command>(r#""digest""#),
            same::<Command>(&seal),
            same::<Command>(r#"{"part": 1}"#),
            same::<Command>(r#"{"restore": 70000}"#),
            same::<Command>(r#""finish""#),
        ],
        "reports": [
            same::<Report>(r#""hello""#),
            same::<Report>(r#""ready""#),
            same::<Report>(r#"{"halted": [0, 50, 61, 62]}"#),
            same::<Report>(r#"{"heard": "forward"}"#),
            same::<Report>(r#"{"norms": [1065353216, 1056964608]}"#),
            same::<Report>(r#""applied""#),
            same::<Report>(r#""rolledBack""#),
            same::<Report>(r#"{"loss": {"loss": 2.302585092994046, "answers": 16, "correct": 3, "top5": 9}}"#),
            same::<Report>(r#"{"sealed": 70016}"#),
            same::<Report>(r#"{"took": 0}"#),
            same::<Report>(r#""restored""#),
            same::<Report>(&digest),
            same::<Report>(
                r#"{"failed": {"reason": "notFinite", "message": "the gradient is not finite"}}"#,
            ),
        ],
    })
}

pub fn registration() -> Value {
    let id = "AAECAwQFBgcICQoLDA0ODw";
    let key = crate::own::base64(&[9; 32]);
    let node = format!(
        r#"{{"class": "relay", "suite": "X25519", "publicKey": "{key}", "hostDomain": "a",
            "nodeDomain": "n1"}}"#
    );
    json!({
        "registration": same::<Registration>(&format!(
            r#"{{"protocolVersion": 1, "class": "layer", "url": "http://127.0.0.1:7000",
                "suite": "X25519", "publicKey": "{key}"}}"#
        )),
        "registered": same::<Registered>(&format!(
            r#"{{"id": "{id}", "claim": "{key}", "admissionKey": "MAA="}}"#
        )),
        "registeredRelay": same::<Registered>(&format!(
            r#"{{"id": "{id}", "admissionKey": "MAA="}}"#
        )),
        "directory": same::<Directory>(&format!(
            r#"{{"epoch": 7, "version": 3, "nodes": [
                {{"id": "{id}", "url": "http://127.0.0.1:7000"}},
                {{"id": "{id}", "url": "http://127.0.0.1:7001", "detail": {node}}}]}}"#
        )),
        "head": same::<Head>(r#"{"term": 2, "checkpoint": 5, "step": 250}"#),
        "advance": same::<Advance>(
            r#"{"expected": {"term": 1, "checkpoint": 5, "step": 250},
                "head": {"term": 2, "checkpoint": 5, "step": 250}}"#
        ),
        "claims": same::<Claims>(&format!(r#"{{"claims": ["{key}"]}}"#)),
        "tokensRequest": same::<TokensRequest>(r#"{"blinded": ["AAEC"]}"#),
        "tokens": same::<Tokens>(r#"{"signatures": ["AAEC"]}"#),
        "refusal": same::<Refusal>(
            r#"{"reason": "noClaim", "message": "no claim is in stock; try again later"}"#
        ),
    })
}
