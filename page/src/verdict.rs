//! What a model takes a picture for.

use serde::{Deserialize, Serialize};

/// What a model takes a picture for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The model's name.
    pub model: String,
    /// Which version of it answered.
    pub version: String,
    /// The likeliest class.
    pub answer: String,
    /// All of them, the likeliest first.
    pub classes: Vec<Share>,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Its name, or its number.
    pub class: String,
    /// Its share in the softmax of all, 0 to 1.
    pub probability: f64,
    /// What the model gave for it.
    pub output: f64,
}

impl Verdict {
    /// Of a model's outputs, one for each class; classes without a name are told by number.
    pub fn ranked(model: &str, version: String, outputs: &[f64], names: &[String]) -> Self {
        let name = |i: usize| names.get(i).cloned().unwrap_or_else(|| i.to_string());
        let class = |i: usize| Share {
            class: name(i),
            probability: softmax(outputs, i),
            output: outputs[i],
        };
        let mut classes: Vec<Share> = (0..outputs.len()).map(class).collect();
        classes.sort_by(|a, b| b.output.total_cmp(&a.output));
        let answer = classes.first().map(|c| c.class.clone()).unwrap_or_default();
        Self { model: model.to_owned(), version, answer, classes }
    }
}

/// The share of one output in the softmax of all.
pub fn softmax(outputs: &[f64], at: usize) -> f64 {
    let sum: f64 = outputs.iter().map(|o| (o - outputs[at]).exp()).sum();
    1.0 / sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_comes_first_and_shares_sum_to_one() {
        let names = ["cat".into(), "dog".into()];
        let answer = Verdict::ranked("net", "6".into(), &[0.0, 2.0, 1.0], &names);
        let order: Vec<&str> = answer.classes.iter().map(|c| c.class.as_str()).collect();
        assert_eq!((answer.answer.as_str(), order), ("dog", vec!["dog", "2", "cat"]));
        let sum: f64 = answer.classes.iter().map(|c| c.probability).sum();
        assert!((sum - 1.0).abs() < 1e-9);
    }
}
