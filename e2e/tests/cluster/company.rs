//! Models that hide behind each other.

use crate::kube::{kubectl, until};
use crate::local::compare;
use crate::model::{Model, manifest, owner_secret};
use crate::platform::{self, Platform};
use crate::{OWNER, PLATFORM, delete_one, report};
use serde_json::{Map, Value, json};
use std::time::Instant;

const OTHER: &str = "speech";
/// Passes: long enough for both to train at the same time.
const EPOCHS: u32 = 3;

/// Two models of two owners train at once over one pool of relays: each comes to the weights of its own reference, and
/// says in how large a company it is.
pub fn of_two_owners(platform: &Platform) {
    platform::owner(OTHER);
    // Hosts take the platform's relays as they take an owner's pods.
    kubectl(&["label", "namespace", PLATFORM, "mixnn=allowed"]);
    platform.share_relays(4);
    let owners = [(OWNER, "left"), (OTHER, "right")];
    let truths = owners.map(|(namespace, name)| {
        let mut manifest = manifest(namespace, name);
        shared(manifest["spec"].as_object_mut().unwrap());
        // On this machine it has relays of its own: which they are changes no bit.
        manifest["spec"]["relays"]["shared"] = false.into();
        compare(&manifest, &owner_secret(namespace))
    });
    let began = Instant::now();
    let models = owners.map(|(namespace, name)| Model::apply_with(namespace, name, shared));
    for model in &models {
        until("two models in the pool", || {
            let object = model.object();
            let privacy = object.pointer("/status/privacy")?;
            (privacy["modelsInPool"] == 2 && privacy["relays"] == 4).then_some(())
        });
    }
    report("models of two owners in one pool, says status.privacy", 2);
    // One of the ten layers is lost, whosever it is.
    for model in &models {
        model.reach(20);
    }
    delete_one("layer");
    for (model, truth) in models.iter().zip(&truths) {
        assert_eq!(model.outcome().digest, truth.digest);
    }
    report(
        "two models over one pool, both Trained",
        format!("{:.0} s", began.elapsed().as_secs_f64()),
    );
    models.iter().for_each(Model::delete);
    platform.share_relays(0);
    kubectl(&["delete", "namespace", OTHER, "--timeout=300s"]);
}

/// What differs from the model of the other steps.
fn shared(spec: &mut Map<String, Value>) {
    spec["training"]["epochs"] = EPOCHS.into();
    spec.insert("relays".into(), json!({"hops": 3, "shared": true}));
    spec.insert("serving".into(), json!({"enabled": false}));
}
