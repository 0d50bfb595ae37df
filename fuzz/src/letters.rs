//! Letters: raw bytes, and well-sealed ones with any head and body.

use super::forge;
use mixnn_protocol::letter::{self, HopSetup, Letter, Opened};
use mixnn_protocol::sizes::{AEAD_TAG, CELL};
use mixnn_protocol::{KeyPair, Suite, Token, VERSION};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use std::sync::OnceLock;

fn keys(suite: Suite) -> &'static KeyPair {
    static KEYS: OnceLock<[KeyPair; 2]> = OnceLock::new();
    let make = |suite| KeyPair::generate(suite, &mut ChaCha20Rng::from_seed([2; 32]));
    let [xwing, x25519] = KEYS.get_or_init(|| [Suite::XWing, Suite::X25519].map(make));
    match suite {
        Suite::XWing => xwing,
        Suite::X25519 => x25519,
    }
}

/// The first byte says which kind of letter the rest becomes.
pub fn letter(data: &[u8]) {
    let Some((&how, rest)) = data.split_first() else { return };
    match how % 4 {
        0 => raw(Suite::XWing, rest, false),
        1 => raw(Suite::X25519, rest, false),
        2 => raw(Suite::X25519, rest, true),
        _ => sealed(rest),
    }
}

fn raw(suite: Suite, data: &[u8], well_begun: bool) {
    let mut letter: Box<Letter> = Box::new([0; CELL]);
    let n = data.len().min(CELL);
    letter[..n].copy_from_slice(&data[..n]);
    if well_begun {
        letter[..2].copy_from_slice(&[VERSION, suite.code()]);
    }
    assert!(letter::open(keys(suite), &letter).is_err(), "nobody sealed this letter");
}

const HEAD: usize = 4 + 16 + Token::LEN;

/// A head of any bytes over a body of any bytes, sealed as the protocol says.
fn sealed(data: &[u8]) {
    let mut head = [0; HEAD];
    let n = data.len().min(HEAD);
    head[..n].copy_from_slice(&data[..n]);
    let body = &data[n..data.len().min(CELL / 2)];
    // Half of the inputs say how long their body is.
    if head[1] & 0x80 != 0 {
        head[1] = 0;
        head[2..4].copy_from_slice(&((body.len() + AEAD_TAG) as u16).to_be_bytes());
    }
    let keys = keys(Suite::X25519);
    let letter = forge::letter(keys.public(), &head, body, &mut ChaCha20Rng::from_seed([3; 32]));
    match letter::open(keys, &letter) {
        Ok(Opened::Deliver { content, .. }) => {
            assert_eq!((head[0], &content[..]), (2, body));
            let _ = HopSetup::from_bytes(&content);
        }
        Ok(Opened::Forward { next, letter, .. }) => {
            assert_eq!((head[0], next.as_bytes()), (1, &head[4..20].try_into().unwrap()));
            assert_eq!(letter[..body.len()], *body);
        }
        Err(_) => {}
    }
}
