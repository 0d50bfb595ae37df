//! gzip and deflate, as clients ask for them; decompression stays within the request's own bounds.

use crate::InferError;
use crate::body::Reservation;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;
use std::io::{Read, Write};

/// Decompressed bytes that are paid for at a time.
const STEP: usize = 64 << 10;
/// Smaller bodies are not worth it.
const LEAST: usize = 256;

/// The body as its sender meant it.
pub(super) fn decompress(
    headers: &HeaderMap,
    body: Bytes,
    reservation: &Reservation,
) -> Result<Bytes, InferError> {
    let coding =
        headers.get(header::CONTENT_ENCODING).map_or("identity", |v| v.to_str().unwrap_or("?"));
    match coding {
        "identity" => Ok(body),
        "gzip" => inflate(GzDecoder::new(&body[..]), reservation),
        "deflate" => inflate(ZlibDecoder::new(&body[..]), reservation),
        _ => Err(InferError::Invalid("Content-Encoding must be gzip, deflate or identity".into())),
    }
}

fn inflate(mut reader: impl Read, reservation: &Reservation) -> Result<Bytes, InferError> {
    let mut out = Vec::new();
    loop {
        let had = out.len();
        reservation.take(had, STEP.min(reservation.most().saturating_sub(had) + 1))?;
        out.resize(had + STEP, 0);
        let n = reader.read(&mut out[had..]).map_err(|e| {
            InferError::Invalid(format!("the body is not what Content-Encoding says: {e}"))
        })?;
        out.truncate(had + n);
        if n == 0 {
            return Ok(out.into());
        }
    }
}

/// Compresses an answer if its client asked for that by name.
pub(super) async fn compress(asked: &HeaderMap, response: Response) -> Response {
    let accepts = asked.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or("");
    let mut codings = accepts.split(',').map(|c| c.split(';').next().unwrap_or("").trim());
    let Some(coding) = codings.find(|c| matches!(*c, "gzip" | "deflate")) else { return response };
    let (mut parts, body) = response.into_parts();
    // The body is in memory already: this cannot fail.
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let packed = if bytes.len() < LEAST { None } else { deflate(coding, &bytes).ok() };
    let Some(packed) = packed else { return Response::from_parts(parts, Body::from(bytes)) };
    let name = if coding == "gzip" { "gzip" } else { "deflate" };
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    parts.headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(packed))
}

fn deflate(coding: &str, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    if coding == "gzip" {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes)?;
        return encoder.finish();
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}
