//! The OpenAPI document: the committed text, with the served model's names, datatypes and shapes put in.

use crate::service::Service;
use crate::{InferError, TensorInfo};
use serde_json::{Value, json};

/// What is true of every model.
const DOCUMENT: &str = include_str!("../../openapi.json");

pub(super) fn document(service: &Service) -> Result<Value, InferError> {
    let broken = |e: serde_json::Error| InferError::Failed(format!("the OpenAPI document: {e}"));
    let mut document: Value = serde_json::from_str(DOCUMENT).map_err(broken)?;
    let model = service.info();
    let versions: Vec<String> = service.versions().into_iter().map(|v| v.name).collect();
    document["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
    let components = &mut document["components"];
    components["parameters"]["Model"]["schema"]["enum"] = json!([model.name]);
    components["parameters"]["Version"]["schema"]["enum"] = json!(versions);
    let input = tensors(&model.inputs, service.most().samples);
    components["schemas"]["Input"]["properties"]["name"]["enum"] = input.names;
    components["schemas"]["Input"]["properties"]["datatype"]["enum"] = input.datatypes;
    components["schemas"]["Input"]["properties"]["shape"]["anyOf"] = input.shapes;
    let output = tensors(&model.outputs, service.most().samples);
    components["schemas"]["RequestedOutput"]["properties"]["name"]["enum"] = output.names;
    Ok(document)
}

struct Described {
    names: Value,
    datatypes: Value,
    shapes: Value,
}

fn tensors(all: &[TensorInfo], samples: usize) -> Described {
    let mut datatypes: Vec<&str> = all.iter().map(|t| t.datatype.name()).collect();
    datatypes.sort_unstable();
    datatypes.dedup();
    let shape = |t: &TensorInfo| {
        let first = json!({ "type": "integer", "minimum": 1, "maximum": samples });
        let rest = t.sample.iter().map(|s| json!({ "const": s }));
        let prefix: Vec<Value> = std::iter::once(first).chain(rest).collect();
        json!({ "prefixItems": prefix, "minItems": prefix.len(), "maxItems": prefix.len() })
    };
    Described {
        names: json!(all.iter().map(|t| &t.name).collect::<Vec<_>>()),
        datatypes: json!(datatypes),
        shapes: json!(all.iter().map(shape).collect::<Vec<_>>()),
    }
}
