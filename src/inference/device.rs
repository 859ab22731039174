//! The device that the settings name, or why it cannot be had.

use super::InferenceError;
use crate::config::Device;
use candle_core::Device as Handle;

/// A device of the tensor library that a model can be moved to; `None` for the processor, whose kernels are this program's
/// own. Cost: up to seconds for a graphics card.
///
/// # Errors
/// `Device`, with what to do: for a text that names none, a card in a program that was built without CUDA, a missing
/// driver, library or card.
pub fn open(setting: &str) -> Result<Option<Handle>, InferenceError> {
    let fault = |detail: String| InferenceError::Device {
        device: setting.to_owned(),
        detail,
    };
    match setting.parse() {
        Ok(Device::Cpu) => Ok(None),
        Ok(Device::Cuda(number)) => cuda(number).map(Some).map_err(fault),
        Err(detail) => Err(fault(format!("it {detail}"))),
    }
}

/// What a device is, in words: `None` is the processor.
#[must_use]
pub fn describe(device: Option<&Handle>) -> String {
    match device {
        #[cfg(feature = "cuda")]
        Some(Handle::Cuda(card)) => describe_cuda(card),
        Some(_) => "the tensor library".to_owned(),
        None => format!("the processor ({})", crate::kernels::Level::detect().name()),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Handle, String> {
    Err(
        "this program was built for the processor alone: build it with scripts/build-cuda.sh, or set it to \"cpu\""
            .to_owned(),
    )
}

/// Where the system shows an NVIDIA driver: Linux on a PC, in Windows, on NVIDIA's own boards.
#[cfg(feature = "cuda")]
const DRIVERS: [&str; 3] = ["/dev/nvidiactl", "/dev/dxg", "/dev/nvmap"];

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Handle, String> {
    if !DRIVERS.iter().any(|path| std::path::Path::new(path).exists()) {
        return Err(format!(
            "there is no NVIDIA driver here (none of {} exists; a container needs the card passed in): install it, or set it to \
             \"cpu\"",
            DRIVERS.join(", ")
        ));
    }
    // The library that opens NVIDIA's panics where one of them is missing.
    match std::panic::catch_unwind(|| Handle::new_cuda(number)) {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(error)) => Err(format!("the card does not open ({error}): look at `nvidia-smi`")),
        Err(panic) => {
            let detail = panic.downcast_ref::<String>().map_or("no reason given", String::as_str);
            Err(format!(
                "NVIDIA's libraries (the driver's, cublas and curand) are not all found; set LD_LIBRARY_PATH to where \
                 they are: {detail}"
            ))
        }
    }
}

#[cfg(feature = "cuda")]
fn describe_cuda(card: &candle_core::CudaDevice) -> String {
    let stream = card.cuda_stream();
    let name = stream.context().name().unwrap_or_else(|_| "a graphics card".to_owned());
    match stream.context().mem_get_info() {
        Ok((free, total)) => format!("{name}, {} of {} MB free", free >> 20, total >> 20),
        Err(_) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::{describe, open};
    use crate::inference::InferenceError;

    #[test]
    fn the_processor_is_always_there() {
        assert!(open("cpu").unwrap().is_none());
        assert!(describe(None).starts_with("the processor"));
    }

    #[test]
    fn what_cannot_be_had_says_what_to_do() {
        let refused = |setting: &str| match open(setting) {
            Err(error @ InferenceError::Device { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(refused("gpu").contains("must be \"cpu\""));
        // No machine has so many cards; most have no driver, and most builds no CUDA: each says so and none panics.
        let error = refused("cuda:1023");
        assert!(
            error.contains("inference.device") && error.contains("cuda:1023"),
            "{error}"
        );
        #[cfg(not(feature = "cuda"))]
        assert!(error.contains("scripts/build-cuda.sh"), "{error}");
    }
}
