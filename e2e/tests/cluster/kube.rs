//! kubectl, and waiting.

use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// After so long a wait is given up: that something hangs is found, how long it takes is not judged.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(500);

/// What a command printed, or what it complained of.
pub fn try_run(program: &str, args: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}; run this by `make e2e`"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// What a command printed; it must succeed.
pub fn run(program: &str, args: &[&str], input: &str) -> String {
    try_run(program, args, input).unwrap_or_else(|e| panic!("{program} {}: {e}", args.join(" ")))
}

/// What kubectl printed.
pub fn kubectl(args: &[&str]) -> String {
    run("kubectl", args, "")
}

/// Applies manifests.
pub fn apply(manifests: &str) {
    run("kubectl", &["apply", "-f", "-"], manifests);
}

/// Where a pod is.
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The node that it runs on.
    pub node: String,
    /// Its address.
    pub ip: String,
}

impl Place {
    /// Of a pod that runs.
    pub fn of(pod: &Value) -> Self {
        let text = |pointer| field(pod, pointer).to_owned();
        let place = Self {
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            node: text("/spec/nodeName"),
            ip: text("/status/podIP"),
        };
        assert!(!place.ip.is_empty(), "{} has no address", place.name);
        place
    }

    /// Of all pods of a selector, in all namespaces.
    pub fn all(selector: &str) -> Vec<Self> {
        pods(selector).iter().map(Self::of).collect()
    }
}

/// Pods of MixNN in all namespaces, by a selector.
pub fn pods(selector: &str) -> Vec<Value> {
    let Value::Array(pods) = get(&["pods", "-A", "-l", selector])["items"].take() else {
        panic!("a list of pods has no items")
    };
    pods
}

/// An object or a list.
pub fn get(args: &[&str]) -> Value {
    let args = [&["get", "-o", "json"], args].concat();
    serde_json::from_str(&kubectl(&args)).unwrap()
}

/// A text within an object, by JSON pointer; empty if it is not there.
pub fn field<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Waits until `look` sees it.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "waited for {what} in vain");
        std::thread::sleep(LOOK);
    }
}
