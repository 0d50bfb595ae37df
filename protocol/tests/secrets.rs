//! Nothing that holds a secret shows it in Debug, in any of the ways in which bytes are printed.

#![allow(clippy::unwrap_used)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mixnn_protocol::letter::{HopRole, HopSetup, LaneEnd, PodSetup, ReceivingEnd, SendingEnd};
use mixnn_protocol::rand_core::Rng;
use mixnn_protocol::tensor::{Dtype, TensorView};
use mixnn_protocol::{
    ClaimKey, Epoch, KeyPair, Kind, LaneRole, Message, MessageHeader, NodeId, Secret, Suite,
};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use std::fmt::Debug;

/// The bytes that every secret below consists of.
const SECRET: [u8; 32] = {
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        bytes[i] = 0xa0 + i as u8;
        i += 1;
    }
    bytes
};

fn secret() -> Secret {
    Secret::from_bytes(SECRET)
}

/// Fails if four bytes of `secret` in a row can be read from what Debug prints.
fn hides(value: &impl Debug, secret: &[u8]) {
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        let squeezed: String = text.split_whitespace().collect();
        let lower = squeezed.to_lowercase();
        for window in secret.windows(4) {
            assert!(!lower.contains(&hex::encode(window)), "hex in {text}");
            let list = window.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
            assert!(!squeezed.contains(&list), "decimal in {text}");
            let list = window.iter().map(|b| format!("{b:x}")).collect::<Vec<_>>().join(",");
            assert!(!lower.contains(&list), "hex list in {text}");
        }
        assert!(!squeezed.contains(&STANDARD.encode(&secret[..6])), "base64 in {text}");
    }
}

#[test]
#[should_panic(expected = "decimal in")]
fn the_check_itself_finds_bytes() {
    hides(&SECRET, &SECRET);
}

#[test]
fn secrets_and_all_that_holds_them_print_nothing() {
    let first = NodeId::from_bytes([1; 16]);
    let sending = SendingEnd {
        role: LaneRole::Forward,
        epoch: Epoch(1),
        first,
        e2e: secret(),
        layers: vec![(secret(), secret())],
        cover: None,
    };
    let receiving = ReceivingEnd {
        role: LaneRole::Forward,
        epoch: Epoch(1),
        quota: 1,
        e2e: secret(),
        link_tag: secret(),
        layers: vec![secret()],
    };
    let lanes = vec![LaneEnd::Send(sending), LaneEnd::Receive(receiving)];
    hides(&secret(), &SECRET);
    hides(&lanes, &SECRET);
    hides(&PodSetup { term: 1, sequence: 1, layer_key: secret(), lanes }, &SECRET);
    for role in [
        HopRole::Crossing { out_tag: secret() },
        HopRole::Receiver { layers: 1, out_tag: secret() },
    ] {
        let setup = HopSetup { role, epoch: Epoch(1), quota: 1, idle_seconds: 1, next: first };
        hides(&setup, &SECRET);
    }
}

#[test]
fn key_pairs_print_nothing_of_their_private_half() {
    for suite in [Suite::XWing, Suite::X25519] {
        let mut rng = ChaCha20Rng::from_seed([4; 32]);
        let mut drawn = [0; 32];
        rng.clone().fill_bytes(&mut drawn);
        hides(&KeyPair::generate(suite, &mut rng), &drawn);
    }
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let mut seed = [0; 32];
    rng.clone().fill_bytes(&mut seed);
    hides(&ClaimKey::generate(&mut rng), &seed);
}

#[test]
fn tokens_messages_and_tensors_print_nothing_of_their_content() {
    let issuer = mixnn_protocol::admission::Issuer::generate().unwrap();
    let key = mixnn_protocol::AdmissionKey::from_der(&issuer.public_der().unwrap()).unwrap();
    let mut rng = ChaCha20Rng::from_seed([6; 32]);
    let mut nonce = [0; 32];
    rng.clone().fill_bytes(&mut nonce);
    let relay = NodeId::from_bytes([2; 16]);
    let request = mixnn_protocol::admission::TokenRequest::new(&key, relay, &mut rng).unwrap();
    let answer = issuer.sign(request.blinded()).unwrap();
    hides(&request.finish(&key, &answer).unwrap(), &nonce);

    let header =
        MessageHeader { kind: Kind::Weights, term: 1, attempt: 1, step: 1, micro_batch: 1 };
    hides(&Message { header, payload: SECRET.to_vec() }, &SECRET);
    hides(&TensorView { dtype: Dtype::F32, shape: vec![8], data: &SECRET }, &SECRET);
}
