//! The Open Inference Protocol, version 2, over HTTP and gRPC on one port, in front of a [`Backend`].
//!
//! ```text
//! connections  a bounded number, TLS, HTTP/1.1 and HTTP/2      listen, connections, tls
//! guard        token, rate, size, memory, time                 guard, auth, body, limits
//! protocol     REST (JSON, binary tensor data) and gRPC        rest, grpc, elements, request
//! service      model, version, readiness                       service
//! batches      requests that wait together go together         batcher
//! Backend      computes                                        yours
//! ```
//!
//! Nothing here knows what a model is made of, or where it runs.

mod args;
mod auth;
mod backend;
mod batcher;
mod body;
mod connections;
mod elements;
mod error;
pub mod grpc;
mod guard;
mod limits;
mod listen;
mod metrics;
mod request;
mod rest;
mod server;
mod service;
mod tensor;
mod tls;

pub use args::FrontArgs;
pub use auth::{Authenticator, Identity, TokenFile, TokenFileError, token_digest};
pub use backend::{Answer, Backend, BackendError, ModelInfo, TensorInfo, Version};
pub use batcher::Batching;
pub use error::InferError;
pub use guard::identify;
pub use limits::{Limits, Rate};
pub use listen::serve_app;
pub use metrics::Metrics;
pub use server::{Server, ServerConfig};
pub use tensor::{Datatype, Tensor, byte_length};
pub use tls::{Issued, Tls, TlsError};
