//! Vectors for tokens and positions.

use super::Context;
use mixnn_model::ops::{Embedding, PositionKind, PositionalEmbedding};
use tch::{Kind, TchError, Tensor};

pub(super) fn tokens(
    e: &Embedding,
    x: &Tensor,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let padding = e.padding.map_or(-1, i64::from);
    Tensor::f_embedding(context.parameter()?, x, padding, false, false)
}

pub(super) fn positions(
    e: &PositionalEmbedding,
    x: &Tensor,
    context: &mut Context<'_>,
) -> Result<Tensor, TchError> {
    let length = x.size()[1];
    let vectors = match e.kind {
        PositionKind::Learned => context.parameter()?.f_narrow(0, 0, length)?,
        PositionKind::Sinusoidal => waves(length, e.size.into())?.f_to_device(x.device())?,
    };
    x.f_add(&vectors)
}

/// `sin(p / 10000^(2i / size))` at even places, `cos` of the same at odd ones.
fn waves(length: i64, size: i64) -> Result<Tensor, TchError> {
    let angle = |p: i64, i: i64| {
        let wavelength = 10_000_f64.powf((i - i % 2) as f64 / size as f64);
        p as f64 / wavelength
    };
    let value = |p: i64, i: i64| if i % 2 == 0 { angle(p, i).sin() } else { angle(p, i).cos() };
    let values: Vec<f32> =
        (0..length).flat_map(|p| (0..size).map(move |i| value(p, i) as f32)).collect();
    Tensor::f_from_slice(&values)?.f_reshape([length, size])?.f_to_kind(Kind::Float)
}
