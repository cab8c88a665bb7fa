//! What a file says of its tensors.

use std::ops::Range;

/// How the elements of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, reason = "the names that the format gives them")]
pub enum TensorKind {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// bfloat16.
    BF16,
    /// 64-bit floats.
    F64,
    /// Blocks of 32 of 4 bits, a scale each.
    Q4_0,
    /// Blocks of 32 of 4 bits, a scale and a minimum each.
    Q4_1,
    /// Blocks of 32 of 5 bits, a scale each.
    Q5_0,
    /// Blocks of 32 of 5 bits, a scale and a minimum each.
    Q5_1,
    /// Blocks of 32 of 8 bits, a scale each.
    Q8_0,
    /// Blocks of 256 of 2 bits, scales and minima of 4 bits for every 16.
    Q2_K,
    /// Blocks of 256 of 3 bits, scales of 6 bits for every 16.
    Q3_K,
    /// Blocks of 256 of 4 bits, scales and minima of 6 bits for every 32.
    Q4_K,
    /// Blocks of 256 of 5 bits, scales and minima of 6 bits for every 32.
    Q5_K,
    /// Blocks of 256 of 6 bits, scales of 8 bits for every 16.
    Q6_K,
}

impl TensorKind {
    /// Every kind that is read.
    pub const ALL: [Self; 14] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::F64,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// Its name as llama.cpp prints it, its number in files, elements a block, bytes a block.
    const fn facts(self) -> (&'static str, u32, usize, usize) {
        match self {
            Self::F32 => ("F32", 0, 1, 4),
            Self::F16 => ("F16", 1, 1, 2),
            Self::BF16 => ("BF16", 30, 1, 2),
            Self::F64 => ("F64", 28, 1, 8),
            Self::Q4_0 => ("Q4_0", 2, 32, 18),
            Self::Q4_1 => ("Q4_1", 3, 32, 20),
            Self::Q5_0 => ("Q5_0", 6, 32, 22),
            Self::Q5_1 => ("Q5_1", 7, 32, 24),
            Self::Q8_0 => ("Q8_0", 8, 32, 34),
            Self::Q2_K => ("Q2_K", 10, 256, 84),
            Self::Q3_K => ("Q3_K", 11, 256, 110),
            Self::Q4_K => ("Q4_K", 12, 256, 144),
            Self::Q5_K => ("Q5_K", 13, 256, 176),
            Self::Q6_K => ("Q6_K", 14, 256, 210),
        }
    }

    /// Its name as llama.cpp prints it.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    pub(crate) const fn code(self) -> u32 {
        self.facts().1
    }

    /// Elements that are stored together.
    pub const fn block(self) -> usize {
        self.facts().2
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        self.facts().3
    }

    pub(crate) fn of_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its shape, the last dimension lying together (files store it the other way around).
    pub shape: Vec<usize>,
    /// How its elements are stored.
    pub kind: TensorKind,
    /// Where its bytes are in the file.
    pub(crate) bytes: Range<usize>,
}

impl Tensor {
    /// Number of elements.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}
