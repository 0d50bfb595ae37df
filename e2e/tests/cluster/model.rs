//! A model in the owner's namespace.

use crate::OWNER;
use crate::kube::{apply, field, get, kubectl, try_run, until};
use serde_json::{Map, Value, json};

/// Enough steps for every disturbance.
const SAMPLES: u64 = 6000;
const EPOCHS: u64 = 8;
const BATCH: u64 = 64;

/// Steps in all.
pub const fn steps() -> i64 {
    (EPOCHS * SAMPLES.div_ceil(BATCH)).cast_signed()
}

/// What a training came to.
pub struct Outcome {
    /// Keyed digest of the weights.
    pub digest: String,
    /// Median.
    pub step_ms: f64,
}

/// `examples/lenet5.yaml`, on fewer samples, in pods that fit a small machine.
pub fn manifest(namespace: &str, name: &str) -> Value {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/lenet5.yaml"));
    // kubectl reads YAML; nothing is sent.
    let text = crate::kube::run(
        "kubectl",
        &["create", "--dry-run=client", "--validate=false", "-o", "json", "-f", "-"],
        &text.unwrap(),
    );
    let mut model: Value = serde_json::from_str(&text).unwrap();
    model["metadata"] = json!({"name": name, "namespace": namespace});
    let spec = &mut model["spec"];
    spec["training"]["dataset"]["digits"] = json!({"train": SAMPLES, "test": 500});
    spec["training"]["epochs"] = EPOCHS.into();
    spec["training"]["seedFrom"] =
        json!({"secretKeyRef": {"name": "owner-secret", "key": "owner-secret"}});
    spec["podClasses"] =
        json!({"standard": {"resources": {"limits": {"cpu": "200m", "memory": "512Mi"}}}});
    // Five layers on four hosts, and room for a replacement.
    spec["placement"] = json!({"maxLayersPerHost": 2});
    spec["checkpoints"] =
        json!({"everySteps": 20, "store": {"persistentVolumeClaim": {"claimName": name}}});
    // One of them is served as soon as it is trained.
    spec["serving"] = json!({"enabled": name == "lenet5"});
    model
}

/// 64 hexadecimal digits, as a Secret of the owner's too.
pub fn owner_secret(namespace: &str) -> String {
    let secret = std::fs::read_to_string("/proc/sys/kernel/random/uuid")
        .unwrap()
        .replace(['-', '\n'], "")
        .repeat(2);
    apply(
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "owner-secret", "namespace": namespace},
            "stringData": {"owner-secret": secret}})
        .to_string(),
    );
    secret
}

/// A model that was applied.
pub struct Model {
    namespace: String,
    name: String,
}

impl Model {
    /// Applies it, with a volume for its checkpoints.
    pub fn apply(name: &str) -> Self {
        Self::apply_with(OWNER, name, |_| {})
    }

    /// In sealed mode: its layers are in a Secret, which the designer alone reads.
    pub fn apply_sealed(name: &str) -> Self {
        Self::apply_with(OWNER, name, |spec| {
            let layers = spec.remove("layers").unwrap();
            let secret = format!("{name}-layers");
            spec.insert("layersFrom".into(), json!({"secretRef": {"name": secret}}));
            let count = layers.as_array().unwrap().len();
            spec.insert("layerCounts".into(), json!({"standard": count}));
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "namespace": OWNER},
                "stringData": {"layers.yaml": layers.to_string()}});
            apply(&secret.to_string());
        })
    }

    /// Somebody's, with something else in its spec.
    pub fn apply_with(
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Self {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        apply(&claim.to_string());
        let mut manifest = manifest(namespace, name);
        change(manifest["spec"].as_object_mut().unwrap());
        apply(&manifest.to_string());
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// As the API server has it.
    pub fn object(&self) -> Value {
        get(&["mixnn", &self.name, "-n", &self.namespace])
    }

    /// Its uid.
    pub fn uid(&self) -> String {
        field(&self.object(), "/metadata/uid").to_owned()
    }

    /// Name of the designer's pod.
    pub fn designer(&self) -> String {
        format!("{}-designer-0", self.name)
    }

    /// The node that its designer runs on.
    pub fn node(&self) -> String {
        let pod = get(&["pod", &self.designer(), "-n", &self.namespace]);
        field(&pod, "/spec/nodeName").to_owned()
    }

    /// A text of its status.
    pub fn status(&self, pointer: &str) -> String {
        field(&self.object()["status"], pointer).to_owned()
    }

    /// Steps that were committed: as its designer's log says, else as its status, which is written every 5 s.
    pub fn step(&self) -> i64 {
        let log =
            try_run("kubectl", &["-n", &self.namespace, "logs", "--tail=5", &self.designer()], "");
        let log = log.unwrap_or_default();
        let said = log.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
        let step = said.filter_map(|l| l["step"].as_i64()).next_back();
        step.unwrap_or_else(|| {
            self.object().pointer("/status/training/step").and_then(Value::as_i64).unwrap_or(0)
        })
    }

    /// Waits until so many steps were committed; gives how many were.
    pub fn reach(&self, step: i64) -> i64 {
        until(&format!("step {step}"), || Some(self.step()).filter(|s| *s >= step.min(steps())))
    }

    /// Waits until a condition is true.
    pub fn condition(&self, condition: &str) {
        self.condition_as(condition, |c| c["status"] == "True");
    }

    /// Waits until a condition is as asked for; gives its message.
    pub fn condition_as(&self, condition: &str, is: impl Fn(&Value) -> bool) -> String {
        until(&format!("{condition} of {}", self.name), || {
            let object = self.object();
            let all = object.pointer("/status/conditions")?.as_array()?;
            let found = all.iter().find(|c| c["type"] == condition && is(c))?;
            Some(field(found, "/message").to_owned())
        })
    }

    /// Waits until it is trained; gives what its designer said then. Its pod goes on to serve.
    pub fn outcome(&self) -> Outcome {
        let trained = until(&format!("{} to be trained", self.name), || {
            let log = try_run(
                "kubectl",
                &["-n", &self.namespace, "logs", "--tail=50", &self.designer()],
                "",
            );
            let log = log.ok()?;
            let mut said = log.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
            said.rfind(|l| l["event"] == "trained")
        });
        self.condition("Trained");
        let digest = field(&trained, "/digest").to_owned();
        assert_eq!(digest, self.status("/training/digest"));
        Outcome { digest, step_ms: trained["medianStepMs"].as_f64().unwrap() }
    }

    /// Deletes it. Its volume and its secret are the owner's.
    pub fn delete(&self) {
        kubectl(&["-n", &self.namespace, "delete", "mixnn", &self.name]);
        assert!(
            try_run("kubectl", &["-n", &self.namespace, "get", "mixnn", &self.name], "").is_err()
        );
    }
}
