//! The operations that decide how fast a language model trains on a CPU, over plain slices.
//!
//! A tensor library composes a training step from small operations. On a CPU each of them is one more pass over memory,
//! with scalar `exp` and `tanh` inside, and the step ends at a fifth of what the machine can do, although its matrix
//! products run near the peak (`PERFORMANCE.md`). So the operations that matter are fused here, each as a pair of free
//! functions, forward and backward, with explicit sizes. Beside them in [`mod@reference`] stand the plain loops that
//! say what they compute and that the tests compare them with.
//!
//! - Slices in, vectors out: no tensors, no devices, no state. `loam-nn` binds them as differentiable operations.
//! - Row-major `f32`, shapes as `[rows, width]` in the documentation. Sizes that disagree are a mistake of the caller
//!   and panic.
//! - SIMD is chosen at run time ([`simd`]); loops are portable and vectorized by the compiler.
//! - Parallel through rayon alone, and deterministic: reductions are cut by sizes, never by threads, so the same input
//!   gives the same bits on any number of threads.
//! - Nothing that the backward pass can compute again is kept: no probabilities, no masks, no logits.
#![allow(clippy::needless_range_loop, reason = "kernels walk several slices by one index, as their papers do")]

pub mod activation;
pub mod adamw;
pub mod allocator;
pub mod attention;
mod buffer;
pub mod cross_entropy;
pub mod dropout;
mod elementary;
pub mod embedding;
pub mod feed_forward;
pub mod heads;
pub mod kept_blocks;
pub mod linear;
pub mod matrix;
pub mod norm;
pub mod peak;
pub mod rates;
pub mod recurrent;
pub mod reference;
pub mod rotary;
pub mod sequence_products;
pub mod simd;
mod softmax;
pub mod vector;
pub mod word2vec;

pub use simd::simd_level;
