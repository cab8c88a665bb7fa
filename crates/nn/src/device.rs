//! Names of devices, as `--device` takes them.

use burn::tensor::Device;
use std::fmt;

/// A device name that this build cannot serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownDevice {
    name: String,
}

impl fmt::Display for UnknownDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device {:?} is not in this build; it has: auto, cpu", self.name)
    }
}

impl std::error::Error for UnknownDevice {}

/// The device that `name` stands for: `cpu`, or `auto` for the fastest one that this build has.
///
/// # Errors
/// When the name is unknown or its backend is not compiled in.
pub fn parse(name: &str) -> Result<Device, UnknownDevice> {
    match name {
        "auto" | "cpu" => Ok(Device::flex()),
        other => Err(UnknownDevice { name: other.to_owned() }),
    }
}

/// Whether the fused CPU kernels serve this device.
pub(crate) fn has_kernels(device: &Device) -> bool {
    device.clone().inner() == Device::flex()
}
