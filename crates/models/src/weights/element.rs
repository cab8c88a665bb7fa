//! Types of the numbers in files, and their way to f32 and back.

use half::{bf16, f16};
use safetensors::Dtype;

/// The type of a tensor's numbers in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element(pub Dtype);

impl Element {
    /// Bytes of a number; none where numbers do not fill bytes.
    pub fn bytes(self) -> Option<usize> {
        let bits = self.0.bitsize();
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Whether these are floats of 16, 32, or 64 bits, which parameters are read from.
    pub fn is_float(self) -> bool {
        matches!(self.0, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64)
    }

    /// What PyTorch and `config.json` call it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Dtype::F64 => "float64",
            Dtype::F32 => "float32",
            Dtype::F16 => "float16",
            Dtype::BF16 => "bfloat16",
            Dtype::I64 => "int64",
            Dtype::I32 => "int32",
            Dtype::I16 => "int16",
            Dtype::I8 => "int8",
            Dtype::U64 => "uint64",
            Dtype::U32 => "uint32",
            Dtype::U16 => "uint16",
            Dtype::U8 => "uint8",
            Dtype::BOOL => "bool",
            Dtype::F8_E4M3 => "float8_e4m3fn",
            Dtype::F8_E5M2 => "float8_e5m2",
            _ => "a type of less than a byte",
        }
    }

    /// Bytes of this type as f32; none where it is no float.
    pub fn to_f32(self, data: &[u8]) -> Option<Vec<f32>> {
        Some(match self.0 {
            Dtype::F32 => read(data, f32::from_le_bytes),
            Dtype::F16 => read(data, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => read(data, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Dtype::F64 => read(data, |bytes| f64::from_le_bytes(bytes) as f32),
            _ => return None,
        })
    }
}

fn read<const N: usize>(data: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().map(|&bytes| convert(bytes)).collect()
}

/// The precision that weights are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits, 5 of them exponent: nothing above 65,504.
    F16,
    /// 16 bits, 8 of them exponent: the range of f32.
    Bf16,
}

impl Precision {
    /// Its type in files.
    pub fn element(self) -> Element {
        Element(match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        })
    }

    /// Values as bytes of this precision, rounded to nearest, ties to even.
    pub fn write(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
            Self::Bf16 => values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
        }
    }

    /// Whether a finite value becomes infinite in this precision.
    pub fn overflows(self, value: f32) -> bool {
        value.is_finite()
            && match self {
                Self::F32 => false,
                Self::F16 => f16::from_f32(value).is_infinite(),
                Self::Bf16 => bf16::from_f32(value).is_infinite(),
            }
    }
}
