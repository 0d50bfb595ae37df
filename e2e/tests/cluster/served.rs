//! A trained model that is asked, from outside of the cluster by a forwarded port of its Service.

use crate::forwarded::Forwarded;
use crate::kube::{get, kubectl, try_run, until};
use crate::local::{OneProcess, Truth, mixnn};
use crate::model::Model;
use crate::{OWNER, report};
use serde_json::Value;
use std::time::Instant;

const CLIENT: &str = "shop";

/// Asks a served model with the token of a ServiceAccount, and is refused without; turns it off. Its answers have the
/// bits of one process that serves the weights of one process.
pub fn to_those_who_may_ask(model: &Model, truth: &Truth) {
    let began = Instant::now();
    model.condition("Serving");
    report("Trained to Serving", format!("{:.1} s", began.elapsed().as_secs_f64()));
    kubectl(&["-n", OWNER, "create", "serviceaccount", CLIENT]);
    let (ca, token) = (truth.path("ca.pem"), truth.path("token"));
    std::fs::write(&ca, model.status("/serving/caBundle")).unwrap();
    let audience = format!("--audience={}", model.status("/serving/audience"));
    std::fs::write(&token, kubectl(&["-n", OWNER, "create", "token", CLIENT, &audience])).unwrap();
    let forwarded = Forwarded::to(OWNER, "service/lenet5-serving", 8443);
    let url = format!("https://localhost:{}", forwarded.port);

    let without = ask(&url, truth, &["--ca", &ca]).unwrap_err();
    assert!(without.contains("401"), "{without}");
    let with = ["--ca", &ca, "--token-file", &token];
    let may_not = ask(&url, truth, &with).unwrap_err();
    assert!(may_not.contains("403") && may_not.contains("mixnn-client"), "{may_not}");
    let bind = ["-n", OWNER, "create", "rolebinding", CLIENT, "--clusterrole=mixnn-client"];
    kubectl(&[&bind[..], &["--serviceaccount=vision:shop"]].concat());
    let rows = until("the client to be let in", || ask(&url, truth, &with).ok());
    let right = |row: &&Value| row["label"] == row["answer"];
    let right = rows.iter().filter(right).count();
    report("answers of the served model", format!("{right} of 20 right"));
    assert!(right >= 15, "{rows:?}");
    drop(forwarded);
    let outputs =
        |rows: &[Value]| rows.iter().map(|row| row["outputs"].clone()).collect::<Vec<_>>();
    let one = OneProcess::serving(truth);
    assert_eq!(outputs(&rows), outputs(&ask(&one.url, truth, &[]).unwrap()));
    report("answers of the served model", "those of one process");

    let off = r#"{"spec":{"serving":{"enabled":false}}}"#;
    kubectl(&["-n", OWNER, "patch", "mixnn", "lenet5", "--type=merge", "-p", off]);
    until("Service and layers to go", || {
        let layers = get(&["pods", "-A", "-l", "mixnn.dev/pod=layer"]);
        let service = try_run("kubectl", &["-n", OWNER, "get", "service", "lenet5-serving"], "");
        (layers["items"].as_array()?.is_empty() && service.is_err()).then_some(())
    });
}

/// Answers to twenty samples of the test set.
fn ask(url: &str, truth: &Truth, more: &[&str]) -> Result<Vec<Value>, String> {
    let file = truth.path("model.yaml");
    let args = ["predict", "-f", &file, "-n", "20", "--split", "test", "-o", "json", "--url", url];
    let rows = try_run(&mixnn(), &[&args[..], more].concat(), "")?;
    Ok(serde_json::from_str(&rows).unwrap())
}
