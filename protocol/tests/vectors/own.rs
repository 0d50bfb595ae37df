//! This protocol's own vectors: assembled, written, compared.

use crate::{lanes, letters, messages, setups};
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mixnn_protocol::{Secret, labels};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/mixnn-v1.json");

/// The randomness of one part of the vectors: fixed, so that the code must reproduce them.
pub fn rng(part: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([part; 32])
}

pub fn secret(part: u8, n: u8) -> Secret {
    Secret::from_bytes(std::array::from_fn(|i| part ^ n.wrapping_mul(37) ^ (i as u8)))
}

pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn from_base64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

pub fn hex_of(secret: &Secret) -> String {
    hex::encode(secret.expose())
}

/// Bytes that need not be written down: byte `i` is `i mod 251`.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn all(token: &letters::TokenVector) -> Value {
    json!({
        "description": "Test vectors of MixNN's protocol, version 1: docs/protocol.md, \
            section Test vectors. Binary values are hex, long ones base64.",
        "labels": label_texts(),
        "hopSecrets": lanes::hop_secrets(),
        "linkTags": lanes::link_tags(),
        "ratchet": lanes::ratchet(),
        "lanes": lanes::lanes(),
        "frames": messages::frames(),
        "refusedFrames": messages::refused_frames(),
        "tensors": messages::tensors(),
        "control": messages::control(),
        "registration": messages::registration(),
        "hopSetups": setups::hop_setups(),
        "podSetup": setups::pod_setup(),
        "token": token.to_json(),
        "letters": letters::letters(token),
    })
}

fn label_texts() -> Value {
    let text = |label: &[u8]| String::from_utf8(label.to_vec()).unwrap();
    json!({
        "letterInfo": text(labels::LETTER_INFO),
        "letterBody": text(labels::LETTER_BODY),
        "hopSecret": text(labels::HOP_SECRET),
        "hopTag": text(labels::HOP_TAG),
        "hopOpen": text(labels::HOP_OPEN),
        "hopSeal": text(labels::HOP_SEAL),
        "hopLease": text(labels::HOP_LEASE),
        "generationKey": text(labels::GENERATION_KEY),
        "generationNext": text(labels::GENERATION_NEXT),
        "podSetup": text(labels::POD_SETUP),
        "shardInfo": text(labels::SHARD_INFO),
        "shardKey": text(labels::SHARD_KEY),
        "admission": text(labels::ADMISSION),
    })
}

pub fn stored() -> Value {
    let text = std::fs::read_to_string(PATH).expect("regenerate writes the vectors");
    serde_json::from_str(&text).unwrap()
}

#[test]
#[ignore = "writes the vectors; a change of them is a change of the protocol"]
fn regenerate() {
    let token = std::fs::read_to_string(PATH)
        .ok()
        .and_then(|text| letters::TokenVector::from_json(&serde_json::from_str(&text).ok()?))
        .unwrap_or_else(letters::TokenVector::issue);
    let text = serde_json::to_string_pretty(&all(&token)).unwrap();
    std::fs::write(PATH, text + "\n").unwrap();
}

#[test]
fn the_code_reproduces_the_vectors() {
    let stored = stored();
    let token = letters::TokenVector::from_json(&stored).expect("the vectors hold a token");
    let made = all(&token);
    let parts = made.as_object().unwrap();
    assert!(stored.as_object().unwrap().keys().eq(parts.keys()));
    for (part, value) in parts {
        // Not assert_eq: the values are long.
        assert!(stored[part] == *value, "{part} is not what the vectors say");
    }
}
