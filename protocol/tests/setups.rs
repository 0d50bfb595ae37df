//! Set-ups: what a relay and a layer pod accept, and what they refuse.

#![allow(clippy::unwrap_used)]

use mixnn_protocol::letter::{
    HopRole, HopSetup, LaneEnd, LetterError, MAX_QUOTA, PodSetup, ReceivingEnd, SendingEnd,
};
use mixnn_protocol::{
    ClaimKey, Cover, Epoch, KeyPair, LaneRole, NodeId, PublicKey, Secret, Suite, SystemRng,
};
use proptest::prelude::*;

fn secret() -> Secret {
    Secret::random(&mut SystemRng)
}

fn hop(role: HopRole) -> HopSetup {
    let next = NodeId::random(&mut SystemRng);
    HopSetup { role, epoch: Epoch(3), quota: 100, idle_seconds: 60, next }
}

#[test]
fn a_hop_set_up_is_read_as_it_was_written() {
    for role in [
        HopRole::Sender { layers: 2 },
        HopRole::Sender { layers: 3 },
        HopRole::Crossing { out_tag: secret() },
        HopRole::Receiver { layers: 1, out_tag: secret() },
        HopRole::Receiver { layers: 2, out_tag: secret() },
        HopRole::Covered { out_tag: secret(), cover: COVER },
    ] {
        let setup = hop(role);
        assert_eq!(HopSetup::from_bytes(&setup.to_bytes()).unwrap(), setup);
    }
}

#[test]
fn a_hop_set_up_out_of_bounds_is_refused() {
    let sender = hop(HopRole::Sender { layers: 2 }).to_bytes();
    let receiver = hop(HopRole::Receiver { layers: 1, out_tag: secret() }).to_bytes();
    let refused = |bytes: &[u8], at: usize, value: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[at..at + value.len()].copy_from_slice(value);
        let refused = HopSetup::from_bytes(&bytes).unwrap_err();
        (refused.what, refused.at)
    };
    assert_eq!(refused(&sender, 0, &[2]), ("content kind", 0));
    assert_eq!(refused(&sender, 1, &[0]).0, "hop role or layers");
    assert_eq!(refused(&sender, 1, &[5]).0, "hop role or layers");
    assert_eq!(refused(&sender, 1, &[4]).0, "length", "a covered crossing says when cells leave");
    for layers in [0, 1, 4, 255] {
        assert_eq!(refused(&sender, 2, &[layers]), ("hop role or layers", 1));
    }
    for layers in [0, 3, 255] {
        assert_eq!(refused(&receiver, 2, &[layers]), ("hop role or layers", 1));
    }
    assert_eq!(refused(&sender, 1, &[2]).0, "hop role or layers", "a crossing of two layers");
    assert_eq!(refused(&sender, 3, &[1]), ("reserved byte", 3));
    assert_eq!(refused(&sender, 8, &0_u32.to_be_bytes()), ("quota", 8));
    assert_eq!(refused(&sender, 8, &(MAX_QUOTA + 1).to_be_bytes()), ("quota", 8));
    assert_eq!(refused(&sender, 63, &[1]), ("out tag", 32), "a sender hop needs no tag key");
    for length in [0, 1, 63] {
        assert!(HopSetup::from_bytes(&sender[..length]).is_err());
    }
    let longer = [&sender[..], &[0]].concat();
    assert_eq!(HopSetup::from_bytes(&longer).unwrap_err().what, "trailing bytes");
}

const COVER: Cover = Cover { period: 1000, start: 100, stop: 200 };

#[test]
fn a_cover_out_of_bounds_is_refused() {
    let good = hop(HopRole::Covered { out_tag: secret(), cover: COVER });
    for cover in [
        Cover { period: Cover::MIN_PERIOD - 1, ..COVER },
        Cover { period: Cover::MAX_PERIOD + 1, ..COVER },
        Cover { stop: COVER.start, ..COVER },
        Cover { stop: COVER.start - 1, ..COVER },
        Cover { stop: COVER.start + Cover::MAX_LIFE + 1, ..COVER },
    ] {
        let role = HopRole::Covered { out_tag: secret(), cover };
        let bytes = HopSetup { role, ..good.clone() }.to_bytes();
        assert_eq!(HopSetup::from_bytes(&bytes).unwrap_err().what, "cover");
    }
    let cut = &good.to_bytes()[..64];
    assert!(HopSetup::from_bytes(cut).is_err());
}

/// A pod, its owner's key, and a set-up that it accepts.
struct Pod {
    owner: ClaimKey,
    id: NodeId,
    keys: KeyPair,
}

impl Pod {
    fn new() -> Self {
        Self {
            owner: ClaimKey::generate(&mut SystemRng),
            id: NodeId::random(&mut SystemRng),
            keys: KeyPair::generate(Suite::X25519, &mut SystemRng),
        }
    }

    fn sign(&self, setup: &PodSetup) -> Vec<u8> {
        setup.sign(&self.owner, self.id, self.keys.public()).to_vec()
    }

    fn verify(&self, bytes: &[u8], last: Option<(u32, u32)>) -> Result<PodSetup, LetterError> {
        PodSetup::verify(bytes, &self.owner.claim(), self.id, self.keys.public(), last)
    }
}

fn send(layers: usize) -> LaneEnd {
    LaneEnd::Send(SendingEnd {
        role: LaneRole::Forward,
        epoch: Epoch(1),
        first: NodeId::random(&mut SystemRng),
        e2e: secret(),
        layers: (0..layers).map(|_| (secret(), secret())).collect(),
        cover: None,
    })
}

fn receive(layers: usize, quota: u32) -> LaneEnd {
    LaneEnd::Receive(ReceivingEnd {
        role: LaneRole::Command,
        epoch: Epoch(1),
        quota,
        e2e: secret(),
        link_tag: secret(),
        layers: (0..layers).map(|_| secret()).collect(),
    })
}

fn setup(term: u32, sequence: u32) -> PodSetup {
    PodSetup { term, sequence, layer_key: secret(), lanes: vec![send(2), receive(2, 9)] }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_pod_set_up_is_read_as_it_was_signed(
        term: u32, sequence: u32,
        sending in prop::collection::vec(1..=3_usize, 0..4),
        receiving in prop::collection::vec((1..=3_usize, 1..=MAX_QUOTA), 0..4),
    ) {
        let pod = Pod::new();
        let lanes: Vec<LaneEnd> = sending
            .into_iter()
            .map(send)
            .chain(receiving.into_iter().map(|(layers, quota)| receive(layers, quota)))
            .collect();
        let setup = PodSetup { term, sequence, layer_key: secret(), lanes };
        prop_assert_eq!(pod.verify(&pod.sign(&setup), None).unwrap(), setup);
    }
}

#[test]
fn every_flipped_bit_of_a_pod_set_up_is_refused() {
    let pod = Pod::new();
    let bytes = pod.sign(&setup(1, 0));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_eq!(pod.verify(&changed, None).unwrap_err(), LetterError::Signature, "byte {at}");
    }
    for length in 0..bytes.len() {
        let cut = &bytes[..length];
        assert_eq!(pod.verify(cut, None).unwrap_err(), LetterError::Signature, "{length} bytes");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(pod.verify(&longer, None).unwrap_err(), LetterError::Signature);
}

#[test]
fn a_set_up_for_another_pod_key_or_claim_is_refused() {
    let (pod, other) = (Pod::new(), Pod::new());
    let setup = setup(1, 0);
    let signed = |claim: &ClaimKey, id: NodeId, key: &PublicKey| {
        pod.verify(&setup.sign(claim, id, key), None)
    };
    assert!(signed(&pod.owner, pod.id, pod.keys.public()).is_ok());
    for refused in [
        signed(&other.owner, pod.id, pod.keys.public()),
        signed(&pod.owner, other.id, pod.keys.public()),
        signed(&pod.owner, pod.id, other.keys.public()),
    ] {
        assert_eq!(refused.unwrap_err(), LetterError::Signature);
    }
}

#[test]
fn term_and_sequence_must_rise() {
    let pod = Pod::new();
    let accepted = |term, sequence, last| pod.verify(&pod.sign(&setup(term, sequence)), last);
    for (term, sequence) in [(5, 3), (5, 2), (5, 0), (4, 9), (0, u32::MAX)] {
        let stale = accepted(term, sequence, Some((5, 3))).unwrap_err();
        assert_eq!(stale, LetterError::Stale(term, sequence));
    }
    for (term, sequence) in [(5, 4), (6, 0), (u32::MAX, u32::MAX)] {
        assert!(accepted(term, sequence, Some((5, 3))).is_ok());
    }
}

#[test]
fn signed_nonsense_is_refused_too() {
    let pod = Pod::new();
    let refused = |lane| {
        let mut bad = setup(1, 0);
        bad.lanes = vec![lane];
        matches!(pod.verify(&pod.sign(&bad), None), Err(LetterError::Malformed(_)))
    };
    assert!(!refused(send(1)) && !refused(receive(3, MAX_QUOTA)));
    assert!(refused(send(0)) && refused(send(4)), "layers of a sending end");
    assert!(refused(receive(0, 1)) && refused(receive(4, 1)), "layers of a receiving end");
    assert!(refused(receive(1, 0)) && refused(receive(1, MAX_QUOTA + 1)), "quota");
}

#[test]
fn a_lane_that_no_relay_would_take_is_not_drawn() {
    use mixnn_protocol::RelayRef;
    use mixnn_protocol::lane::LanePlan;
    let relay = RelayRef {
        id: NodeId::random(&mut SystemRng),
        key: KeyPair::generate(Suite::X25519, &mut SystemRng).public().clone(),
    };
    let draw = |hops: usize, quota: u32| {
        let path = vec![relay.clone(); hops];
        let receiver = NodeId::random(&mut SystemRng);
        let role = LaneRole::Forward;
        let plan = LanePlan {
            role,
            receiver,
            path: &path,
            epoch: Epoch(0),
            quota,
            idle_seconds: 1,
            cover: None,
        };
        plan.draw(&mut SystemRng, &mut |_| None).err().unwrap()
    };
    assert_eq!(draw(0, 1), LetterError::Hops(0));
    assert_eq!(draw(6, 1), LetterError::Hops(6));
    assert_eq!(draw(1, 0), LetterError::Quota(0));
    assert_eq!(draw(1, MAX_QUOTA + 1), LetterError::Quota(MAX_QUOTA + 1));
    assert_eq!(draw(1, 1), LetterError::NoToken(relay.id));
}
