//! Two colluding layer pods and every relay, with all their keys, against an honest pod's set-up.

#![allow(clippy::unwrap_used)]

mod common;

use common::relay;
use mixnn_protocol::letter::{self, Draft, LetterError, Opened, PodSetup};
use mixnn_protocol::{
    Claim, ClaimKey, KeyPair, NodeId, PublicKey, Secret, Suite, SystemRng, labels,
};

/// A layer pod and the key under which its owner signs.
struct Pod {
    id: NodeId,
    keys: KeyPair,
    owner: ClaimKey,
    last: Option<(u32, u32)>,
}

impl Pod {
    fn new() -> Self {
        let keys = KeyPair::generate(Suite::X25519, &mut SystemRng);
        let owner = ClaimKey::generate(&mut SystemRng);
        Self { id: NodeId::random(&mut SystemRng), keys, owner, last: None }
    }

    fn claim(&self) -> Claim {
        self.owner.claim()
    }

    /// What the owner signs for this pod.
    fn set_up(&self, term: u32, sequence: u32) -> Vec<u8> {
        setup(term, sequence).sign(&self.owner, self.id, self.keys.public()).to_vec()
    }

    /// Takes a letter as a layer pod does.
    fn takes(&mut self, letter: &letter::Letter) -> Result<PodSetup, LetterError> {
        let Opened::Deliver { content, .. } = letter::open(&self.keys, letter)? else {
            panic!("a pod forwards nothing")
        };
        let (claim, key) = (self.claim(), self.keys.public());
        let setup = PodSetup::verify(&content, &claim, self.id, key, self.last)?;
        self.last = Some((setup.term, setup.sequence));
        Ok(setup)
    }
}

fn setup(term: u32, sequence: u32) -> PodSetup {
    PodSetup { term, sequence, layer_key: Secret::random(&mut SystemRng), lanes: Vec::new() }
}

/// Anybody who knows a pod's public key can seal a letter to it.
fn letter_to(key: &PublicKey, content: &[u8]) -> Box<letter::Letter> {
    Draft::to(key, &mut SystemRng).unwrap().deliver(None, content).unwrap().into_letter()
}

#[test]
fn only_the_owners_set_up_for_this_pod_is_accepted() {
    let mut honest = Pod::new();
    let (colluder, partner) = (Pod::new(), Pod::new());
    let key = honest.keys.public().clone();
    let mine = colluder.set_up(9, 0);
    let with_my_key = setup(9, 0).sign(&colluder.owner, honest.id, &key).to_vec();
    let swapped_id = {
        // The owner's own signature, under the honest pod's id.
        let mut bytes = mine.clone();
        bytes[9..25].copy_from_slice(honest.id.as_bytes());
        bytes
    };
    let spliced = {
        let theirs = partner.set_up(9, 0);
        [&mine[..mine.len() - 64], &theirs[theirs.len() - 64..]].concat()
    };
    let unsigned = [&mine[..mine.len() - 64], &[0; 64]].concat();
    for content in [mine, with_my_key, swapped_id, spliced, unsigned, Vec::new(), vec![2; 64]] {
        let refused = honest.takes(&letter_to(&key, &content)).unwrap_err();
        assert_eq!(refused, LetterError::Signature);
    }
    let genuine = honest.set_up(1, 0);
    assert!(honest.takes(&letter_to(&key, &genuine)).is_ok());
}

#[test]
fn an_old_letter_that_a_relay_recorded_is_refused() {
    let mut pod = Pod::new();
    let letters: Vec<_> = [(1, 0), (1, 1), (2, 0)]
        .map(|(term, sequence)| letter_to(pod.keys.public(), &pod.set_up(term, sequence)))
        .into();
    for letter in &letters {
        pod.takes(letter).unwrap();
    }
    for letter in &letters {
        assert!(matches!(pod.takes(letter), Err(LetterError::Stale(..))));
    }
    // Recorded before delivery and delivered after a newer one: never taken up.
    let mut late = Pod::new();
    let withheld = letter_to(late.keys.public(), &late.set_up(1, 0));
    let newer = letter_to(late.keys.public(), &late.set_up(1, 1));
    late.takes(&newer).unwrap();
    assert_eq!(late.takes(&withheld), Err(LetterError::Stale(1, 0)));
}

#[test]
fn a_set_up_for_an_earlier_process_of_the_same_id_is_refused() {
    let old = Pod::new();
    let recorded = old.set_up(1, 0);
    // The id and the claim come back, the key is new: keys die with their process.
    let keys = KeyPair::generate(Suite::X25519, &mut SystemRng);
    let mut new = Pod { keys, ..old };
    let again = letter_to(new.keys.public(), &recorded);
    assert_eq!(new.takes(&again), Err(LetterError::Signature));
}

#[test]
fn a_claim_signs_nothing_else_that_could_pass_for_a_set_up() {
    // The signature is over label, key digest and content: content signed bare does not verify.
    let pod = Pod::new();
    let bytes = pod.set_up(1, 0);
    let (content, signature) = bytes.split_at(bytes.len() - 64);
    assert!(!pod.claim().verifies(content, signature));
    assert!(!pod.claim().verifies(&[labels::POD_SETUP, content].concat(), signature));
}

#[test]
fn a_relay_cannot_put_its_own_content_into_a_letter_it_forwards() {
    let relay = relay(Suite::X25519);
    let mut pod = Pod::new();
    let sealed = Draft::to(pod.keys.public(), &mut SystemRng)
        .unwrap()
        .deliver(None, &pod.set_up(1, 0))
        .unwrap();
    let path = [relay.reference.clone()];
    let mut admit = |id| Some(common::token(id));
    let first = letter::route(sealed, pod.id, &path, &mut SystemRng, &mut admit).unwrap();
    let Ok(Opened::Forward { letter, .. }) = letter::open(&relay.keys, &first) else {
        panic!("the relay is to forward")
    };
    // It knows the inner letter's bytes, and can splice them with those of a letter of its own.
    let own = letter_to(
        pod.keys.public(),
        &setup(9, 9).sign(&ClaimKey::generate(&mut SystemRng), pod.id, pod.keys.public()),
    );
    let body_at = 2 + Suite::X25519.enc_len() + 4 + 16 + mixnn_protocol::Token::LEN + 16;
    for cut in [2, 34, body_at] {
        let mut spliced = own.clone();
        spliced[..cut].copy_from_slice(&letter[..cut]);
        assert!(pod.takes(&spliced).is_err(), "spliced at {cut}");
    }
    assert!(pod.takes(&letter).is_ok());
}
