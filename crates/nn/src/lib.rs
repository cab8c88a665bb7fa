//! The hot operations of a language model as differentiable tensor operations, and the layers made of them.
//!
//! Burn decomposes a Transformer's operations into primitives when it differentiates them, which costs four fifths of
//! the machine's speed. So every hot operation exists twice here, behind one function of [`ops`]: a **fused** kernel
//! with a hand-written backward, which runs on CPUs, and a **composed** twin made of Burn operations, which runs on
//! every other device and is the oracle that the fused one is tested against. A model calls [`ops`] and does not know.
#![forbid(unsafe_code)]

pub mod attention;
pub mod composed;
pub mod device;
mod fused;
pub mod head;
pub mod initialize;
pub mod layers;
pub mod ops;
pub mod parameters;
pub mod precision;
pub mod profile;
pub mod recurrent;
pub mod update;

pub use burn;
pub use loam_kernels::activation::Activation;
pub use loam_kernels::dropout::Dropout;
