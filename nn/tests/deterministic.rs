//! libtorch's deterministic mode, alone in its process: it holds for all of it.

#![allow(clippy::unwrap_used)]

use tch::{Device, Kind, TchError, Tensor};

/// One of the few operations for which libtorch refuses the mode on a CPU too.
fn put() -> Result<(), TchError> {
    let mut tensor = Tensor::zeros([4], (Kind::Float, Device::Cpu));
    let (index, value) = (Tensor::from_slice(&[1_i64, 1]), Tensor::from_slice(&[1_f32, 2.]));
    tensor.f_put_(&index, &value, false).map(drop)
}

#[test]
fn an_operation_without_a_deterministic_algorithm_is_refused_by_name() {
    put().unwrap();
    mixnn_torch_context::use_deterministic_algorithms();
    let refused = put().unwrap_err().to_string();
    assert!(refused.contains("put_") && refused.contains("deterministic"), "{refused}");
}
