//! The committed YAML and the page of fields are what the types give, and the examples are models.

#![allow(clippy::unwrap_used)]

mod page;

use mixnn_model::{DatasetSpec, Labels, SentenceTask, Shape};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Compares a file with what it is to be; `MIXNN_GENERATE=1` writes it instead (`make generate`).
fn up_to_date(name: &str, expected: &str) {
    let path = root().join(name);
    if std::env::var_os("MIXNN_GENERATE").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{name} is stale: run `make generate`");
}

#[test]
fn the_generated_files_are_up_to_date() {
    let crds = mixnn_crds::crd_yamls().unwrap();
    up_to_date("docs/crds.md", &page::page(&crds));
    for (name, expected) in crds {
        up_to_date(&format!("crds/{name}"), &expected);
        assert!(expected.len() < 262_144, "crds/{name} is too large for kubectl apply");
    }
}

#[test]
fn every_example_is_a_model() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let model = mixnn_crds::parse_file(&path).unwrap();
        let spec = model.spec;
        let dataset = &spec.training.dataset;
        let sample = dataset.declared_shape().unwrap_or_else(|| Shape::new([1, 28, 28]).unwrap());
        let labels = match dataset {
            DatasetSpec::Sentences(s) if s.task == SentenceTask::NextToken => {
                Labels::Tokens { length: s.length as usize, vocabulary: 69 }
            }
            DatasetSpec::Sentences(_) => Labels::Class { classes: 4 },
            _ => Labels::Class { classes: 10 },
        };
        mixnn_model::Model::new(spec.layers, spec.training, &sample, &labels).unwrap();
        seen += 1;
    }
    assert!(seen >= 6);
}

fn refusal(text: &str) -> String {
    mixnn_crds::parse_str("model.yaml", text).unwrap_err().to_string()
}

#[test]
fn errors_say_where_and_what() {
    let good = std::fs::read_to_string(root().join("examples/lenet5.yaml")).unwrap();
    let typo = refusal(&good.replacen("kernel: 5, padding", "kernal: 5, padding", 1));
    assert!(
        typo.contains("spec.layers[0].ops[0]")
            && typo.contains("kernal")
            && typo.contains("`kernel`"),
        "{typo}"
    );
    let unknown = refusal(&good.replace("conv2d:", "conv3d:"));
    assert!(unknown.contains("conv3d") && unknown.contains("`conv2d`"), "{unknown}");
    let kind = refusal(&good.replace("kind: MixNNModel", "kind: Pod"));
    assert!(kind.contains("'Pod'") && kind.contains("'MixNNModel'"), "{kind}");
    let hops = refusal(&good.replace("hops: 3", "hops: 7"));
    assert!(hops.contains("hops is 7"), "{hops}");
    let more = refusal(&good.replace("replicas: 6", "replicas: 2"));
    assert!(more.contains("more than the 2 relays"), "{more}");
    let broken = refusal("a: [");
    assert!(broken.contains("line 1") || broken.contains("line 2"), "{broken}");
    let two = refusal(&format!("{good}\n---\n{good}"));
    assert!(two.contains("exactly one"), "{two}");
}
