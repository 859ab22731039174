//! Where the language model computes.

use std::fmt;
use std::str::FromStr;

/// `[inference] device`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor, with this program's own kernels.
    Cpu,
    /// The NVIDIA graphics card of this number.
    Cuda(usize),
}

/// Cards in a machine: far beyond any.
const MAX_CARDS: usize = 1024;

impl FromStr for Device {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "must be \"cpu\", \"cuda\" or \"cuda:N\" with the number of a graphics card";
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let number = text.strip_prefix("cuda:").and_then(|number| number.parse().ok());
                number.filter(|number| *number < MAX_CARDS).map(Self::Cuda).ok_or(FORM)
            }
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Device;

    #[test]
    fn devices_are_named_by_kind_and_number() {
        for (text, device) in [
            ("cpu", Device::Cpu),
            ("cuda", Device::Cuda(0)),
            ("cuda:0", Device::Cuda(0)),
            ("cuda:7", Device::Cuda(7)),
        ] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        for text in [
            "",
            "gpu",
            "CUDA",
            "cpu:0",
            "cuda:",
            "cuda:-1",
            "cuda:1024",
            "cuda: 1",
            "cuda:1:2",
        ] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }
}
