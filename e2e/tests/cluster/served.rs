//! A trained model that is asked, from outside of the cluster by a forwarded port of its Service.

use crate::forwarded::Forwarded;
use crate::kube::{get, kubectl, try_run, until};
use crate::local::mixnn;
use crate::model::{Model, manifest};
use crate::{OWNER, report};
use serde_json::Value;
use std::path::Path;
use std::time::Instant;

const CLIENT: &str = "shop";

/// Asks a served model with the token of a ServiceAccount, and is refused without; turns it off.
pub fn to_those_who_may_ask(model: &Model) {
    let began = Instant::now();
    model.condition("Serving");
    report("Trained to Serving", format!("{:.1} s", began.elapsed().as_secs_f64()));
    kubectl(&["-n", OWNER, "create", "serviceaccount", CLIENT]);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("ca.pem"), model.status("/serving/caBundle")).unwrap();
    std::fs::write(path("model.yaml"), manifest("lenet5").to_string()).unwrap();
    let audience = format!("--audience={}", model.status("/serving/audience"));
    let token = kubectl(&["-n", OWNER, "create", "token", CLIENT, &audience]);
    std::fs::write(path("token"), token).unwrap();
    let forwarded = Forwarded::to(OWNER, "service/lenet5-serving", 8443);
    let url = format!("https://localhost:{}", forwarded.port);

    let without = ask(&url, folder.path(), &[]).unwrap_err();
    assert!(without.contains("401"), "{without}");
    let token = path("token").display().to_string();
    let with = ["--token-file", &token];
    let may_not = ask(&url, folder.path(), &with).unwrap_err();
    assert!(may_not.contains("403") && may_not.contains("mixnn-client"), "{may_not}");
    let bind = ["-n", OWNER, "create", "rolebinding", CLIENT, "--clusterrole=mixnn-client"];
    kubectl(&[&bind[..], &["--serviceaccount=vision:shop"]].concat());
    let answers = until("the client to be let in", || ask(&url, folder.path(), &with).ok());
    let rows: Value = serde_json::from_str(&answers).unwrap();
    let right = |row: &&Value| row["label"] == row["answer"];
    let right = rows.as_array().unwrap().iter().filter(right).count();
    report("answers of the served model", format!("{right} of 20 right"));
    assert!(right >= 15, "{answers}");
    drop(forwarded);

    let off = r#"{"spec":{"serving":{"enabled":false}}}"#;
    kubectl(&["-n", OWNER, "patch", "mixnn", "lenet5", "--type=merge", "-p", off]);
    until("Service and layers to go", || {
        let layers = get(&["pods", "-A", "-l", "mixnn.dev/pod=layer"]);
        let service = try_run("kubectl", &["-n", OWNER, "get", "service", "lenet5-serving"], "");
        (layers["items"].as_array()?.is_empty() && service.is_err()).then_some(())
    });
}

/// Twenty samples of the test set.
fn ask(url: &str, folder: &Path, more: &[&str]) -> Result<String, String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let (model, ca) = (file("model.yaml"), file("ca.pem"));
    let args = ["predict", "-f", &model, "-n", "20", "--split", "test", "-o", "json", "--url", url];
    try_run(&mixnn(), &[&args[..], &["--ca", &ca], more].concat(), "")
}
