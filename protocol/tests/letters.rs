//! Letters: what arrives, what every link sees, and why everything else is refused.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Relay, relay, token};
use mixnn_protocol::admission::AdmissionError;
use mixnn_protocol::letter::{self, Draft, Letter, LetterError, Opened};
use mixnn_protocol::sizes::{AEAD_TAG, CELL};
use mixnn_protocol::{KeyPair, NodeId, RelayRef, Suite, SuiteError, SystemRng, Token};
use proptest::prelude::*;

const SUITES: [Suite; 2] = [Suite::XWing, Suite::X25519];
/// Version, suite, action, reserved, body length, next, token, and the two AEAD tags.
const fn overhead(suite: Suite) -> usize {
    2 + suite.enc_len() + 1 + 1 + 2 + 16 + Token::LEN + AEAD_TAG + AEAD_TAG
}

struct Way {
    relays: Vec<Relay>,
    to: Relay,
    /// The letter on each link, as it was sent.
    links: Vec<Box<Letter>>,
}

/// Sends `content` over `hops` relays and opens the letter at each; gives what arrives.
fn send(hops: usize, suite: Suite, content: &[u8]) -> Result<(Way, Vec<u8>), LetterError> {
    let mut relays: Vec<Relay> = (0..hops).map(|_| relay(suite)).collect();
    let path: Vec<RelayRef> = relays.iter().map(|r| r.reference.clone()).collect();
    let to = relay(suite);
    let sealed = Draft::to(to.keys.public(), &mut SystemRng)?.deliver(None, content)?;
    let mut admit = |id| Some(token(id));
    let first = letter::route(sealed, to.reference.id, &path, &mut SystemRng, &mut admit)?;
    let mut links = vec![first];
    for i in 0..hops {
        let Opened::Forward { next, token, letter } =
            letter::open(&relays[i].keys, &links[i]).unwrap()
        else {
            panic!("relay {i} is to forward")
        };
        relays[i].turnstile.spend(&token).unwrap();
        assert_eq!(next, path.get(i + 1).map_or(to.reference.id, |r| r.id));
        links.push(letter);
    }
    let Opened::Deliver { content, .. } = letter::open(&to.keys, &links[hops]).unwrap() else {
        panic!("the letter is for this node")
    };
    Ok((Way { relays, to, links }, content.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn any_content_arrives_over_any_number_of_relays(
        hops in 0..=5_usize,
        x25519: bool,
        size in prop_oneof![Just(0_usize), 0..2000_usize, Just(7000)],
        fill: u8,
    ) {
        let content: Vec<u8> = (0..size).map(|i| fill.wrapping_add(i as u8)).collect();
        let (way, arrived) = send(hops, SUITES[usize::from(x25519)], &content).unwrap();
        prop_assert_eq!(arrived, content);
        prop_assert_eq!(way.links.len(), hops + 1);
    }
}

#[test]
fn the_largest_content_fits_and_one_byte_more_is_refused() {
    for suite in SUITES {
        for hops in [0, 1, 5] {
            let most = CELL - (hops + 1) * overhead(suite);
            assert_eq!(send(hops, suite, &vec![1; most]).unwrap().1.len(), most);
            let refused = send(hops, suite, &vec![1; most + 1]).err().unwrap();
            assert_eq!(refused, LetterError::TooLong(CELL + 1), "{suite:?}, {hops} hops");
        }
    }
}

#[test]
fn no_two_links_of_a_letter_share_eight_bytes() {
    for suite in SUITES {
        let (way, _) = send(5, suite, &[0; 4000]).unwrap();
        for (i, a) in way.links.iter().enumerate() {
            let seen: std::collections::HashSet<&[u8]> = a.windows(8).collect();
            for b in &way.links[i + 1..] {
                assert!(!b.windows(8).any(|w| seen.contains(w)), "{suite:?}, link {i}");
            }
        }
    }
}

/// Which kind of refusal a flip at each place of the used part must meet.
fn refused_as(suite: Suite, at: usize, error: &LetterError) -> bool {
    match error {
        LetterError::Version { .. } => at < 2,
        // A point of X25519 may also be refused before any key comes of it.
        LetterError::Suite(SuiteError::Encapsulation) => (2..2 + suite.enc_len()).contains(&at),
        LetterError::Suite(SuiteError::Open) => (2..overhead(suite) - AEAD_TAG).contains(&at),
        LetterError::Body => at >= overhead(suite) - AEAD_TAG,
        _ => false,
    }
}

#[test]
fn every_flipped_byte_is_refused_except_in_the_fill() {
    for (suite, stride) in [(Suite::X25519, 1), (Suite::XWing, 7)] {
        let content = [7; 64];
        let (way, _) = send(0, suite, &content).unwrap();
        let used = overhead(suite) + content.len();
        for at in (0..used).step_by(stride).chain([1, used - 1]) {
            let mut letter = way.links[0].clone();
            letter[at] ^= 0x10;
            let error = letter::open(&way.to.keys, &letter).err().unwrap();
            assert!(refused_as(suite, at, &error), "{suite:?}, byte {at}: {error}");
        }
        for at in [used, usize::midpoint(used, CELL), CELL - 1] {
            let mut letter = way.links[0].clone();
            letter[at] ^= 0x10;
            let Ok(Opened::Deliver { content: arrived, .. }) = letter::open(&way.to.keys, &letter)
            else {
                panic!("{suite:?}: the fill at {at} is not a part of the letter")
            };
            assert_eq!(arrived[..], content);
        }
    }
}

#[test]
fn what_is_flipped_in_the_fill_does_not_reach_the_next_link() {
    let (way, _) = send(1, Suite::X25519, b"tagged").unwrap();
    let mut letter = way.links[0].clone();
    for at in CELL / 2..CELL {
        letter[at] = 0xaa;
    }
    let Ok(Opened::Forward { letter: next, .. }) = letter::open(&way.relays[0].keys, &letter)
    else {
        panic!("the relay is to forward")
    };
    assert!(!next.windows(4).any(|w| w == [0xaa; 4]), "the relay passed an attacker's mark on");
}

#[test]
fn version_and_suite_are_checked_before_anything_else() {
    for suite in SUITES {
        let (way, _) = send(0, suite, b"x").unwrap();
        for (at, wrong) in [(0, 0), (0, 2), (0, 255), (1, 0), (1, 3 - suite.code()), (1, 255)] {
            let mut letter = way.links[0].clone();
            letter[at] = wrong;
            let error = letter::open(&way.to.keys, &letter).err().unwrap();
            let (version, named) = (letter[0], letter[1]);
            assert_eq!(error, LetterError::Version { version, suite: named, own: suite.code() });
        }
    }
}

#[test]
fn another_nodes_key_opens_nothing() {
    for suite in SUITES {
        let (way, _) = send(1, suite, b"x").unwrap();
        let other = KeyPair::generate(suite, &mut SystemRng);
        for (letter, keys) in
            [(0, &other), (0, &way.to.keys), (1, &other), (1, &way.relays[0].keys)]
        {
            let refused = letter::open(keys, &way.links[letter]).err();
            assert_eq!(refused, Some(LetterError::Suite(SuiteError::Open)));
        }
    }
}

#[test]
fn a_replayed_letter_is_refused_by_its_spent_token() {
    let (mut way, _) = send(2, Suite::X25519, b"once").unwrap();
    for (relay, letter) in way.relays.iter_mut().zip(&way.links) {
        let mut again = letter.clone();
        again[CELL - 1] ^= 1; // other fill, same letter
        let Ok(Opened::Forward { token, .. }) = letter::open(&relay.keys, &again) else {
            panic!("the relay is to forward")
        };
        assert_eq!(relay.turnstile.spend(&token), Err(AdmissionError::Spent));
    }
}

#[test]
fn a_token_admits_to_its_relay_only_and_must_be_the_issuers() {
    let (mut here, mut there) = (relay(Suite::X25519), relay(Suite::X25519));
    let token = token(here.reference.id);
    assert_eq!(there.turnstile.spend(&token), Err(AdmissionError::Invalid));
    assert_eq!(here.turnstile.spend(&token), Ok(()));
    assert_eq!(here.turnstile.spend(&token), Err(AdmissionError::Spent));
    // A letter without a token carries zeros, which no issuer has signed.
    let draft = Draft::to(here.keys.public(), &mut SystemRng).unwrap();
    let letter = draft.deliver(None, b"free").unwrap().into_letter();
    let Ok(Opened::Deliver { token: none, .. }) = letter::open(&here.keys, &letter) else {
        panic!("the letter is for this node")
    };
    assert_eq!(here.turnstile.spend(&none), Err(AdmissionError::Invalid));
}

#[test]
fn a_head_that_says_what_no_sender_says_is_refused() {
    let keys = KeyPair::generate(Suite::X25519, &mut SystemRng);
    let (nowhere, somewhere) = ([0; 16], [1; 16]);
    let open = |action, reserved, length, next| {
        let head = common::forge::head(action, reserved, length, next, &[0; Token::LEN]);
        let letter = common::forge::letter(keys.public(), &head, b"body", &mut SystemRng);
        letter::open(&keys, &letter).map(|_| ())
    };
    let sealed = 4 + AEAD_TAG;
    assert_eq!(open(2, 0, sealed, nowhere), Ok(()));
    assert_eq!(open(1, 0, sealed, somewhere), Ok(()));
    let malformed = |r: Result<(), LetterError>| match r {
        Err(LetterError::Malformed(m)) => m.what,
        other => panic!("{other:?}"),
    };
    assert_eq!(malformed(open(0, 0, sealed, nowhere)), "letter action");
    assert_eq!(malformed(open(3, 0, sealed, nowhere)), "letter action");
    assert_eq!(malformed(open(2, 1, sealed, nowhere)), "reserved byte");
    assert_eq!(malformed(open(2, 0, sealed, somewhere)), "next");
    assert_eq!(malformed(open(2, 0, CELL, nowhere)), "length");
    for length in [0, 1, AEAD_TAG, sealed - 1, sealed + 1] {
        assert_eq!(open(2, 0, length, nowhere), Err(LetterError::Body), "body of {length}");
    }
}

#[test]
fn a_route_without_a_token_is_not_made() {
    let relay = relay(Suite::X25519);
    let sealed =
        Draft::to(relay.keys.public(), &mut SystemRng).unwrap().deliver(None, b"x").unwrap();
    let to = NodeId::random(&mut SystemRng);
    let path = [relay.reference.clone()];
    let refused = letter::route(sealed, to, &path, &mut SystemRng, &mut |_| None).err();
    assert_eq!(refused, Some(LetterError::NoToken(relay.reference.id)));
}
