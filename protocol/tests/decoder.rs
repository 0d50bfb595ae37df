//! Runs the independent decoder of `decoder/`, in Python, over the test vectors.
//!
//! It needs python3 with pip, and once the package registry. Where that is missing the tests are
//! skipped, and say so; with `MIXNN_REQUIRE_ALL=1` they fail instead.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
const WORK: &str = env!("CARGO_TARGET_TMPDIR");

/// The folder with the decoder's packages, or why there is none.
fn packages() -> Option<&'static Path> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOLDER.get_or_init(install) {
        Ok(folder) => Some(folder),
        Err(why) if std::env::var("MIXNN_REQUIRE_ALL").is_ok_and(|v| v == "1") => {
            panic!("MIXNN_REQUIRE_ALL=1, but the independent decoder cannot run: {why}")
        }
        Err(why) => {
            // Not eprintln: the test harness would keep it to itself.
            let text = format!("\nSKIPPED: THE INDEPENDENT DECODER DID NOT RUN: {why}\n");
            let _ = std::io::stderr().write_all(text.as_bytes());
            None
        }
    }
}

/// Installs the pinned packages into a folder of their own, once.
fn install() -> Result<PathBuf, String> {
    let folder = Path::new(WORK).join("decoder-packages");
    let requirements = format!("{TESTS}/decoder/requirements.txt");
    let wanted = std::fs::read(&requirements).map_err(|e| e.to_string())?;
    let stamp = folder.join("requirements.txt");
    if std::fs::read(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(folder);
    }
    let _ = std::fs::remove_dir_all(&folder);
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--require-hashes", "--only-binary", ":all:", "--no-deps"])
        .args(["--requirement", &requirements, "--target"])
        .arg(&folder)
        .output()
        .map_err(|e| format!("python3: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    std::fs::write(stamp, wanted).map_err(|e| e.to_string())?;
    Ok(folder)
}

fn decode(packages: &Path, vectors: &Path) -> Output {
    Command::new("python3")
        .arg(format!("{TESTS}/decoder/check.py"))
        .arg(vectors)
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap()
}

fn vectors() -> PathBuf {
    Path::new(TESTS).join("vectors/mixnn-v1.json")
}

#[test]
fn an_independent_implementation_reads_the_vectors() {
    let Some(packages) = packages() else { return };
    let output = decode(packages, &vectors());
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{failed}");
    assert!(said.starts_with("14 parts hold"), "{said}");
}

/// Changes one character in the middle of a text.
fn spoil(value: &mut Value) {
    let text = value.as_str().expect("a text to spoil");
    let middle = text.len() / 2;
    let other = if text.as_bytes()[middle] == b'0' { "1" } else { "0" };
    *value = format!("{}{other}{}", &text[..middle], &text[middle + 1..]).into();
}

/// One place in each part, or more where several layouts meet.
const PLACES: [&str; 22] = [
    "/labels/hopTag",
    "/hopSecrets/1/seal",
    "/linkTags/3/tag",
    "/ratchet/generations/2/key",
    "/ratchet/cells/4/sha256",
    "/lanes/0/dummy/links/0/sha256",
    "/lanes/1/e2e",
    "/lanes/2/messages/0/cells/0/links/0/bytes",
    "/lanes/2/messages/0/cells/0/links/3/bytes",
    "/lanes/3/messages/1/cells/1/links/5/sha256",
    "/lanes/3/hopSecrets/4",
    "/frames/1/start",
    "/tensors/0/bytes",
    "/control/commands/1",
    "/registration/registration/publicKey",
    "/hopSetups/2/bytes",
    "/podSetup/bytes",
    "/podSetup/claim",
    "/token/signature",
    "/letters/0/letter",
    "/letters/1/letter",
    "/letters/2/letter",
];

#[test]
fn it_refuses_vectors_that_were_spoilt() {
    let Some(packages) = packages() else { return };
    let good: Value = serde_json::from_slice(&std::fs::read(vectors()).unwrap()).unwrap();
    let file = Path::new(WORK).join("spoilt.json");
    let refused = |spoilt: &Value, place: &str| {
        std::fs::write(&file, spoilt.to_string()).unwrap();
        let output = decode(packages, &file);
        let said = String::from_utf8_lossy(&output.stdout);
        let part = place.split('/').nth(1).unwrap();
        assert_eq!(output.status.code(), Some(1), "{place} was spoilt, and accepted: {said}");
        assert!(said.starts_with(&format!("{part}:")), "{place} was spoilt: {said}");
    };
    for place in PLACES {
        let mut spoilt = good.clone();
        spoil(spoilt.pointer_mut(place).unwrap());
        refused(&spoilt, place);
    }
    // A good frame among those that must be refused, and a part that is missing.
    let mut spoilt = good.clone();
    spoilt["refusedFrames"][0]["start"] = good["frames"][1]["start"].clone();
    refused(&spoilt, "/refusedFrames");
    let mut spoilt = good.clone();
    spoilt.as_object_mut().unwrap().remove("token");
    refused(&spoilt, "/parts");
}
