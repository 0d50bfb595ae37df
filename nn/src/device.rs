//! Where a layer computes.

use crate::NnError;
use mixnn_model::DeviceKind;
use tch::{Cuda, Device};

/// Variables that NVIDIA's libraries read when they are first used, and what bits that can be had again ask
/// for: no TensorFloat-32 in place of f32, which libtorch allows in convolutions by default, and cuBLAS'
/// documented setting for results that do not change from run to run.
pub const CUDA_VARIABLES: [(&str, &str); 2] =
    [("NVIDIA_TF32_OVERRIDE", "0"), ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")];

/// The device of a layer that asks for this kind, on this machine.
///
/// # Errors
/// It asks for a GPU and there is none, or the environment does not pin how one computes. On a GPU, an
/// operation that has no deterministic algorithm there fails later, by name.
pub fn choose(kind: DeviceKind) -> Result<Device, NnError> {
    let there = Cuda::is_available();
    match kind {
        DeviceKind::Cpu => Ok(Device::Cpu),
        DeviceKind::Auto if !there => Ok(Device::Cpu),
        DeviceKind::Cuda if !there => Err(NnError::Profile(
            "the layer asks for device cuda, and libtorch finds no GPU here: give its pod class a GPU and an image with CUDA, or set device to cpu or auto".into(),
        )),
        DeviceKind::Cuda | DeviceKind::Auto => {
            check_variables()?;
            // Trying out convolutions would choose by time, and other choices give other bits.
            Cuda::cudnn_set_benchmark(false);
            mixnn_torch_context::use_deterministic_algorithms();
            Ok(Device::Cuda(0))
        }
    }
}

fn check_variables() -> Result<(), NnError> {
    for (name, wanted) in CUDA_VARIABLES {
        let found = std::env::var(name).unwrap_or_default();
        if found != wanted {
            return Err(NnError::Profile(format!(
                "{name} is '{found}', the numeric profile of a GPU asks for '{wanted}': set it before the process starts"
            )));
        }
    }
    Ok(())
}

/// The name of a device in a profile.
pub const fn name(device: Device) -> &'static str {
    match device {
        Device::Cuda(_) => "cuda",
        _ => "cpu",
    }
}
