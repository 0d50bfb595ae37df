//! A port of this machine that leads to one of a Service or pod.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Leads there until it is dropped.
pub struct Forwarded {
    /// On 127.0.0.1.
    pub port: u16,
    process: Child,
    /// Held open: kubectl ends when it can say nothing any more.
    _said: BufReader<ChildStdout>,
}

impl Forwarded {
    /// To a `service/NAME` or `pod/NAME`.
    pub fn to(namespace: &str, target: &str, port: u16) -> Self {
        let mut process = Command::new("kubectl")
            .args(["-n", namespace, "port-forward", target, &format!(":{port}")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        // Forwarding from 127.0.0.1:40123 -> 8443
        let port = line.split(" -> ").next().and_then(|l| l.rsplit(':').next()?.parse().ok());
        let port = port.unwrap_or_else(|| panic!("kubectl port-forward says: {line}"));
        Self { port, process, _said: said }
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
