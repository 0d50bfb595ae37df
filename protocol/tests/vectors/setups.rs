//! What relays and layer pods are told.

use crate::own::{hex_of, rng, secret};
use mixnn_protocol::letter::{HopRole, HopSetup, LaneEnd, PodSetup, ReceivingEnd, SendingEnd};
use mixnn_protocol::rand_core::Rng;
use mixnn_protocol::{ClaimKey, Cover, Epoch, KeyPair, LaneRole, NodeId, Suite};
use serde_json::{Value, json};

const EPOCH: Epoch = Epoch(0x0102_0304);

const COVER: Cover = Cover { period: 1000, start: 1_800_000_000, stop: 1_800_000_900 };

fn told(cover: Option<Cover>) -> Value {
    cover.map_or(Value::Null, |c| json!({"period": c.period, "start": c.start, "stop": c.stop}))
}

fn node(n: u8) -> NodeId {
    NodeId::from_bytes(std::array::from_fn(|i| n + i as u8))
}

pub fn hop_setups() -> Value {
    let one = |role: HopRole| {
        let setup = HopSetup { role, epoch: EPOCH, quota: 96, idle_seconds: 60, next: node(0x10) };
        let (name, layers, out_tag) = match &setup.role {
            HopRole::Sender { layers } => (1, *layers, None),
            HopRole::Crossing { out_tag } => (2, 1, Some(out_tag)),
            HopRole::Receiver { layers, out_tag } => (3, *layers, Some(out_tag)),
            HopRole::Covered { out_tag, .. } => (4, 1, Some(out_tag)),
        };
        json!({
            "role": name,
            "layers": layers,
            "epoch": EPOCH.0,
            "quota": setup.quota,
            "idleSeconds": setup.idle_seconds,
            "next": hex::encode(setup.next.as_bytes()),
            "outTag": out_tag.map(hex_of),
            "cover": match setup.role {
                HopRole::Covered { cover, .. } => told(Some(cover)),
                _ => Value::Null,
            },
            "bytes": hex::encode(&setup.to_bytes()[..]),
        })
    };
    [
        one(HopRole::Sender { layers: 3 }),
        one(HopRole::Crossing { out_tag: secret(5, 0) }),
        one(HopRole::Receiver { layers: 2, out_tag: secret(5, 1) }),
        one(HopRole::Covered { out_tag: secret(5, 2), cover: COVER }),
    ]
    .into()
}

/// A set-up as a pod gets it, with one lane each way, and one under cover.
pub fn signed_setup() -> (PodSetup, ClaimKey, KeyPair, Vec<u8>) {
    let sending = SendingEnd {
        role: LaneRole::Forward,
        epoch: EPOCH,
        first: node(0x20),
        e2e: secret(6, 0),
        layers: vec![(secret(6, 1), secret(6, 2)), (secret(6, 3), secret(6, 4))],
        cover: None,
    };
    let covered = SendingEnd { role: LaneRole::Report, cover: Some(COVER), ..sending.clone() };
    let receiving = ReceivingEnd {
        role: LaneRole::Command,
        epoch: EPOCH,
        quota: 96,
        e2e: secret(6, 5),
        link_tag: secret(6, 6),
        layers: vec![secret(6, 7), secret(6, 8)],
    };
    let lanes = vec![LaneEnd::Send(sending), LaneEnd::Receive(receiving), LaneEnd::Send(covered)];
    let setup = PodSetup { term: 3, sequence: 1, layer_key: secret(6, 9), lanes };
    let claim = ClaimKey::generate(&mut rng(6));
    let keys = KeyPair::generate(Suite::X25519, &mut rng(7));
    let bytes = setup.sign(&claim, node(0x30), keys.public()).to_vec();
    (setup, claim, keys, bytes)
}

pub fn pod_setup() -> Value {
    let (setup, claim, keys, bytes) = signed_setup();
    let (pod, key) = (node(0x30), keys.public());
    assert_eq!(PodSetup::verify(&bytes, &claim.claim(), pod, key, None).unwrap(), setup);
    let mut seed = [0; 32];
    rng(6).fill_bytes(&mut seed);
    let lane = |end: &LaneEnd| match end {
        LaneEnd::Send(end) => json!({
            "direction": if end.cover.is_some() { 2 } else { 0 },
            "role": end.role as u8,
            "epoch": end.epoch.0,
            "first": hex::encode(end.first.as_bytes()),
            "e2e": hex_of(&end.e2e),
            "layers": end.layers.iter().map(|(t, o)| [hex_of(t), hex_of(o)]).collect::<Vec<_>>(),
            "cover": told(end.cover),
        }),
        LaneEnd::Receive(end) => json!({
            "direction": 1,
            "role": end.role as u8,
            "epoch": end.epoch.0,
            "quota": end.quota,
            "e2e": hex_of(&end.e2e),
            "linkTag": hex_of(&end.link_tag),
            "layers": end.layers.iter().map(hex_of).collect::<Vec<_>>(),
        }),
    };
    json!({
        "claimSeed": hex::encode(seed),
        "claim": claim.claim(),
        "pod": hex::encode(pod.as_bytes()),
        "podPublicKey": hex::encode(key.to_bytes()),
        "term": setup.term,
        "sequence": setup.sequence,
        "layerKey": hex_of(&setup.layer_key),
        "lanes": setup.lanes.iter().map(lane).collect::<Vec<_>>(),
        "bytes": hex::encode(bytes),
    })
}
