//! Objects of tests.

use mixnn_crds::{MixNNHost, MixNNModel};
use serde_json::{Value, json};

/// A model of `layers` layers, `relays` relays.
pub fn model(namespace: &str, name: &str, layers: usize, relays: u32) -> MixNNModel {
    model_with(namespace, name, layers, relays, json!({}))
}

/// The same, with more in its spec.
pub fn model_with(
    namespace: &str,
    name: &str,
    layers: usize,
    relays: u32,
    more: Value,
) -> MixNNModel {
    let mut all = vec![
        json!({"name": "first", "ops": [{"flatten": {}}, {"linear": {"in": 784, "out": 10}}]}),
    ];
    all.extend((1..layers).map(
        |i| json!({"name": format!("hidden-{i}"), "ops": [{"linear": {"in": 10, "out": 10}}]}),
    ));
    let mut spec = json!({
        "layers": all,
        "training": {
            "dataset": {"digits": {"train": 100, "test": 10}},
            "batchSize": 10, "epochs": 1, "optimizer": {"sgd": {"lr": 0.1}},
        },
        "relays": {"replicas": relays, "hops": relays.min(3)},
        "podClasses": {"standard": {"resources": {"limits": {"cpu": "100m", "memory": "64Mi"}}}},
    });
    merge(&mut spec, more);
    serde_json::from_value(json!({
        "apiVersion": "mixnn.dev/v1alpha1", "kind": "MixNNModel",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    }))
    .unwrap()
}

/// A host that admits the namespaces with this label value under `owner`.
pub fn host(namespace: &str, admits: &str, more: Value) -> MixNNHost {
    let mut spec = json!({"allowedOwners": {"namespaceSelector": {"matchLabels": {"owner": admits}}}, "maxPods": 32});
    merge(&mut spec, more);
    serde_json::from_value(json!({
        "apiVersion": "mixnn.dev/v1alpha1", "kind": "MixNNHost",
        "metadata": {"name": "mixnn", "namespace": namespace}, "spec": spec,
    }))
    .unwrap()
}

/// Puts what is in `more` over what is in `base`.
pub fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, more) => *base = more,
    }
}
