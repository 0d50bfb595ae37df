//! An inference request after every check: what both protocols come down to.

use crate::tensor::byte_length;
use crate::{Datatype, InferError, ModelInfo, Tensor, TensorInfo};

/// An input as it was said, before its elements are read.
#[derive(Clone, Debug)]
pub(crate) struct InputHead<'a> {
    pub(crate) name: &'a str,
    pub(crate) datatype: &'a str,
    pub(crate) shape: &'a [i64],
}

/// An input whose name, datatype and shape are the model's.
#[derive(Clone, Debug)]
pub(crate) struct CheckedHead {
    /// Its place among the model's inputs.
    pub(crate) place: usize,
    pub(crate) datatype: Datatype,
    pub(crate) shape: Vec<usize>,
    /// How many bytes its elements take.
    pub(crate) bytes: usize,
}

/// The bound on samples of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) samples: usize,
}

/// Checks an input against the model, before a byte of it is read or reserved.
pub(crate) fn check_head(
    model: &ModelInfo,
    head: &InputHead<'_>,
    most: Most,
) -> Result<CheckedHead, InferError> {
    let invalid = |what: String| Err(InferError::Invalid(format!("input '{}': {what}", head.name)));
    let Some(place) = model.inputs.iter().position(|i| i.name == head.name) else {
        let known = names(&model.inputs);
        return Err(InferError::Invalid(format!(
            "input '{}': model '{}' has no such input; it takes {known}",
            shortened(head.name),
            model.name
        )));
    };
    let info = &model.inputs[place];
    if head.datatype != info.datatype.name() {
        let found = shortened(head.datatype);
        return invalid(format!("datatype is '{found}'; the model takes {}", info.datatype));
    }
    let shape = head.shape.iter().map(|&s| usize::try_from(s).ok()).collect::<Option<Vec<_>>>();
    let shape = shape.filter(|s| s.len() == info.sample.len() + 1 && s[1..] == info.sample);
    let Some(shape) = shape.filter(|s| s[0] > 0) else {
        return invalid(format!(
            "shape is {}; the model takes {:?}, where -1 is from 1 to {}",
            shortened(&format!("{:?}", head.shape)),
            info.shape(),
            most.samples
        ));
    };
    if shape[0] > most.samples {
        let n = shape[0];
        return invalid(format!("{n} samples; the most in one request is {}", most.samples));
    }
    match byte_length(info.datatype, &shape) {
        Some(bytes) => Ok(CheckedHead { place, datatype: info.datatype, shape, bytes }),
        None => invalid("the shape has more elements than can be counted".into()),
    }
}

/// The inputs in the model's order: all of them, each once, of one number of samples, finite.
pub(crate) fn in_order(
    model: &ModelInfo,
    given: Vec<(usize, Tensor)>,
) -> Result<Vec<Tensor>, InferError> {
    let mut slots: Vec<Option<Tensor>> = model.inputs.iter().map(|_| None).collect();
    for (place, tensor) in given {
        let name = &model.inputs[place].name;
        if !tensor.is_finite() {
            return Err(InferError::Invalid(format!(
                "input '{name}': holds a value that is not finite (NaN or infinity)"
            )));
        }
        let below = model.inputs[place].below;
        if let Some(below) = below.filter(|b| !tensor.is_below(*b)) {
            return Err(InferError::Invalid(format!(
                "input '{name}': holds a number outside 0 to {}",
                below.saturating_sub(1)
            )));
        }
        if slots[place].replace(tensor).is_some() {
            return Err(InferError::Invalid(format!("input '{name}' is given twice")));
        }
    }
    let mut inputs = Vec::with_capacity(slots.len());
    for (slot, info) in slots.into_iter().zip(&model.inputs) {
        let missing = || InferError::Invalid(format!("input '{}' is missing", info.name));
        inputs.push(slot.ok_or_else(missing)?);
    }
    let samples = inputs.first().map_or(0, Tensor::samples);
    if inputs.iter().any(|t| t.samples() != samples) {
        return Err(InferError::Invalid("the inputs have different numbers of samples".into()));
    }
    Ok(inputs)
}

/// Places of the outputs that were asked for; all of them if none was.
pub(crate) fn outputs_asked<'a>(
    model: &ModelInfo,
    asked: impl Iterator<Item = &'a str>,
) -> Result<Vec<usize>, InferError> {
    let mut places = Vec::new();
    for name in asked {
        let Some(place) = model.outputs.iter().position(|o| o.name == name) else {
            return Err(InferError::Invalid(format!(
                "output '{}': model '{}' has no such output; it gives {}",
                shortened(name),
                model.name,
                names(&model.outputs)
            )));
        };
        if places.contains(&place) {
            return Err(InferError::Invalid(format!("output '{name}' is asked for twice")));
        }
        places.push(place);
    }
    if places.is_empty() {
        places = (0..model.outputs.len()).collect();
    }
    Ok(places)
}

fn names(tensors: &[TensorInfo]) -> String {
    let quoted: Vec<String> = tensors.iter().map(|t| format!("'{}'", t.name)).collect();
    quoted.join(", ")
}

/// A stranger's text, in an error: not the whole of a megabyte.
pub(crate) fn shortened(text: &str) -> String {
    const MOST: usize = 64;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}..", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn model() -> ModelInfo {
        let info = |name: &str, sample: &[usize]| TensorInfo {
            name: name.into(),
            datatype: Datatype::Fp32,
            sample: sample.to_vec(),
            below: None,
        };
        ModelInfo {
            name: "m".into(),
            platform: "test".into(),
            inputs: vec![info("a", &[2]), info("b", &[1, 3])],
            outputs: vec![info("y", &[1])],
        }
    }

    fn head(name: &str, datatype: &str, shape: &[i64]) -> Result<CheckedHead, InferError> {
        check_head(&model(), &InputHead { name, datatype, shape }, Most { samples: 8 })
    }

    #[test]
    fn a_head_that_is_not_the_models_is_refused_with_what_would_be_right() {
        assert_eq!(head("b", "FP32", &[8, 1, 3]).unwrap().bytes, 96);
        let refused = [
            (head("c", "FP32", &[1, 2]), "'a', 'b'"),
            (head("a", "INT64", &[1, 2]), "takes FP32"),
            (head("a", "FP32", &[1, 3]), "[-1, 2]"),
            (head("a", "FP32", &[2]), "[-1, 2]"),
            (head("a", "FP32", &[0, 2]), "from 1 to 8"),
            (head("a", "FP32", &[-1, 2]), "from 1 to 8"),
            (head("a", "FP32", &[9, 2]), "most in one request is 8"),
            (head("a", "FP32", &[i64::MAX, 2]), "most in one request is 8"),
            (head(&"x".repeat(1 << 20), "FP32", &[1, 2]), "xxxx.."),
        ];
        for (result, said) in refused {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(said) && error.len() < 400, "{error}");
        }
    }

    fn tensor(shape: &[usize]) -> Tensor {
        let n = byte_length(Datatype::Fp32, shape).unwrap();
        Tensor { datatype: Datatype::Fp32, shape: shape.to_vec(), data: vec![0; n].into() }
    }

    #[test]
    fn inputs_come_in_order_whole_and_alike() {
        let (a, b) = (tensor(&[2, 2]), tensor(&[2, 1, 3]));
        let both = in_order(&model(), vec![(1, b.clone()), (0, a.clone())]).unwrap();
        assert_eq!(both, [a.clone(), b.clone()]);
        let error = |given| in_order(&model(), given).unwrap_err().to_string();
        assert!(error(vec![(0, a.clone())]).contains("'b' is missing"));
        assert!(error(vec![(0, a.clone()), (0, a.clone())]).contains("twice"));
        assert!(error(vec![(0, tensor(&[1, 2])), (1, b)]).contains("different numbers"));
        let nan = Tensor { data: f32::NAN.to_le_bytes().repeat(4).into(), ..a };
        assert!(error(vec![(0, nan)]).contains("not finite"));
    }

    #[test]
    fn outputs_are_known_ones_each_once() {
        assert_eq!(outputs_asked(&model(), [].into_iter()).unwrap(), [0]);
        assert_eq!(outputs_asked(&model(), ["y"].into_iter()).unwrap(), [0]);
        assert!(outputs_asked(&model(), ["z"].into_iter()).is_err());
        assert!(outputs_asked(&model(), ["y", "y"].into_iter()).is_err());
    }
}
