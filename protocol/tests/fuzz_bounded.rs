//! Every fuzz target for a moment: its seeds, mutated seeds and random bytes, the same in every run.
//!
//! The bodies are those of `fuzz/`; `scripts/fuzz.sh` runs them under libFuzzer.

#![allow(clippy::unwrap_used)]

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use mixnn_protocol::below;
use mixnn_protocol::rand_core::Rng;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use std::panic::catch_unwind;

/// Inputs per target: a second of each, at most.
fn inputs(target: &str) -> usize {
    match target {
        "letter" | "relay" | "receiver" => 2_000,
        "admission_key" | "pod_setup" => 4_000,
        "frame" => 10_000,
        _ => 20_000,
    }
}

/// An input made of the seeds, with up to eight changes; or bytes out of nowhere.
fn input(seeds: &[Vec<u8>], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut data = match below(rng, 8) {
        0 => vec![0; below(rng, 600)],
        _ => seeds[below(rng, seeds.len())].clone(),
    };
    if data.iter().all(|&b| b == 0) {
        rng.fill_bytes(&mut data);
    }
    for _ in 0..below(rng, 9) {
        change(&mut data, seeds, rng);
    }
    data
}

fn change(data: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut ChaCha20Rng) {
    let at = below(rng, data.len() + 1);
    let byte = rng.next_u64() as u8;
    match below(rng, 7) {
        0 => data.truncate(at),
        1 => data.insert(at, byte),
        2 if at < data.len() => drop(data.remove(at)),
        3 if at < data.len() => data[at] = byte,
        4 if at < data.len() => data[at] ^= 1 << (byte & 7),
        5 => {
            let other = &seeds[below(rng, seeds.len())];
            let from = below(rng, other.len() + 1);
            data.truncate(at);
            data.extend_from_slice(&other[from..]);
        }
        _ => {
            let n = below(rng, 9).min(data.len() - at);
            let interesting = [0, 1, 0x7f, 0x80, 0xff];
            data[at..at + n].fill(interesting[below(rng, interesting.len())]);
        }
    }
}

fn hold(names: &[&str]) {
    for name in names {
        let seeds = targets::seeds::of(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        let mut rng = ChaCha20Rng::from_seed([9; 32]);
        let random = (0..inputs(name)).map(|_| input(&seeds, &mut rng));
        for data in seeds.iter().cloned().chain(random) {
            let run = catch_unwind(|| targets::run(name, &data));
            assert!(run.is_ok(), "{name} breaks on {}", hex::encode(&data));
        }
    }
}

#[test]
fn parsers_hold() {
    hold(&[
        "frame",
        "hop_setup",
        "pod_setup",
        "tensor",
        "control",
        "registration",
        "admission_key",
    ]);
}

#[test]
fn letters_hold() {
    hold(&["letter"]);
}

#[test]
fn relays_hold() {
    hold(&["relay"]);
}

#[test]
fn receivers_hold() {
    hold(&["receiver"]);
}

#[test]
fn no_target_is_left_out() {
    assert_eq!(targets::TARGETS.len(), 10);
    for (name, _) in targets::TARGETS {
        let file = format!("{}/../fuzz/fuzz_targets/{name}.rs", env!("CARGO_MANIFEST_DIR"));
        assert!(std::fs::read_to_string(&file).unwrap().contains(&format!("\"{name}\"")), "{file}");
    }
}

#[test]
#[ignore = "writes fuzz/corpus, for scripts/fuzz.sh"]
fn write_seeds() {
    for (name, _) in targets::TARGETS {
        let folder = format!("{}/../fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::create_dir_all(&folder).unwrap();
        for (i, seed) in targets::seeds::of(name).iter().enumerate() {
            std::fs::write(format!("{folder}/seed-{i}"), seed).unwrap();
        }
    }
}
