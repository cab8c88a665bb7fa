//! In what precision the products of this thread's operations are made.
//!
//! Weights, activations, norms, softmax, losses and gradients are `f32` always. In bf16 the operands of products are
//! rounded and their sums are `f32` (mixed precision without loss scaling, Kalamkar et al. 2019): what a backward pass
//! multiplies is rounded as its forward pass was.

use crate::device;
use burn::tensor::{DType, Device, Tensor};
use std::cell::Cell;

pub use loam_kernels::matrix::Precision;

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::F32) };
}

/// Runs `body` with the products of this thread's operations in `precision`, forward and, of what was recorded in
/// `body`, backward.
pub fn with_precision<R>(precision: Precision, body: impl FnOnce() -> R) -> R {
    struct Restore(Precision);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(precision));
    body()
}

/// What [`with_precision`] set, `F32` outside of it.
pub fn current() -> Precision {
    CURRENT.get()
}

/// The precision in which a device makes products that are asked for in `precision`: `F32` on a processor without
/// instructions for another.
pub fn on(device: &Device, precision: Precision) -> Precision {
    if device::has_kernels(device) && !precision.is_native() { Precision::F32 } else { precision }
}

/// `a b` of the composed operations, in the current precision. On a CPU, where they are an oracle, operands are
/// rounded and multiplied as `f32`; other devices multiply bf16 themselves.
pub(crate) fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    match current() {
        Precision::F32 => a.matmul(b),
        Precision::Bf16 => {
            let on_cpu = device::has_kernels(&a.device());
            let (a, b) = (a.cast(DType::BF16), b.cast(DType::BF16));
            if on_cpu { a.cast(DType::F32).matmul(b.cast(DType::F32)) } else { a.matmul(b).cast(DType::F32) }
        }
    }
}
