//! GGUF, the format of llama.cpp: metadata and tensors, quantized or not, in one file that is mapped into memory.
//!
//! A crate of its own because two others read the same files: `corpus` makes tokenizers of their metadata, `models` makes
//! models of their tensors. It trusts nothing that a file says: counts, lengths, offsets and nesting are checked against
//! the file's length before anything is allocated for them.
#![deny(unsafe_code)]

mod dequantize;
mod error;
mod quantize;
mod read;
mod tensor;
mod value;
mod write;

pub use dequantize::dequantize;
pub use error::GgufError;
pub use quantize::quantize;
pub use read::{Gguf, find};
pub use tensor::{Tensor, TensorKind};
pub use value::{Array, Value};
pub use write::{Planned, write};
