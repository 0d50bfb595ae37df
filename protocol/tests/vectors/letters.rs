//! Letters to fixed keys, and the admission token that one of them spends.

use crate::common;
use crate::own::{base64, from_base64, hex_of, rng, sha256};
use crate::setups::signed_setup;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Kem, Serializable};
use mixnn_protocol::admission::{AdmissionKey, Turnstile};
use mixnn_protocol::letter::{self, Draft, Opened};
use mixnn_protocol::rand_core::Rng;
use mixnn_protocol::sizes::{AEAD_TAG, CELL};
use mixnn_protocol::{KeyPair, NodeId, RelayRef, Suite, Token};
use serde_json::{Value, json};

const RELAY: NodeId = NodeId::from_bytes([0x70; 16]);
const POD: NodeId = NodeId::from_bytes([0x30; 16]);

/// A token for [`RELAY`]. RSA-PSS is randomised, so the vectors keep the one that was issued.
pub struct TokenVector {
    issuer: Vec<u8>,
    bytes: Vec<u8>,
}

impl TokenVector {
    pub fn issue() -> Self {
        let issuer = common::issuer().public_der().unwrap();
        let token = common::token(RELAY);
        let relay = RelayRef { id: RELAY, key: keys(Suite::X25519, 9).0.public().clone() };
        // A token's bytes can be seen only where a letter carries them.
        let sealed = Draft::to(&relay.key, &mut rng(9)).unwrap();
        let letter = sealed.deliver(Some(&token), b"").unwrap().into_letter();
        Self { issuer, bytes: head_of(&keys(Suite::X25519, 9).0, &letter) }
    }

    pub fn from_json(vectors: &Value) -> Option<Self> {
        let token = vectors.get("token")?;
        let bytes = hex::decode(token["nonce"].as_str()?).ok()?;
        let bytes = [bytes, from_base64(&token["signature"])].concat();
        Some(Self { issuer: from_base64(&token["issuer"]), bytes })
    }

    pub fn to_json(&self) -> Value {
        let (nonce, signature) = self.bytes.split_at(32);
        json!({
            "issuer": base64(&self.issuer),
            "relay": hex::encode(RELAY.as_bytes()),
            "nonce": hex::encode(nonce),
            "message": hex::encode([b"mixnn v1 admission", nonce, RELAY.as_bytes()].concat()),
            "signature": base64(signature),
        })
    }

    /// The token, out of a letter that carries its bytes; checked at the relay's turnstile.
    fn token(&self) -> Token {
        let (keys, _) = keys(Suite::X25519, 9);
        let head = common::forge::head(2, 0, AEAD_TAG, [0; 16], &self.bytes);
        let letter = common::forge::letter(keys.public(), &head, b"", &mut rng(9));
        let Ok(Opened::Deliver { token, .. }) = letter::open(&keys, &letter) else {
            panic!("the letter is for this key")
        };
        let issuer = AdmissionKey::from_der(&self.issuer).unwrap();
        Turnstile::new(RELAY, issuer).spend(&token).unwrap();
        token
    }
}

/// The token's bytes in the head of an X25519 letter, opened with HPKE alone.
fn head_of(keys: &KeyPair, letter: &letter::Letter) -> Vec<u8> {
    use hpke::Deserializable;
    let private = self::keys(keys.public().suite(), 9).1;
    let private = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&private).unwrap();
    let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&letter[2..34]).unwrap();
    let head =
        hpke::single_shot_open::<hpke::aead::AesGcm256, hpke::kdf::HkdfSha256, X25519HkdfSha256>(
            &hpke::OpModeR::Base,
            &private,
            &enc,
            b"mixnn v1 letter\x02",
            &letter[34..34 + 4 + 16 + Token::LEN + AEAD_TAG],
            &letter[..2],
        )
        .unwrap();
    head[20..].to_vec()
}

/// A key pair out of a fixed stream, and its private key: the pair itself never tells it.
fn keys(suite: Suite, part: u8) -> (KeyPair, Vec<u8>) {
    let mut ikm = [0; 32];
    rng(part).fill_bytes(&mut ikm);
    let private = match suite {
        Suite::XWing => XWing::derive_keypair(&ikm).0.to_bytes().to_vec(),
        Suite::X25519 => X25519HkdfSha256::derive_keypair(&ikm).0.to_bytes().to_vec(),
    };
    (KeyPair::generate(suite, &mut rng(part)), private)
}

pub fn letters(token: &TokenVector) -> Value {
    [delivered(Suite::X25519, 20), delivered(Suite::XWing, 22), routed(token)].into()
}

fn delivered(suite: Suite, part: u8) -> Value {
    let (keys, private) = keys(suite, part);
    let content = signed_setup().3;
    let draft = Draft::to(keys.public(), &mut rng(part + 1)).unwrap();
    let exported = hex_of(draft.hop_secret());
    let letter = draft.deliver(None, &content).unwrap().into_letter();
    let Ok(Opened::Deliver { content: found, hop_secret, .. }) = letter::open(&keys, &letter)
    else {
        panic!("the letter is for this key")
    };
    assert_eq!((&found[..], hex_of(&hop_secret)), (&content[..], exported.clone()));
    json!({
        "name": format!("delivered, {suite:?}"),
        "suite": suite.code(),
        "privateKey": hex::encode(private),
        "publicKey": base64(&keys.public().to_bytes()),
        "action": 2,
        "content": hex::encode(&content),
        "hopSecret": exported,
        "letter": base64(&letter[..used(suite, content.len())]),
    })
}

fn used(suite: Suite, text: usize) -> usize {
    2 + suite.enc_len() + 4 + 16 + Token::LEN + AEAD_TAG + text + AEAD_TAG
}

/// A letter that a relay is to forward to a pod.
fn routed(token: &TokenVector) -> Value {
    let suite = Suite::X25519;
    let (relay, relay_private) = keys(suite, 24);
    let (pod, pod_private) = keys(suite, 25);
    let content = b"for the pod";
    let sealed = Draft::to(pod.public(), &mut rng(26)).unwrap().deliver(None, content).unwrap();
    let path = [RelayRef { id: RELAY, key: relay.public().clone() }];
    let mut admit = |_| Some(token.token());
    let letter = letter::route(sealed, POD, &path, &mut rng(27), &mut admit).unwrap();
    let Ok(Opened::Forward { next, letter: inner, .. }) = letter::open(&relay, &letter) else {
        panic!("the relay is to forward")
    };
    assert_eq!(next, POD);
    let inner_used = used(suite, content.len());
    assert!(used(suite, inner_used) < CELL);
    json!({
        "name": "forwarded, then delivered",
        "suite": suite.code(),
        "privateKey": hex::encode(relay_private),
        "publicKey": base64(&relay.public().to_bytes()),
        "action": 1,
        "next": hex::encode(POD.as_bytes()),
        "innerSha256": sha256(&inner[..inner_used]),
        "innerPrivateKey": hex::encode(pod_private),
        "innerContent": hex::encode(content),
        "letter": base64(&letter[..used(suite, inner_used)]),
    })
}
