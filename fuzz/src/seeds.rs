//! Inputs to start from: what the test vectors hold.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../protocol/tests/vectors/mixnn-v1.json")).unwrap()
}

fn each(list: &Value) -> Vec<Value> {
    list.as_array().unwrap().clone()
}

fn hexed(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// Inputs for the target of this name.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let v = vectors();
    let text = |value: &Value| value.to_string().into_bytes();
    match target {
        "frame" => each(&v["frames"]).iter().map(|f| hexed(&f["start"])).collect(),
        "hop_setup" => each(&v["hopSetups"]).iter().map(|s| hexed(&s["bytes"])).collect(),
        "pod_setup" => {
            let signed = hexed(&v["podSetup"]["bytes"]);
            vec![signed[..signed.len() - 64].to_vec()]
        }
        "tensor" => each(&v["tensors"]).iter().map(|t| hexed(&t["bytes"])).collect(),
        "control" => {
            let lists = [&v["control"]["commands"], &v["control"]["reports"]];
            lists.into_iter().flat_map(each).map(|m| text(&m)).collect()
        }
        "registration" => v["registration"].as_object().unwrap().values().map(text).collect(),
        "admission_key" => vec![STANDARD.decode(v["token"]["issuer"].as_str().unwrap()).unwrap()],
        "letter" => letters(&v),
        // Sends, waits and delivers on each link; the second script loses a cell now and then.
        "relay" => [
            scripts(2, &[0, 2, 1, 30, 7, 0, 15, 0, 23, 0, 31, 0]),
            scripts(2, &[0, 2, 7, 0, 3, 0, 7, 0, 15, 0, 15, 0, 23, 0, 23, 0, 31, 0, 31, 0, 1, 90]),
        ]
        .concat(),
        "receiver" => scripts(12, &[0, 0, 1, 1, 1, 0, 0, 9, 0, 0, 0, 0]),
        _ => Vec::new(),
    }
}

/// Letters as they are, and heads and bodies to be sealed.
fn letters(v: &Value) -> Vec<Vec<u8>> {
    let letter = |l: &Value| STANDARD.decode(l["letter"].as_str().unwrap()).unwrap();
    let mut seeds: Vec<Vec<u8>> =
        (0..).zip(each(&v["letters"])).map(|(i, l)| [&[i], &letter(&l)[..]].concat()).collect();
    let setup = hexed(&v["hopSetups"][0]["bytes"]);
    for action in [1, 2] {
        let head = [&[3, action, 0x80][..], &[0; 306]].concat();
        seeds.push([head, setup.clone()].concat());
    }
    seeds
}

/// Scripts of growing length for lanes of every hop count.
fn scripts(step: usize, pattern: &[u8]) -> Vec<Vec<u8>> {
    (0..5)
        .map(|hops| {
            let length = step * 20 * (usize::from(hops) + 1);
            let script = pattern.iter().copied().cycle().take(length);
            std::iter::once(hops).chain(script).collect()
        })
        .collect()
}
