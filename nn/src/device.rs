//! Where a layer computes.

use crate::NnError;
use mixnn_model::DeviceKind;
use tch::{Cuda, Device};

/// The device of a layer that asks for this kind, on this machine.
///
/// # Errors
/// It asks for a GPU and there is none.
pub fn choose(kind: DeviceKind) -> Result<Device, NnError> {
    let there = Cuda::is_available();
    match kind {
        DeviceKind::Cpu => Ok(Device::Cpu),
        DeviceKind::Auto if !there => Ok(Device::Cpu),
        DeviceKind::Cuda if !there => Err(NnError::Profile(
            "the layer asks for device cuda, and libtorch finds no GPU here: give its pod class a GPU and an image with CUDA, or set device to cpu or auto".into(),
        )),
        DeviceKind::Cuda | DeviceKind::Auto => {
            // Trying out convolutions would choose by time, and other choices give other bits.
            Cuda::cudnn_set_benchmark(false);
            Ok(Device::Cuda(0))
        }
    }
}

/// The name of a device in a profile.
pub const fn name(device: Device) -> &'static str {
    match device {
        Device::Cuda(_) => "cuda",
        _ => "cpu",
    }
}
