//! Published vectors, through the same types of the same crates that the protocol is built on.
//!
//! Each file says where its vectors come from and under which licence.

use crate::own::from_base64;
use blind_rsa_signatures::reexports::rsa::{BoxedUint, PrivateKey};
use blind_rsa_signatures::{Hash, Options, PSSMode, PrepareMode, SecretKey};
use hpke::aead::{Aead, AesGcm256, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use mixnn_protocol::Claim;
use mixnn_protocol::rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;
use std::convert::Infallible;

fn vectors(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// Gives the bytes that a vector fixes, call by call.
struct Script(Vec<Vec<u8>>);

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unimplemented!("the code under test draws bytes")
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unimplemented!("the code under test draws bytes")
    }
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        dst.copy_from_slice(&self.0.remove(0));
        Ok(())
    }
}

impl TryCryptoRng for Script {}

/// RFC 9180, base mode: the sender makes, and the receiver opens, what the vector says.
fn hpke_base<A: Aead, K: Kem>(v: &Value, info: &[u8]) {
    let (_, pk) = K::derive_keypair(&bytes(&v["ikmR"]));
    assert_eq!(pk.to_bytes().to_vec(), bytes(&v["pkRm"]));
    // Not compared as bytes: an X25519 private key may be kept clamped (RFC 7748, section 5).
    let sk = K::PrivateKey::from_bytes(&bytes(&v["skRm"])).unwrap();
    assert!(K::sk_to_pk(&sk) == pk);
    let mut rng = Script(vec![bytes(&v["ikmE"])]);
    let (enc, mut sender) =
        hpke::setup_sender_with_rng::<A, HkdfSha256, K>(&OpModeS::Base, &pk, info, &mut rng)
            .unwrap();
    assert_eq!(enc.to_bytes().to_vec(), bytes(&v["enc"]));
    let mut receiver =
        hpke::setup_receiver::<A, HkdfSha256, K>(&OpModeR::Base, &sk, &enc, info).unwrap();
    for (i, e) in v["encryptions"].as_array().unwrap().iter().enumerate() {
        let (pt, aad, ct) = (bytes(&e["pt"]), bytes(&e["aad"]), bytes(&e["ct"]));
        assert_eq!(sender.seal(&pt, &aad).unwrap(), ct, "encryption {i}");
        assert_eq!(receiver.open(&ct, &aad).unwrap(), pt, "encryption {i}");
    }
    for e in v["exports"].as_array().unwrap() {
        let expected = bytes(&e["exported_value"]);
        let mut out = vec![0; expected.len()];
        sender.export(&bytes(&e["exporter_context"]), &mut out).unwrap();
        assert_eq!(out, expected);
        receiver.export(&bytes(&e["exporter_context"]), &mut out).unwrap();
        assert_eq!(out, expected);
    }
}

#[test]
fn rfc_9180_base_mode_x25519_sha256_aes256() {
    let v = &vectors(include_str!("rfc9180-x25519.json"))["vector"];
    hpke_base::<AesGcm256, X25519HkdfSha256>(v, &bytes(&v["info"]));
}

#[test]
fn hpke_pq_base_mode_xwing_sha256() {
    let v = &vectors(include_str!("hpke-pq-xwing.json"))["vector"];
    hpke_base::<ChaCha20Poly1305, XWing>(v, &bytes(&v["info"]));
}

#[test]
fn xwing_key_generation_encapsulation_decapsulation() {
    let file = vectors(include_str!("xwing.json"));
    let all = file["vectors"].as_array().unwrap();
    assert_eq!(all.len(), 3);
    for v in all {
        // In X-Wing the seed is the private key.
        assert_eq!(v["seed"], v["sk"]);
        let sk = <XWing as Kem>::PrivateKey::from_bytes(&bytes(&v["sk"])).unwrap();
        let pk = XWing::sk_to_pk(&sk);
        assert_eq!(pk.to_bytes().to_vec(), bytes(&v["pk"]));
        let mut rng = Script(vec![bytes(&v["eseed"])]);
        let (sent, ct) = XWing::encap_with_rng(&pk, None, &mut rng).unwrap();
        assert_eq!(ct.to_bytes().to_vec(), bytes(&v["ct"]));
        assert_eq!(sent.0.to_vec(), bytes(&v["ss"]));
        let received = XWing::decap(&sk, None, &ct).unwrap();
        assert_eq!(received.0.to_vec(), bytes(&v["ss"]));
    }
}

#[test]
fn rfc_9474_rsabssa_sha384_pss_deterministic() {
    let v = &vectors(include_str!("rfc9474.json"))["vector"];
    let number = |field: &str| {
        BoxedUint::from_str_radix_vartime(&v[field].as_str().unwrap()[2..], 16).unwrap()
    };
    let primes = vec![number("p"), number("q")];
    let key = PrivateKey::from_components(number("n"), number("e"), number("d"), primes);
    let secret = SecretKey(key.unwrap());
    let public = secret.public_key().unwrap();
    // The inverse is what the vector gives; the library draws the blind itself, little-endian.
    let blind = number("inv").invert_mod(&number("n").to_nz().unwrap()).unwrap();
    let mut rng = Script(vec![bytes(&v["salt"]), blind.to_le_bytes().to_vec()]);
    let options = Options::new(Hash::Sha384, PSSMode::PSS, PrepareMode::Deterministic);
    let message = bytes(&v["msg"]);
    let blinded = public.blind(&mut rng, &message, &options).unwrap();
    assert_eq!(blinded.blind_message.0, bytes(&v["blinded_msg"]));
    let blind_signature = secret.blind_sign(&blinded.blind_message).unwrap();
    assert_eq!(blind_signature.0, bytes(&v["blind_sig"]));
    let signature = public.finalize(&blind_signature, &blinded, &message, &options).unwrap();
    assert_eq!(signature.0, bytes(&v["sig"]));
}

#[test]
fn rfc_8032_ed25519_through_a_claim() {
    // Section 7.1, test 3.
    let public = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    let signature = hex::decode(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
         18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    )
    .unwrap();
    let text = serde_json::to_string(&crate::own::base64(&hex::decode(public).unwrap())).unwrap();
    let claim: Claim = serde_json::from_str(&text).unwrap();
    assert_eq!(from_base64(&serde_json::to_value(claim).unwrap()), hex::decode(public).unwrap());
    assert!(claim.verifies(&[0xaf, 0x82], &signature));
    assert!(!claim.verifies(&[0xaf, 0x83], &signature));
    assert!(!claim.verifies(&[0xaf, 0x82], &signature[..63]));
}
