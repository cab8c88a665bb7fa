//! Large blocks that are kept by their size.
//!
//! A training step asks for the same large blocks as the one before, in nearly the same order. A general allocator cuts
//! them out of what is free, and now and then the pieces do not fit and it takes more from the system: in a warm step of
//! GPT-2's shape at 124 M parameters, 20 MB. Blocks that are kept whole and given again to the same size need no more
//! than the first steps took.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::Mutex;

/// Smaller blocks go to the allocator beneath.
const SMALLEST: usize = 512 << 10;
/// What every large block is aligned to: a cache line, and a register of AVX-512.
const ALIGNMENT: usize = 64;
/// Blocks that can be kept.
const PLACES: usize = 1024;
/// Kept beyond a quarter of the most that was in use at one time.
const SLACK: usize = 64 << 20;

/// An allocator that keeps the large blocks of another by their size.
///
/// A size is rounded up to one of eight between a power of two and the next. Kept and used blocks together are at most
/// five quarters of the most that was in use at one time, and 64 MiB; beyond it, what was kept longest goes back.
pub struct KeptBlocks<A> {
    beneath: A,
    kept: Mutex<Kept>,
}

struct Kept {
    /// Address and size, from the one kept longest to the newest.
    blocks: [(usize, usize); PLACES],
    count: usize,
    bytes: usize,
    /// Bytes of large blocks in use, now and at most.
    used: usize,
    most_used: usize,
    /// Bytes of large blocks that were asked of the allocator beneath so far.
    taken: u64,
}

/// The size that a block of `size` bytes has; none for a small one.
fn size_class(size: usize) -> Option<usize> {
    if size < SMALLEST {
        return None;
    }
    // Rust's layouts end below isize::MAX, so this cannot overflow.
    let step = 1_usize << (size.ilog2() - 3);
    Some(size.next_multiple_of(step))
}

impl<A> KeptBlocks<A> {
    /// Keeps blocks of `beneath`.
    pub const fn new(beneath: A) -> Self {
        let kept = Kept { blocks: [(0, 0); PLACES], count: 0, bytes: 0, used: 0, most_used: 0, taken: 0 };
        Self { beneath, kept: Mutex::new(kept) }
    }

    /// Bytes of large blocks (of half a MiB and more) that were asked of the allocator beneath so far.
    pub fn taken(&self) -> u64 {
        self.lock().taken
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        // Nothing that holds the lock can panic.
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Kept {
    /// Takes the newest block of this size out.
    fn take(&mut self, size: usize) -> Option<usize> {
        let index = self.blocks[..self.count].iter().rposition(|block| block.1 == size)?;
        Some(self.remove(index).0)
    }

    fn remove(&mut self, index: usize) -> (usize, usize) {
        let block = self.blocks[index];
        self.blocks.copy_within(index + 1..self.count, index);
        self.count -= 1;
        self.bytes -= block.1;
        block
    }

    /// A block that has to go before another of `size` bytes is kept.
    fn excess(&mut self, size: usize) -> Option<(usize, usize)> {
        let most = self.most_used + self.most_used / 4 + SLACK;
        let full = self.count == PLACES || self.used + self.bytes + size > most;
        (full && self.count > 0).then(|| self.remove(0))
    }
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, ALIGNMENT).expect("sizes below isize::MAX")
}

fn class_of(asked: Layout) -> Option<usize> {
    size_class(asked.size()).filter(|size| asked.align() <= ALIGNMENT && *size <= isize::MAX as usize - ALIGNMENT)
}

impl<A: GlobalAlloc> KeptBlocks<A> {
    /// A block of `size` bytes, and whether it was kept: then it holds what it held.
    fn block(&self, size: usize, zeroed: bool) -> (*mut u8, bool) {
        let mut kept = self.lock();
        kept.used += size;
        kept.most_used = kept.most_used.max(kept.used);
        if let Some(address) = kept.take(size) {
            return (std::ptr::with_exposed_provenance_mut(address), true);
        }
        kept.taken += size as u64;
        drop(kept);
        // SAFETY: the size is not zero.
        let block =
            unsafe { if zeroed { self.beneath.alloc_zeroed(layout(size)) } else { self.beneath.alloc(layout(size)) } };
        if block.is_null() {
            self.lock().used -= size;
        }
        (block, false)
    }
}

// SAFETY: a block is in the list or in use, never both; its size follows from the layout that it was asked with.
unsafe impl<A: GlobalAlloc> GlobalAlloc for KeptBlocks<A> {
    unsafe fn alloc(&self, asked: Layout) -> *mut u8 {
        match class_of(asked) {
            Some(size) => self.block(size, false).0,
            // SAFETY: promised by the caller.
            None => unsafe { self.beneath.alloc(asked) },
        }
    }

    unsafe fn alloc_zeroed(&self, asked: Layout) -> *mut u8 {
        let Some(size) = class_of(asked) else {
            // SAFETY: promised by the caller.
            return unsafe { self.beneath.alloc_zeroed(asked) };
        };
        let (block, used_before) = self.block(size, true);
        if used_before {
            // SAFETY: the block has so many bytes and more.
            unsafe { block.write_bytes(0, asked.size()) };
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, asked: Layout) {
        let Some(size) = class_of(asked) else {
            // SAFETY: promised by the caller.
            unsafe { self.beneath.dealloc(block, asked) };
            return;
        };
        let mut kept = self.lock();
        kept.used -= size;
        while let Some((address, size)) = kept.excess(size) {
            drop(kept);
            // SAFETY: the block was out of use and is no longer in the list.
            unsafe { self.beneath.dealloc(std::ptr::with_exposed_provenance_mut(address), layout(size)) };
            kept = self.lock();
        }
        if kept.count < PLACES && kept.used + kept.bytes + size <= kept.most_used + kept.most_used / 4 + SLACK {
            let place = kept.count;
            kept.blocks[place] = (block.expose_provenance(), size);
            kept.count += 1;
            kept.bytes += size;
        } else {
            drop(kept);
            // SAFETY: nobody uses the block.
            unsafe { self.beneath.dealloc(block, layout(size)) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, asked: Layout, size: usize) -> *mut u8 {
        // The layout of the new size; the caller promises that it is one.
        let wanted = Layout::from_size_align(size, asked.align()).expect("a size that can be asked for");
        match (class_of(asked), class_of(wanted)) {
            // SAFETY: promised by the caller.
            (None, None) => unsafe { self.beneath.realloc(block, asked, size) },
            (Some(old), Some(new)) if old == new => block,
            // SAFETY: the blocks are apart, and each has the bytes that are copied.
            _ => unsafe {
                let moved = self.alloc(wanted);
                if !moved.is_null() {
                    moved.copy_from_nonoverlapping(block, asked.size().min(size));
                    self.dealloc(block, asked);
                }
                moved
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[test]
    fn sizes_are_rounded_up_by_an_eighth_at_most() {
        assert_eq!(size_class(SMALLEST - 1), None);
        for size in [SMALLEST, SMALLEST + 1, 1_000_000, 1 << 20, (1 << 20) + 1, 123_456_789] {
            let class = size_class(size).unwrap();
            assert!(class >= size && class <= size + size / 8 + 1, "{size} became {class}");
            assert_eq!(size_class(class), Some(class));
        }
    }

    #[test]
    fn the_same_sizes_take_nothing_the_second_time() {
        let allocator = KeptBlocks::new(System);
        let sizes = [600 << 10, 1 << 20, 3 << 20, 600 << 10, 5_000_001, 3 << 20];
        let step = || {
            // SAFETY: each block is written within its size and given back with its layout.
            unsafe {
                let blocks = sizes.map(|size| {
                    let asked = Layout::from_size_align(size, 4).unwrap();
                    let block = allocator.alloc(asked);
                    assert!(block.is_aligned_to_line());
                    block.write_bytes(7, size);
                    (block, asked)
                });
                for (block, asked) in blocks {
                    allocator.dealloc(block, asked);
                }
            }
        };
        step();
        let taken = allocator.taken();
        assert!(taken >= sizes.iter().sum::<usize>() as u64);
        for _ in 0..3 {
            step();
        }
        assert_eq!(allocator.taken(), taken);
    }

    #[test]
    fn a_kept_block_is_zeroed_when_zeros_are_asked_for_and_survives_growth() {
        let allocator = KeptBlocks::new(System);
        let asked = Layout::from_size_align(1 << 20, 8).unwrap();
        // SAFETY: as above.
        unsafe {
            let block = allocator.alloc(asked);
            block.write_bytes(9, asked.size());
            allocator.dealloc(block, asked);
            let block = allocator.alloc_zeroed(asked);
            assert!(std::slice::from_raw_parts(block, asked.size()).iter().all(|byte| *byte == 0));
            block.write_bytes(5, asked.size());
            let grown = allocator.realloc(block, asked, 9 << 20);
            assert!(std::slice::from_raw_parts(grown, asked.size()).iter().all(|byte| *byte == 5));
            let grown_layout = Layout::from_size_align(9 << 20, 8).unwrap();
            let small = allocator.realloc(grown, grown_layout, 100);
            assert!(std::slice::from_raw_parts(small, 100).iter().all(|byte| *byte == 5));
            allocator.dealloc(small, Layout::from_size_align(100, 8).unwrap());
        }
    }

    #[test]
    fn what_is_kept_stays_bounded() {
        let allocator = KeptBlocks::new(System);
        // Sizes that never come again, as of a cache that grows.
        for index in 0..4000_usize {
            let asked = Layout::from_size_align((1 << 20) + index * 4096, 4).unwrap();
            // SAFETY: as above.
            unsafe { allocator.dealloc(allocator.alloc(asked), asked) };
        }
        let kept = allocator.lock();
        assert!(kept.bytes <= kept.most_used + kept.most_used / 4 + SLACK, "{} bytes are kept", kept.bytes);
        assert_eq!(kept.used, 0);
    }

    trait Aligned {
        fn is_aligned_to_line(self) -> bool;
    }

    impl Aligned for *mut u8 {
        fn is_aligned_to_line(self) -> bool {
            self.addr().is_multiple_of(ALIGNMENT)
        }
    }
}
