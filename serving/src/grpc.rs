//! The gRPC side of the protocol.

use crate::request::{InputHead, check_head, in_order, outputs_asked, shortened};
use crate::service::{EXTENSIONS, NAME, Service};
use crate::{Answer, Datatype, InferError, ModelInfo, Tensor, TensorInfo};
use bytes::Bytes;
use proto::grpc_inference_service_server::{GrpcInferenceService, GrpcInferenceServiceServer};
use proto::model_infer_request::InferInputTensor;
use proto::model_infer_response::InferOutputTensor;
use proto::model_metadata_response::TensorMetadata;
use proto::repository_index_response::ModelIndex;
use proto::{InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tonic::{Request, Response, Status};

/// The protocol's messages.
#[allow(missing_docs, clippy::pedantic, clippy::all, rust_2018_idioms)]
pub mod proto {
    tonic::include_proto!("inference");
}

pub(crate) struct Grpc {
    service: Arc<Service>,
}

/// All methods. `most` is the largest message, in bytes.
pub(crate) fn routes(service: Arc<Service>, most: usize) -> axum::Router {
    let server = GrpcInferenceServiceServer::new(Grpc { service })
        .max_decoding_message_size(most)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(tonic::codec::CompressionEncoding::Gzip)
        .accept_compressed(tonic::codec::CompressionEncoding::Deflate)
        .send_compressed(tonic::codec::CompressionEncoding::Gzip)
        .send_compressed(tonic::codec::CompressionEncoding::Deflate);
    axum::Router::new().route_service("/inference.GRPCInferenceService/{method}", server)
}

type Answered<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for Grpc {
    async fn server_live(
        &self,
        _: Request<proto::ServerLiveRequest>,
    ) -> Answered<proto::ServerLiveResponse> {
        Ok(Response::new(proto::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<proto::ServerReadyRequest>,
    ) -> Answered<proto::ServerReadyResponse> {
        Ok(Response::new(proto::ServerReadyResponse { ready: self.service.ready() }))
    }

    async fn model_ready(
        &self,
        request: Request<proto::ModelReadyRequest>,
    ) -> Answered<proto::ModelReadyResponse> {
        let request = request.into_inner();
        self.service.model(&request.name)?;
        let version = self.service.version(Some(&request.version))?;
        let ready = version.ready && self.service.ready();
        Ok(Response::new(proto::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<proto::ServerMetadataRequest>,
    ) -> Answered<proto::ServerMetadataResponse> {
        Ok(Response::new(proto::ServerMetadataResponse {
            name: NAME.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            extensions: EXTENSIONS.iter().map(|&e| e.into()).collect(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<proto::ModelMetadataRequest>,
    ) -> Answered<proto::ModelMetadataResponse> {
        let request = request.into_inner();
        let model = self.service.model(&request.name)?;
        self.service.version(Some(&request.version))?;
        Ok(Response::new(proto::ModelMetadataResponse {
            name: model.name.clone(),
            versions: self.service.versions().into_iter().map(|v| v.name).collect(),
            platform: model.platform.clone(),
            inputs: model.inputs.iter().map(tensor_metadata).collect(),
            outputs: model.outputs.iter().map(tensor_metadata).collect(),
        }))
    }

    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Answered<ModelInferResponse> {
        let since = Instant::now();
        let result = self.infer(request.into_inner()).await;
        self.service.done("grpc", since, &result);
        Ok(Response::new(result?))
    }

    async fn repository_index(
        &self,
        request: Request<proto::RepositoryIndexRequest>,
    ) -> Answered<proto::RepositoryIndexResponse> {
        let only_ready = request.into_inner().ready;
        let name = self.service.model_name();
        let entry = |v: crate::Version| ModelIndex {
            name: name.to_owned(),
            version: v.name,
            state: if v.ready { "READY" } else { "UNAVAILABLE" }.to_owned(),
            reason: v.reason,
        };
        let versions = self.service.versions().into_iter().filter(|v| v.ready || !only_ready);
        let models = versions.map(entry).collect();
        Ok(Response::new(proto::RepositoryIndexResponse { models }))
    }
}

fn tensor_metadata(info: &TensorInfo) -> TensorMetadata {
    TensorMetadata {
        name: info.name.clone(),
        datatype: info.datatype.name().into(),
        shape: info.shape(),
    }
}

impl Grpc {
    async fn infer(&self, request: ModelInferRequest) -> Result<ModelInferResponse, InferError> {
        let model = self.service.model(&request.model_name)?;
        let raw = !request.raw_input_contents.is_empty();
        only_known(&request.parameters, &["priority", "timeout", "binary_data_output"])?;
        for output in &request.outputs {
            // Whether data is binary is a matter of REST; a client may say so here all the same.
            only_known(&output.parameters, &["binary_data"])?;
        }
        let places = outputs_asked(model, request.outputs.iter().map(|o| &*o.name))?;
        let inputs = self.read(model, request.inputs, request.raw_input_contents)?;
        let answer = self.service.infer(Some(&request.model_version), inputs).await?;
        Ok(write(model, request.id, &places, &answer, raw))
    }

    fn read(
        &self,
        model: &ModelInfo,
        inputs: Vec<InferInputTensor>,
        raw: Vec<Bytes>,
    ) -> Result<Vec<Tensor>, InferError> {
        if !raw.is_empty() && raw.len() != inputs.len() {
            let (found, expected) = (raw.len(), inputs.len());
            return Err(InferError::Invalid(format!(
                "{found} entries in raw_input_contents for {expected} inputs"
            )));
        }
        let mut raw = raw.into_iter();
        let mut given = Vec::with_capacity(inputs.len().min(model.inputs.len() + 1));
        for input in inputs {
            given.push(self.read_input(model, input, raw.next())?);
        }
        in_order(model, given)
    }

    fn read_input(
        &self,
        model: &ModelInfo,
        input: InferInputTensor,
        raw: Option<Bytes>,
    ) -> Result<(usize, Tensor), InferError> {
        let head = InputHead { name: &input.name, datatype: &input.datatype, shape: &input.shape };
        let head = check_head(model, &head, self.service.most())?;
        let invalid = |what: String| InferError::Invalid(format!("input '{}': {what}", input.name));
        only_known(&input.parameters, &[])?;
        let data = match (raw, input.contents) {
            (Some(_), Some(_)) => {
                return Err(invalid("has both contents and raw_input_contents".into()));
            }
            (None, None) => {
                return Err(invalid("has neither contents nor raw_input_contents".into()));
            }
            (Some(raw), None) => raw,
            (None, Some(contents)) => unpack(head.datatype, &contents).map_err(invalid)?.into(),
        };
        if data.len() != head.bytes {
            let (found, shape, expected) = (data.len(), &head.shape, head.bytes);
            return Err(invalid(format!(
                "{found} bytes; shape {shape:?} of {} takes {expected}",
                head.datatype
            )));
        }
        Ok((head.place, Tensor { datatype: head.datatype, shape: head.shape, data }))
    }
}

fn only_known(
    parameters: &HashMap<String, InferParameter>,
    known: &[&str],
) -> Result<(), InferError> {
    match parameters.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => {
            let name = shortened(name);
            Err(InferError::Invalid(format!("parameter '{name}' is not known here")))
        }
        None => Ok(()),
    }
}

/// Elements of typed contents as bytes. The protocol puts small integers into 32 bits.
fn unpack(datatype: Datatype, contents: &InferTensorContents) -> Result<Vec<u8>, String> {
    macro_rules! of {
        ($field:ident) => {
            contents.$field.iter().flat_map(|v| v.to_le_bytes()).collect()
        };
        ($field:ident as $t:ty) => {{
            let one =
                |v| <$t>::try_from(v).map_err(|_| format!("{v} does not fit into {datatype}"));
            let values =
                contents.$field.iter().copied().map(one).collect::<Result<Vec<$t>, _>>()?;
            values.into_iter().flat_map(<$t>::to_le_bytes).collect()
        }};
    }
    Ok(match datatype {
        Datatype::Bool => contents.bool_contents.iter().map(|&b| u8::from(b)).collect(),
        Datatype::Int8 => of!(int_contents as i8),
        Datatype::Int16 => of!(int_contents as i16),
        Datatype::Int32 => of!(int_contents),
        Datatype::Int64 => of!(int64_contents),
        Datatype::Uint8 => of!(uint_contents as u8),
        Datatype::Uint16 => of!(uint_contents as u16),
        Datatype::Uint32 => of!(uint_contents),
        Datatype::Uint64 => of!(uint64_contents),
        Datatype::Fp32 => of!(fp32_contents),
        Datatype::Fp64 => of!(fp64_contents),
        Datatype::Fp16 | Datatype::Bf16 => {
            return Err(format!("{datatype} travels in raw_input_contents only"));
        }
    })
}

/// Typed contents of a tensor; `None` for what travels raw only.
fn pack(tensor: &Tensor) -> Option<InferTensorContents> {
    macro_rules! list {
        ($t:ty) => {
            tensor.data.as_chunks().0.iter().map(|b| <$t>::from_le_bytes(*b).into()).collect()
        };
    }
    let mut out = InferTensorContents::default();
    match tensor.datatype {
        Datatype::Bool => out.bool_contents = tensor.data.iter().map(|b| *b != 0).collect(),
        Datatype::Int8 => out.int_contents = list!(i8),
        Datatype::Int16 => out.int_contents = list!(i16),
        Datatype::Int32 => out.int_contents = list!(i32),
        Datatype::Int64 => out.int64_contents = list!(i64),
        Datatype::Uint8 => out.uint_contents = list!(u8),
        Datatype::Uint16 => out.uint_contents = list!(u16),
        Datatype::Uint32 => out.uint_contents = list!(u32),
        Datatype::Uint64 => out.uint64_contents = list!(u64),
        Datatype::Fp32 => out.fp32_contents = list!(f32),
        Datatype::Fp64 => out.fp64_contents = list!(f64),
        Datatype::Fp16 | Datatype::Bf16 => return None,
    }
    Some(out)
}

/// In the form that the request had: raw, or typed. What cannot be typed goes raw, all of it.
fn write(
    model: &ModelInfo,
    id: String,
    places: &[usize],
    answer: &Answer,
    raw: bool,
) -> ModelInferResponse {
    let tensors: Vec<&Tensor> = places.iter().map(|&p| &answer.outputs[p]).collect();
    let typed: Option<Vec<_>> = if raw { None } else { tensors.iter().map(|t| pack(t)).collect() };
    let raw_output_contents = match &typed {
        Some(_) => Vec::new(),
        None => tensors.iter().map(|t| t.data.clone()).collect(),
    };
    let mut contents = typed.unwrap_or_default().into_iter();
    let output = |(place, tensor): (&usize, &&Tensor)| InferOutputTensor {
        name: model.outputs[*place].name.clone(),
        datatype: tensor.datatype.name().into(),
        shape: tensor.shape.iter().map(|&s| s as i64).collect(),
        parameters: HashMap::new(),
        contents: contents.next(),
    };
    ModelInferResponse {
        model_name: model.name.clone(),
        model_version: answer.version.to_string(),
        id,
        parameters: HashMap::new(),
        outputs: places.iter().zip(&tensors).map(output).collect(),
        raw_output_contents,
    }
}
