//! Parsers without state: what is read is written again as the same bytes.

use super::forge;
use aws_lc_rs::digest;
use aws_lc_rs::signature::Ed25519KeyPair;
use mixnn_protocol::control::{self, Command, Report};
use mixnn_protocol::frame;
use mixnn_protocol::letter::{HopSetup, PodSetup};
use mixnn_protocol::rand_core::Rng;
use mixnn_protocol::registration::{
    Claims, Directory, Refusal, Registered, Registration, Tokens, TokensRequest,
};
use mixnn_protocol::sizes::FRAME;
use mixnn_protocol::tensor::TensorView;
use mixnn_protocol::{AdmissionKey, ClaimKey, KeyPair, NodeId, Suite, labels};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::OnceLock;

pub fn frame(data: &[u8]) {
    let _ = frame::parse(data);
    let mut whole = vec![0; FRAME];
    let n = data.len().min(FRAME);
    whole[..n].copy_from_slice(&data[..n]);
    if let Ok((header, text)) = frame::parse(&whole) {
        assert_eq!(forge::frame(&header, text), whole);
    }
}

pub fn hop_setup(data: &[u8]) {
    if let Ok(setup) = HopSetup::from_bytes(data) {
        assert_eq!(setup.to_bytes()[..], *data);
    }
}

struct Owner {
    claim: ClaimKey,
    signer: Ed25519KeyPair,
    pod: KeyPair,
}

/// A claim whose seed is known, so that anything can be signed under it.
fn owner() -> &'static Owner {
    static OWNER: OnceLock<Owner> = OnceLock::new();
    OWNER.get_or_init(|| {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let mut seed = [0; 32];
        rng.clone().fill_bytes(&mut seed);
        Owner {
            claim: ClaimKey::generate(&mut rng),
            signer: Ed25519KeyPair::from_seed_unchecked(&seed).unwrap(),
            pod: KeyPair::generate(Suite::X25519, &mut rng),
        }
    })
}

/// The parser behind the signature: every input is signed, and names the right pod.
pub fn pod_setup(data: &[u8]) {
    let Owner { claim, signer, pod } = owner();
    let (id, key) = (NodeId::from_bytes([5; 16]), pod.public());
    let _ = PodSetup::verify(data, &claim.claim(), id, key, None);
    let mut content = data.to_vec();
    if let Some(named) = content.get_mut(9..25) {
        named.copy_from_slice(id.as_bytes());
    }
    let digest = digest::digest(&digest::SHA256, &key.to_bytes());
    let signed = [labels::POD_SETUP, digest.as_ref(), &content].concat();
    let bytes = [&content, signer.sign(&signed).as_ref()].concat();
    if let Ok(setup) = PodSetup::verify(&bytes, &claim.claim(), id, key, None) {
        assert_eq!(setup.sign(claim, id, key)[..], bytes);
    }
}

pub fn tensor(data: &[u8]) {
    if let Ok(tensor) = TensorView::from_bytes(data) {
        assert_eq!(tensor.to_bytes(), data);
    }
}

/// What is read, written and read again is the same.
fn stable<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    if let Ok(read) = control::parse::<T>(data)
        && let Ok(written) = control::to_bytes(&read)
    {
        assert_eq!(control::parse::<T>(&written).unwrap(), read);
    }
}

pub fn control(data: &[u8]) {
    stable::<Command>(data);
    stable::<Report>(data);
}

pub fn registration(data: &[u8]) {
    stable::<Registration>(data);
    stable::<Registered>(data);
    stable::<Directory>(data);
    stable::<Claims>(data);
    stable::<TokensRequest>(data);
    stable::<Tokens>(data);
    stable::<Refusal>(data);
    stable::<NodeId>(data);
}

pub fn admission_key(data: &[u8]) {
    let _ = AdmissionKey::from_der(data);
}
