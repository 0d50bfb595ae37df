//! Cells and letters made by hand from keys, as `docs/protocol.md` lays them out.
//!
//! It shares no code with the crate but [`Secret::derive`] and the labels: what these functions make
//! is what a peer with those keys can make, honest or not.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeS, Serializable};
use mixnn_protocol::cell::TagKey;
use mixnn_protocol::frame::FrameHeader;
use mixnn_protocol::letter::Letter;
use mixnn_protocol::rand_core::CryptoRng;
use mixnn_protocol::sizes::{AEAD_TAG, CELL, FRAME, FRAME_HEADER, LINK_TAG};
use mixnn_protocol::{Cell, Epoch, PublicKey, Secret, VERSION, labels};

/// The mark of a cell that carries a frame.
pub const REAL: u8 = 0;
/// The mark of the crossing relay's own dummy.
pub const DUMMY: u8 = 1;

fn key(secret: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, secret).unwrap())
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn aad(epoch: Epoch) -> Aad<[u8; 5]> {
    let [a, b, c, d] = epoch.0.to_be_bytes();
    Aad::from([VERSION, a, b, c, d])
}

/// `tag(16) ciphertext` under generation 0 of `secret`.
pub fn seal(secret: &Secret, epoch: Epoch, number: u64, text: &[u8]) -> Vec<u8> {
    let key = key(secret.derive(labels::GENERATION_KEY).expose());
    let mut ciphertext = text.to_vec();
    let tag = key.seal_in_place_separate_tag(nonce(number), aad(epoch), &mut ciphertext).unwrap();
    [tag.as_ref(), &ciphertext].concat()
}

/// What [`seal`] sealed, if these are its key, epoch and number.
pub fn open(secret: &Secret, epoch: Epoch, number: u64, sealed: &[u8]) -> Option<Vec<u8>> {
    let key = key(secret.derive(labels::GENERATION_KEY).expose());
    let (tag, ciphertext) = sealed.split_at(AEAD_TAG);
    let mut text = vec![0; ciphertext.len()];
    key.open_separate_gather(nonce(number), aad(epoch), ciphertext, tag, &mut text).ok()?;
    Some(text)
}

/// A frame of 16,264 bytes.
pub fn frame(header: &FrameHeader, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; FRAME];
    header.write((&mut frame[..FRAME_HEADER]).try_into().unwrap());
    frame[FRAME_HEADER..FRAME_HEADER + data.len()].copy_from_slice(data);
    frame
}

/// `F`: a frame sealed end to end, 16,288 bytes.
pub fn sealed_frame(e2e: &Secret, epoch: Epoch, number: u64, frame: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &seal(e2e, epoch, number, frame)].concat()
}

/// A cell of the sender half: `layers` as in `SendingEnd`, the first hop first.
pub fn sender_cell(
    layers: &[(Secret, Secret)],
    epoch: Epoch,
    number: u64,
    sealed: &[u8],
) -> Box<Cell> {
    let wrapped = layers.iter().rev().fold(sealed.to_vec(), |inner, (tag, open)| {
        [&TagKey::new(tag).tag(number)[..], &seal(open, epoch, number, &inner)].concat()
    });
    filled(wrapped)
}

/// A cell of the receiver half: `seals` as in `ReceivingEnd`, the last relay first.
pub fn receiver_cell(
    link_tag: &Secret,
    seals: &[Secret],
    epoch: Epoch,
    number: u64,
    mark: u8,
    sealed: &[u8],
) -> Box<Cell> {
    let marked = [&[mark], sealed].concat();
    let wrapped =
        seals.iter().rev().fold(marked, |inner, secret| seal(secret, epoch, number, &inner));
    filled([&TagKey::new(link_tag).tag(number)[..], &wrapped].concat())
}

/// What the crossing relay finds in a cell that it opens: `F`.
pub fn crossing_opens(hop: &Secret, epoch: Epoch, number: u64, cell: &Cell) -> Option<Vec<u8>> {
    let sealed_frame = mixnn_protocol::sizes::SEALED_FRAME;
    open(&hop.hop_open(), epoch, number, &cell[LINK_TAG..LINK_TAG + AEAD_TAG + sealed_frame])
}

fn filled(mut used: Vec<u8>) -> Box<Cell> {
    used.resize(CELL, 0x5a);
    used.into_boxed_slice().try_into().unwrap()
}

/// A letter with this head and body, well sealed for the holder of an X25519 key.
pub fn letter(to: &PublicKey, head: &[u8], body: &[u8], rng: &mut impl CryptoRng) -> Box<Letter> {
    let start = [VERSION, to.suite().code()];
    let info = [labels::LETTER_INFO, &start[1..]].concat();
    let to = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&to.to_bytes()).unwrap();
    let (enc, mut context) =
        hpke::setup_sender_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &to,
            &info,
            rng,
        )
        .unwrap();
    let mut body_key = [0; 32];
    context.export(labels::LETTER_BODY, &mut body_key).unwrap();
    let mut sealed_body = body.to_vec();
    key(&body_key).seal_in_place_append_tag(nonce(0), Aad::empty(), &mut sealed_body).unwrap();
    let head = context.seal(head, &start).unwrap();
    filled([&start[..], &enc.to_bytes(), &head, &sealed_body].concat())
}

/// `action(1) reserved(1) body length(2) next(16) token(288)`.
pub fn head(action: u8, reserved: u8, body: usize, next: [u8; 16], token: &[u8]) -> Vec<u8> {
    let length = (body as u16).to_be_bytes();
    [&[action, reserved], &length[..], &next, token].concat()
}
