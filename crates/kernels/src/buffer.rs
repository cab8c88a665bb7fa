//! Outputs that kernels fill.
//!
//! Zeroing an output before a kernel overwrites it costs one more pass over memory, a few percent of a training step.
//! So outputs start unwritten and become a `Vec` once every element has been written.

use rayon::prelude::*;
use std::cell::Cell;
use std::mem::MaybeUninit;

/// Elements that one task handles where an operation works element by element: 64 KiB of `f32`.
pub(crate) const CHUNK: usize = 16 * 1024;

/// An output of `len` elements, not yet written.
pub(crate) struct Output {
    storage: Vec<f32>,
    len: usize,
}

impl Output {
    pub(crate) fn new(len: usize) -> Self {
        Self { storage: Vec::with_capacity(len), len }
    }

    /// The elements, to write.
    pub(crate) fn slots(&mut self) -> &mut [MaybeUninit<f32>] {
        &mut self.storage.spare_capacity_mut()[..self.len]
    }

    /// The elements, for tasks that write disjoint strided parts.
    pub(crate) fn pointer(&mut self) -> SharedPointer {
        SharedPointer(self.storage.as_mut_ptr())
    }

    /// The finished vector.
    ///
    /// # Safety
    ///
    /// Every element has been written.
    pub(crate) unsafe fn written(mut self) -> Vec<f32> {
        // SAFETY: the capacity is at least `len`; the caller wrote every element.
        unsafe { self.storage.set_len(self.len) };
        self.storage
    }
}

/// A pointer that may cross threads; whoever writes through it keeps to a range of its own.
#[derive(Clone, Copy)]
pub(crate) struct SharedPointer(*mut f32);

// SAFETY: a plain address; each use states why its range is in bounds and its own.
unsafe impl Send for SharedPointer {}
// SAFETY: as above.
unsafe impl Sync for SharedPointer {}

impl SharedPointer {
    pub(crate) fn new(slice: &mut [f32]) -> Self {
        Self(slice.as_mut_ptr())
    }

    pub(crate) fn from_raw(pointer: *mut f32) -> Self {
        Self(pointer)
    }

    /// The address of element `index`.
    pub(crate) fn at(self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }

    /// The initialized elements `start .. start + len`.
    ///
    /// # Safety
    ///
    /// They are in bounds, initialized, outlive `'a`, and nobody else touches them during `'a`.
    pub(crate) unsafe fn slice<'a>(self, start: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.at(start), len) }
    }

    /// The initialized elements `start .. start + len`, to read.
    ///
    /// # Safety
    ///
    /// They are in bounds, initialized, outlive `'a`, and nobody writes them during `'a`.
    pub(crate) unsafe fn read<'a>(self, start: usize, len: usize) -> &'a [f32] {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts(self.at(start), len) }
    }

    /// The elements `start .. start + len`, to write.
    ///
    /// # Safety
    ///
    /// They are in bounds, outlive `'a`, and nobody else touches them during `'a`.
    pub(crate) unsafe fn slots<'a>(self, start: usize, len: usize) -> &'a mut [MaybeUninit<f32>] {
        // SAFETY: promised by the caller; unwritten elements are valid as `MaybeUninit`.
        unsafe { std::slice::from_raw_parts_mut(self.at(start).cast(), len) }
    }
}

/// `kernel` over `x` in chunks, in parallel; the kernel writes its whole output chunk.
///
/// # Safety
///
/// `kernel(start, x, y)` writes every element of `y`, which has the length of `x`.
pub(crate) unsafe fn map(x: &[f32], kernel: impl Fn(usize, &[f32], &mut [MaybeUninit<f32>]) + Sync) -> Vec<f32> {
    let mut y = Output::new(x.len());
    let chunks = y.slots().par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
    chunks.enumerate().for_each(|(index, (y, x))| kernel(index * CHUNK, x, y));
    // SAFETY: the chunks cover the output and the kernel wrote each whole.
    unsafe { y.written() }
}

thread_local! {
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Lends `len` elements of memory that each thread keeps from call to call; their values are arbitrary.
pub(crate) fn with_scratch<T>(len: usize, action: impl FnOnce(&mut [f32]) -> T) -> T {
    SCRATCH.with(|cell| {
        // Taken, not borrowed: an action that comes back here on the same thread gets fresh memory.
        let mut scratch = cell.take();
        if scratch.len() < len {
            scratch.resize(len, 0.0);
        }
        let result = action(&mut scratch[..len]);
        cell.set(scratch);
        result
    })
}

/// The sum of equally long partial results, in order, into the first.
pub(crate) fn sum_in_order(parts: Vec<Vec<f32>>, len: usize) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_else(|| vec![0.0; len]);
    for part in parts {
        for (total, part) in total.iter_mut().zip(&part) {
            *total += part;
        }
    }
    total
}
