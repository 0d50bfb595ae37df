//! Inference over REST: JSON, and the binary tensor data extension both ways.
//!
//! ```text
//! body = JSON | JSON tensor*        Inference-Header-Content-Length: bytes of the JSON
//! ```

use super::json::{
    InferRequest, InferResponse, Input, Output, OutputTensor, Parameter, Parameters,
};
use crate::request::{InputHead, check_head, in_order, outputs_asked, shortened};
use crate::service::Service;
use crate::{Answer, InferError, ModelInfo, Tensor, elements};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::collections::BTreeMap;

/// Bytes of the JSON before binary data.
pub(super) const HEADER_LENGTH: HeaderName =
    HeaderName::from_static("inference-header-content-length");

/// A request that has been read, without its tensors.
struct Asked {
    id: Option<String>,
    /// Places of the outputs, and whether each goes out as binary data.
    outputs: Vec<(usize, bool)>,
}

/// Reads, computes, answers.
pub(super) async fn infer(
    service: &Service,
    model: &str,
    version: Option<&str>,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, InferError> {
    let model = service.model(model)?;
    let (asked, inputs) = read(service, model, headers, &body)?;
    drop(body);
    let answer = service.infer(version, inputs).await?;
    write(model, &asked, &answer)
}

fn read(
    service: &Service,
    model: &ModelInfo,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<(Asked, Vec<Tensor>), InferError> {
    let json_length = json_length(headers, body.len())?;
    let (json, mut binary) = (&body[..json_length], body.slice(json_length..));
    let mut reader = serde_json::Deserializer::from_slice(json);
    let request: InferRequest<'_> =
        serde_path_to_error::deserialize(&mut reader).map_err(|e| malformed(&e))?;
    reader.end().map_err(|e| InferError::Invalid(format!("after the request: {e}")))?;
    let mut given = Vec::with_capacity(request.inputs.0.len());
    for input in &request.inputs.0 {
        given.push(read_input(service, model, input, &mut binary)?);
    }
    if !binary.is_empty() {
        let n = binary.len();
        return Err(InferError::Invalid(format!("{n} bytes of binary data belong to no input")));
    }
    let inputs = in_order(model, given)?;
    let outputs = asked_outputs(model, &request.parameters, &request.outputs.0)?;
    Ok((Asked { id: request.id.map(Into::into), outputs }, inputs))
}

fn malformed(error: &serde_path_to_error::Error<serde_json::Error>) -> InferError {
    let (path, inner) = (error.path().to_string(), error.inner());
    let place = if path == "." { String::new() } else { format!("{}: ", shortened(&path)) };
    InferError::Invalid(format!("request: {place}{}", shortened_error(&inner.to_string())))
}

/// serde names the unknown field, however long it is.
fn shortened_error(text: &str) -> String {
    const MOST: usize = 300;
    text.char_indices()
        .nth(MOST)
        .map_or_else(|| text.to_owned(), |(at, _)| format!("{}..", &text[..at]))
}

fn json_length(headers: &HeaderMap, body: usize) -> Result<usize, InferError> {
    let Some(value) = headers.get(HEADER_LENGTH) else { return Ok(body) };
    let length = value.to_str().ok().and_then(|v| v.parse::<usize>().ok());
    length.filter(|l| *l <= body).ok_or_else(|| {
        InferError::Invalid(format!(
            "Inference-Header-Content-Length must be the number of bytes of the JSON, at most the body's {body}"
        ))
    })
}

fn read_input(
    service: &Service,
    model: &ModelInfo,
    input: &Input<'_>,
    binary: &mut Bytes,
) -> Result<(usize, Tensor), InferError> {
    let head = InputHead { name: &input.name, datatype: &input.datatype, shape: &input.shape.0 };
    let head = check_head(model, &head, service.most())?;
    let invalid = |what: String| InferError::Invalid(format!("input '{}': {what}", input.name));
    let size = binary_size(&input.parameters).map_err(invalid)?;
    let data = match (size, input.data) {
        (Some(_), Some(_)) => return Err(invalid("has both data and binary_data_size".into())),
        (None, None) => return Err(invalid("has neither data nor binary_data_size".into())),
        (Some(size), None) => {
            if size != head.bytes as i128 {
                let (shape, bytes) = (&head.shape, head.bytes);
                return Err(invalid(format!(
                    "binary_data_size is {size}; shape {shape:?} of {} takes {bytes} bytes",
                    head.datatype
                )));
            }
            if head.bytes > binary.len() {
                let left = binary.len();
                return Err(invalid(format!("{size} bytes of binary data announced, {left} came")));
            }
            binary.split_to(head.bytes)
        }
        (None, Some(json)) => {
            let data = elements::from_json(json.get(), head.datatype, &head.shape, head.bytes);
            data.map_err(|e| invalid(format!("data {e}")))?.into()
        }
    };
    Ok((head.place, Tensor { datatype: head.datatype, shape: head.shape, data }))
}

/// The size of an input's binary data, if it has such; any other parameter is refused, because leaving
/// it out would answer another question than the one asked.
fn binary_size(parameters: &Parameters) -> Result<Option<i128>, String> {
    let mut size = None;
    for (name, value) in &parameters.0 {
        match (name.as_str(), value) {
            ("binary_data_size", Parameter::Integer(n)) => size = Some(*n),
            ("binary_data_size", _) => return Err("binary_data_size must be a whole number".into()),
            _ => return Err(unknown_parameter(name)),
        }
    }
    Ok(size)
}

fn unknown_parameter(name: &str) -> String {
    format!("parameter '{}' is not known here", shortened(name))
}

fn flag(parameters: &Parameters, name: &str) -> Result<Option<bool>, String> {
    match parameters.0.get(name) {
        None => Ok(None),
        Some(Parameter::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(format!("{name} must be true or false")),
    }
}

fn asked_outputs(
    model: &ModelInfo,
    parameters: &Parameters,
    outputs: &[Output<'_>],
) -> Result<Vec<(usize, bool)>, InferError> {
    let invalid = |e: String| InferError::Invalid(format!("request: {e}"));
    for name in parameters.0.keys() {
        // Hints that change no answer: requests are taken in turn, and have one time limit.
        if !matches!(name.as_str(), "binary_data_output" | "priority" | "timeout") {
            return Err(invalid(unknown_parameter(name)));
        }
    }
    let all = flag(parameters, "binary_data_output").map_err(invalid)?.unwrap_or(false);
    let places = outputs_asked(model, outputs.iter().map(|o| &*o.name))?;
    let mut asked = Vec::with_capacity(places.len());
    for (i, place) in places.into_iter().enumerate() {
        let own = outputs.get(i).map_or(Ok(None), output_flag)?;
        asked.push((place, own.unwrap_or(all)));
    }
    Ok(asked)
}

fn output_flag(output: &Output<'_>) -> Result<Option<bool>, InferError> {
    let invalid = |e: String| InferError::Invalid(format!("output '{}': {e}", output.name));
    if let Some(name) = output.parameters.0.keys().find(|n| *n != "binary_data") {
        return Err(invalid(unknown_parameter(name)));
    }
    flag(&output.parameters, "binary_data").map_err(invalid)
}

fn write(model: &ModelInfo, asked: &Asked, answer: &Answer) -> Result<Response, InferError> {
    let mut outputs = Vec::with_capacity(asked.outputs.len());
    let mut binary: Vec<&Bytes> = Vec::new();
    for &(place, as_binary) in &asked.outputs {
        let (info, tensor) = (&model.outputs[place], &answer.outputs[place]);
        let mut parameters = BTreeMap::new();
        let data = if as_binary {
            parameters.insert("binary_data_size", Parameter::Integer(tensor.data.len() as i128));
            binary.push(&tensor.data);
            None
        } else {
            let failed = |e: String| InferError::Failed(format!("output '{}' {e}", info.name));
            let json = elements::to_json(tensor).map_err(failed)?;
            Some(
                serde_json::value::RawValue::from_string(json)
                    .map_err(|e| failed(e.to_string()))?,
            )
        };
        let (datatype, shape) = (tensor.datatype.name(), tensor.shape.as_slice());
        outputs.push(OutputTensor { name: &info.name, datatype, shape, parameters, data });
    }
    let response = InferResponse {
        model_name: &model.name,
        model_version: &answer.version,
        id: asked.id.as_deref(),
        outputs,
    };
    let json = serde_json::to_vec(&response).map_err(|e| InferError::Failed(e.to_string()))?;
    Ok(assemble(json, &binary))
}

fn assemble(json: Vec<u8>, binary: &[&Bytes]) -> Response {
    if binary.is_empty() {
        let kind = HeaderValue::from_static("application/json");
        return ([(header::CONTENT_TYPE, kind)], json).into_response();
    }
    let json_length = HeaderValue::from(json.len());
    let mut body = json;
    body.reserve_exact(binary.iter().map(|b| b.len()).sum());
    binary.iter().for_each(|b| body.extend_from_slice(b));
    let kind = HeaderValue::from_static("application/octet-stream");
    ([(header::CONTENT_TYPE, kind), (HEADER_LENGTH, json_length)], body).into_response()
}
