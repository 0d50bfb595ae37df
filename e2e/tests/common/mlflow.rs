//! MLflow's own tracking server, for as long as a test wants it.

use super::served::ask;
use serde_json::Value;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// For it to be fetched and to start on a machine that is busy.
const START: Duration = Duration::from_secs(900);

/// Ends with this value.
pub struct Tracking {
    child: Child,
    address: SocketAddr,
}

impl Tracking {
    /// Starts one that keeps its runs in a folder; `None`, said aloud, where it cannot be had.
    pub fn start(folder: &Path) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/mlflow-server.sh");
        let child = Command::new(script)
            .arg(address.port().to_string())
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut tracking = Self { child, address };
        let begun = Instant::now();
        while tracking.ask("GET", "experiments/get?experiment_id=0", "").is_none() {
            assert!(begun.elapsed() < START, "no MLflow server after {START:?}");
            if let Some(status) = tracking.child.try_wait().unwrap() {
                assert_eq!(status.code(), Some(3), "scripts/mlflow-server.sh has ended");
                let _ = std::io::Write::write_all(
                    &mut std::io::stderr(),
                    b"SKIPPED: MLflow: scripts/mlflow-server.sh cannot have it\n",
                );
                return None;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Some(tracking)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn ask(&self, method: &str, call: &str, body: &str) -> Option<Value> {
        let path = format!("/api/2.0/mlflow/{call}");
        let answer = ask(self.address, method, &path, body.as_bytes())?;
        (answer.status == 200).then(|| answer.json())
    }

    /// The runs of an experiment, by name.
    pub fn runs(&self, experiment: &str) -> Vec<Value> {
        let call = format!("experiments/get-by-name?experiment_name={experiment}");
        let found = self.ask("GET", &call, "").unwrap();
        let id = &found["experiment"]["experiment_id"];
        let wanted =
            format!(r#"{{"experiment_ids": [{id}], "order_by": ["attributes.run_name"]}}"#);
        let found = self.ask("POST", "runs/search", &wanted).unwrap();
        found["runs"].as_array().cloned().unwrap_or_default()
    }

    /// The steps at which a run has a point of the curve, as they were told.
    pub fn steps(&self, run: &Value, curve: &str) -> Vec<u64> {
        let id = run["info"]["run_id"].as_str().unwrap();
        let key = curve.replace('/', "%2F");
        let call = format!("metrics/get-history?run_id={id}&metric_key={key}");
        let found = self.ask("GET", &call, "").unwrap();
        let metrics = found["metrics"].as_array().unwrap();
        let step = |m: &Value| m["step"].as_u64().or_else(|| m["step"].as_str()?.parse().ok());
        metrics.iter().map(|m| step(m).unwrap()).collect()
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
