//! Matrix products by AVX-512, of `f32` operands ([`SINGLE`]) and of bf16 operands with `f32` accumulation ([`PAIRED`]).
//!
//! Operands come and results go as `f32`, and are packed into 32-bit words on the way. In `f32` a word is an element. In
//! bf16, elements are rounded (to nearest, ties to even; subnormal numbers to zero) and a word is two neighbors along the
//! inner dimension, as `VDPBF16PS` takes them. It multiplies them exactly and adds both products to an `f32`, so a result
//! differs from the exact product of the rounded operands by `f32` rounding alone.
//!
//! The blocking is that of Goto and van de Geijn (2008): a block of the right operand is packed into panels of
//! [`PANEL`] columns, which the threads share; each thread packs tiles of rows of the left one for itself; and a tile of
//! [`ROWS`] by [`PANEL`] results stays in registers over an inner block. How the inner dimension is cut depends on its
//! length and on the number of columns, so results do not depend on the number of threads.

mod pack;

use super::{Beginning, Operand, Start, Target};
use crate::buffer::{SharedPointer, with_scratch};
use pack::{interleave, lanes, pack_rows};
use rayon::prelude::*;
#[allow(clippy::wildcard_imports, reason = "intrinsics, whose names say where they come from")]
use std::arch::x86_64::*;
use std::cell::Cell;
use std::ops::Range;
use std::thread::LocalKey;

/// Elements of a 512-bit register of `f32`.
const LANES: usize = 16;
/// Elements in a word of `f32`: the parameter `PAIR` of everything here.
pub(super) const SINGLE: usize = 1;
/// Elements in a word of bf16.
pub(super) const PAIRED: usize = 2;
/// Rows of the left operand that a thread packs at a time: with [`inner_block`], a quarter of a MiB and more.
const TILE: usize = 42 * ROWS;
/// Words of the right operand that are packed at a time: 8 MiB.
const SHARED_WORDS: usize = 2 << 20;
/// Words of both right operands of a chain, at most: 20 MiB, which GPT-2's feed-forward of width 768 takes in `f32`.
const CHAINED_WORDS: usize = 5 << 20;
/// Columns of such a block.
const SHARED_COLUMNS: usize = 4096;
/// Rows that are packed panel by panel while they are in the nearest cache; even.
const PACKED_ROWS: usize = 16;
/// Rows of a tile of a chain: with the inner widths of language models, its results fill the nearer cache.
const CHAINED_ROWS: usize = 14 * ROWS;
/// Words between two packed rows beyond their length, so that the rows of a tile fall into different sets of the cache.
const STAGGER: usize = 16;

/// Memory that each thread keeps from call to call.
type Scratch = LocalKey<Cell<Vec<u32>>>;

thread_local! {
    static PANELS: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
    static TILES: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
}

/// Rows of results in registers.
const ROWS: usize = 6;
/// Registers of a row of results. With [`ROWS`] this makes 24 chains, which hide the latency of the instruction.
const VECTORS: usize = 4;
/// Columns of a panel.
const PANEL: usize = VECTORS * LANES;

/// Inner elements that a tile of results is summed over in registers, at most; even. (In `f32`, 12 by 32 results with
/// panels that fit the nearest cache were a tenth slower; from 128 to 512, lengths differ little.)
const fn inner_block<const PAIR: usize>() -> usize {
    if PAIR == PAIRED { 512 } else { 384 }
}

/// Whether the machine has the instructions.
pub(super) fn is_available<const PAIR: usize>() -> bool {
    (PAIR == SINGLE || is_x86_feature_detected!("avx512bf16"))
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
}

/// `target = factor · left right`, added to what `beginning` says; `left` is `[rows, inner]`, `right` is
/// `[inner, columns]`, and nothing is empty. On all of rayon's threads when `parallel`.
///
/// # Safety
///
/// [`is_available`]. The pointers cover the matrices that sizes and strides describe; the target overlaps nothing, and
/// is initialized when the product begins with it.
pub(super) unsafe fn product<const PAIR: usize>(
    [rows, columns, inner]: [usize; 3],
    left: Operand,
    right: Operand,
    factor: f32,
    target: Target,
    beginning: Beginning,
    parallel: bool,
) {
    let block_columns = columns.min(SHARED_COLUMNS);
    let width = block_columns.next_multiple_of(PANEL);
    // Whole inner blocks, as many as fit.
    let whole = inner_block::<PAIR>();
    let block_inner = ((PAIR * SHARED_WORDS / width / whole).max(1) * whole).min(inner.next_multiple_of(PAIR));
    with_words(&PANELS, width * block_inner / PAIR, |packed| {
        let packed = Words(packed.as_mut_ptr());
        for first_column in (0..columns).step_by(block_columns) {
            for first_inner in (0..inner).step_by(block_inner) {
                let block = Block::<PAIR> {
                    left: At { row: 0, column: first_inner, operand: left },
                    right: At { row: first_inner, column: first_column, operand: right },
                    rows,
                    columns: block_columns.min(columns - first_column),
                    inner: block_inner.min(inner - first_inner),
                    packed,
                    factor,
                    first_column,
                    target: SharedPointer::from_raw(target.pointer),
                    target_stride: target.row_stride,
                    beginning: if first_inner > 0 { Beginning::Itself } else { beginning },
                };
                // SAFETY: the block lies in the product, and the words hold its part of the right operand.
                unsafe { block.run(parallel) };
            }
        }
    });
}

/// A product whose result, made into something else, is the left operand of another: what [`chain`] computes by tiles of
/// rows, so that the result between is still in the thread's cache.
pub(super) struct Link<'a> {
    pub(super) right: Operand,
    /// Columns of the result.
    pub(super) columns: usize,
    pub(super) beginning: Beginning<'a>,
    /// `[rows, columns]`.
    pub(super) target: *mut f32,
}

impl<'a> Link<'a> {
    /// The whole product of the link, to be packed into `packed`.
    fn block<const PAIR: usize>(
        &self,
        rows: usize,
        left: Operand,
        inner: usize,
        packed: &mut [u32],
    ) -> Block<'a, PAIR> {
        Block {
            left: At { row: 0, column: 0, operand: left },
            right: At { row: 0, column: 0, operand: self.right },
            rows,
            columns: self.columns,
            inner,
            packed: Words(packed.as_mut_ptr()),
            factor: 1.0,
            first_column: 0,
            target: SharedPointer::from_raw(self.target),
            target_stride: self.columns,
            beginning: self.beginning,
        }
    }
}

/// Words of a packed right operand.
fn packed_words<const PAIR: usize>(inner: usize, columns: usize) -> usize {
    inner.div_ceil(PAIR) * columns.next_multiple_of(PANEL)
}

/// Whether the right operands of a chain of `[_, inner] [inner, middle] [middle, columns]` can be packed at one time.
pub(super) fn links<const PAIR: usize>([inner, middle, columns]: [usize; 3]) -> bool {
    packed_words::<PAIR>(inner, middle) + packed_words::<PAIR>(middle, columns) <= CHAINED_WORDS
}

/// `first.target = left first.right`, then `between` for some rows of it, and with the operand that it returns (of whose
/// rows it made these) `second.target = … second.right`; all on rayon's threads. `between` gets room for its rows.
///
/// # Safety
///
/// [`is_available`]; as of [`product`] for both; [`links`] holds; `between` returns an operand whose rows can be read.
pub(super) unsafe fn chain<const PAIR: usize>(
    rows: usize,
    left: Operand,
    inner: usize,
    first: &Link,
    between: &(dyn Fn(Range<usize>, &mut [f32]) -> Operand + Sync),
    second: &Link,
) {
    let first_words = packed_words::<PAIR>(inner, first.columns);
    let second_words = packed_words::<PAIR>(first.columns, second.columns);
    with_words(&PANELS, first_words + second_words, |packed| {
        let (one, two) = packed.split_at_mut(first_words);
        let one = first.block::<PAIR>(rows, left, inner, one);
        let two = second.block::<PAIR>(rows, left, first.columns, two);
        let (one_panels, two_panels) = (first.columns.div_ceil(PANEL), second.columns.div_ceil(PANEL));
        let (one_tasks, two_tasks) = (one.packing_tasks(one_panels), two.packing_tasks(two_panels));
        (0..one_tasks + two_tasks).into_par_iter().for_each(|task| {
            // SAFETY: each task packs words of its own.
            unsafe {
                if task < one_tasks { one.pack(task, one_panels) } else { two.pack(task - one_tasks, two_panels) }
            }
        });
        let shares = rayon::current_num_threads() * rows.div_ceil(rayon::current_num_threads() * CHAINED_ROWS);
        let tile = rows.div_ceil(shares).next_multiple_of(ROWS);
        (0..rows.div_ceil(tile)).into_par_iter().with_max_len(1).for_each(|index| {
            let (start, count) = (index * tile, tile.min(rows - index * tile));
            with_words(&TILES, tile_words::<PAIR>(tile), |words| {
                with_scratch(count * one.columns, |room| {
                    // SAFETY: the panels are packed, and each task writes its own rows.
                    unsafe { one.multiply(start, count, one_panels, words) };
                    let mut operand = between(start..start + count, room);
                    // The block counts rows from the first of all.
                    operand.pointer = operand.pointer.wrapping_sub(start * operand.row_stride);
                    let two = Block { left: At { operand, ..two.left }, ..two };
                    // SAFETY: as above; the caller vouches for the operand.
                    unsafe { two.multiply(start, count, two_panels, words) };
                });
            });
        });
    });
}

fn with_words<T>(scratch: &'static Scratch, len: usize, action: impl FnOnce(&mut [u32]) -> T) -> T {
    scratch.with(|cell| {
        // Taken, not borrowed: an action that comes back here on the same thread gets memory of its own.
        let mut words = cell.take();
        if words.len() < len {
            words.resize(len, 0);
        }
        let result = action(&mut words[..len]);
        cell.set(words);
        result
    })
}

/// Packed words that tasks write and read in parts of their own.
#[derive(Clone, Copy)]
struct Words(*mut u32);

// SAFETY: a plain address; each use keeps to its own part.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    fn at(self, index: usize) -> *mut u32 {
        self.0.wrapping_add(index)
    }
}

/// An operand from some row and column on.
#[derive(Clone, Copy)]
struct At {
    row: usize,
    column: usize,
    operand: Operand,
}

// SAFETY: operands are read only.
unsafe impl Send for At {}
// SAFETY: as above.
unsafe impl Sync for At {}

impl At {
    fn element(self, row: usize, column: usize) -> *const f32 {
        let Operand { pointer, row_stride, column_stride } = self.operand;
        pointer.wrapping_add((self.row + row) * row_stride + (self.column + column) * column_stride)
    }
}

/// The part of a product whose right operand is packed at one time.
#[derive(Clone, Copy)]
struct Block<'a, const PAIR: usize> {
    left: At,
    right: At,
    rows: usize,
    columns: usize,
    inner: usize,
    packed: Words,
    factor: f32,
    /// Of the target.
    first_column: usize,
    target: SharedPointer,
    target_stride: usize,
    beginning: Beginning<'a>,
}

impl<const PAIR: usize> Block<'_, PAIR> {
    /// # Safety
    ///
    /// As of [`product`].
    unsafe fn run(&self, parallel: bool) {
        let panels = self.columns.div_ceil(PANEL);
        if !parallel {
            // SAFETY: nobody else is here.
            (0..self.packing_tasks(panels)).for_each(|task| unsafe { self.pack(task, panels) });
            with_words(&TILES, tile_words::<PAIR>(self.rows.min(TILE)), |words| {
                for first in (0..self.rows).step_by(TILE) {
                    // SAFETY: the panels are packed.
                    unsafe { self.multiply(first, TILE.min(self.rows - first), panels, words) };
                }
            });
            return;
        }
        // SAFETY: each task packs words of its own.
        (0..self.packing_tasks(panels)).into_par_iter().for_each(|task| unsafe { self.pack(task, panels) });
        // As much for each thread as for the others, and no more than its cache holds.
        let shares = 2 * rayon::current_num_threads();
        let tile = self.rows.div_ceil(shares).next_multiple_of(ROWS).min(TILE);
        (0..self.rows.div_ceil(tile)).into_par_iter().with_max_len(1).for_each(|index| {
            let first = index * tile;
            with_words(&TILES, tile_words::<PAIR>(tile), |words| {
                // SAFETY: the panels are packed, and each task writes its own rows.
                unsafe { self.multiply(first, tile.min(self.rows - first), panels, words) };
            });
        });
    }

    /// The inner blocks: where each begins, and how long it is.
    fn inner_blocks(&self) -> impl Iterator<Item = (usize, usize)> {
        let inner = self.inner;
        // Of one length, but for the last.
        let whole = inner.div_ceil(inner.div_ceil(inner_block::<PAIR>())).next_multiple_of(2);
        (0..inner).step_by(whole).map(move |first| (first, whole.min(inner - first)))
    }

    /// The words of a panel of an inner block: `[words, PANEL]`.
    fn panel_words(&self, panel: usize, panels: usize, first: usize, length: usize) -> *mut u32 {
        self.packed.at((panels * (first / PAIR) + panel * length.div_ceil(PAIR)) * PANEL)
    }

    /// Whether rows of the right operand are contiguous: then they are packed row by row, as memory likes to be read.
    fn right_by_rows(&self) -> bool {
        self.right.operand.column_stride == 1
    }

    /// The number of tasks that pack the right operand.
    fn packing_tasks(&self, panels: usize) -> usize {
        if self.right_by_rows() { self.inner.div_ceil(PACKED_ROWS) } else { panels }
    }

    /// Packs some rows of all panels, or all rows of a panel.
    ///
    /// # Safety
    ///
    /// Nobody else touches the task's words.
    unsafe fn pack(&self, task: usize, panels: usize) {
        let strides = (self.right.operand.row_stride, self.right.operand.column_stride);
        let (tasks_rows, tasks_panels) = if self.right_by_rows() {
            (task * PACKED_ROWS..self.inner.min((task + 1) * PACKED_ROWS), 0..panels)
        } else {
            (0..self.inner, task..task + 1)
        };
        for (first, length) in self.inner_blocks() {
            let (from, to) = (first.max(tasks_rows.start), (first + length).min(tasks_rows.end));
            for panel in if from < to { tasks_panels.clone() } else { 0..0 } {
                let columns = PANEL.min(self.columns - panel * PANEL);
                let source = self.right.element(from, panel * PANEL);
                let words = self.panel_words(panel, panels, first, length).wrapping_add((from - first) / PAIR * PANEL);
                // SAFETY: the elements lie in the operand, and the words are this task's.
                unsafe { interleave::<PAIR>(source, strides, to - from, columns, words, PANEL) };
            }
        }
    }

    /// Multiplies `count` rows from `first` on with all panels.
    ///
    /// # Safety
    ///
    /// The panels are packed, `words` has [`tile_words`] of the rows, and nobody else touches the target's rows.
    unsafe fn multiply(&self, first: usize, count: usize, panels: usize, words: &mut [u32]) {
        let Operand { row_stride, column_stride, .. } = self.left.operand;
        for (first_inner, length) in self.inner_blocks() {
            let length_words = length.div_ceil(PAIR);
            let source = self.left.element(first, first_inner);
            // Rows whose elements lie side by side are packed as they stand. Others, whose columns lie side by side, are
            // packed as the right operand is.
            let by_rows = column_stride == 1;
            let (row_step, word_step) =
                if by_rows { (length_words.next_multiple_of(LANES) + STAGGER, 1) } else { (1, padded(count)) };
            // SAFETY: the elements lie in the operand; the words hold the tile.
            unsafe {
                if by_rows {
                    pack_rows::<PAIR>(source, row_stride, count, length, words.as_mut_ptr(), row_step);
                } else {
                    let strides = (column_stride, row_stride);
                    for step in (0..length).step_by(PACKED_ROWS) {
                        for from in (0..count).step_by(PANEL) {
                            let source = source.wrapping_add(step * column_stride + from * row_stride);
                            let (steps, columns) = (PACKED_ROWS.min(length - step), PANEL.min(count - from));
                            let words = words.as_mut_ptr().wrapping_add(step / PAIR * word_step + from);
                            interleave::<PAIR>(source, strides, steps, columns, words, word_step);
                        }
                    }
                }
            }
            for panel in 0..panels {
                let right = self.panel_words(panel, panels, first_inner, length);
                let columns = PANEL.min(self.columns - panel * PANEL);
                let column = self.first_column + panel * PANEL;
                let beginning = if first_inner > 0 { Beginning::Itself } else { self.beginning };
                for row in (0..count).step_by(ROWS) {
                    let tile = Tile {
                        length: length_words,
                        left: words.as_ptr().wrapping_add(row * row_step),
                        row_step,
                        word_step,
                        right,
                        target: self.target.at((first + row) * self.target_stride + column),
                        target_stride: self.target_stride,
                        rows: ROWS.min(count - row),
                        columns,
                        factor: self.factor,
                        beginning: beginning.at(first + row, column),
                    };
                    // SAFETY: the words hold the tile's operands, the target its results.
                    unsafe {
                        multiply_tile::<PAIR>(&tile);
                    }
                }
            }
        }
    }
}

/// Rows of a tile as they are packed: whole panels of columns where it is interleaved.
fn padded(rows: usize) -> usize {
    rows.next_multiple_of(PANEL)
}

/// Words that a tile of so many rows takes, whichever way it is packed.
fn tile_words<const PAIR: usize>(rows: usize) -> usize {
    let inner = inner_block::<PAIR>() / PAIR;
    let by_rows = rows.next_multiple_of(ROWS) * (inner + STAGGER);
    by_rows.max((padded(rows) + STAGGER) * inner)
}

/// Operands and results of [`multiply_tile`].
struct Tile {
    /// Of the inner dimension, in words.
    length: usize,
    /// Word `(i, q)` is at `i * row_step + q * word_step`.
    left: *const u32,
    row_step: usize,
    word_step: usize,
    /// `[length, PANEL]`.
    right: *const u32,
    target: *mut f32,
    target_stride: usize,
    rows: usize,
    columns: usize,
    factor: f32,
    beginning: Start,
}

/// Results in registers: up to [`ROWS`] rows by [`PANEL`] columns.
///
/// # Safety
///
/// The instructions of [`is_available`]; `left` can be read for [`ROWS`] rows, `right` for `length` rows of [`PANEL`].
unsafe fn multiply_tile<const PAIR: usize>(tile: &Tile) {
    // SAFETY: promised by the caller.
    unsafe {
        match (PAIR, tile.columns.div_ceil(LANES)) {
            (SINGLE, 1) => multiply_singles::<1>(tile),
            (SINGLE, 2) => multiply_singles::<2>(tile),
            (SINGLE, 3) => multiply_singles::<3>(tile),
            (SINGLE, _) => multiply_singles::<VECTORS>(tile),
            (_, 1) => multiply_pairs::<1>(tile),
            (_, 2) => multiply_pairs::<2>(tile),
            (_, 3) => multiply_pairs::<3>(tile),
            (_, _) => multiply_pairs::<VECTORS>(tile),
        }
    }
}

/// [`multiply_tile`] of `f32`.
///
/// # Safety
///
/// As of [`multiply_tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn multiply_singles<const V: usize>(tile: &Tile) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut sums = begin::<V>(tile);
        let (mut left, mut right) = (tile.left.cast::<f32>(), tile.right.cast::<f32>());
        let (row_step, word_step) = (tile.row_step, tile.word_step);
        for _ in 0..tile.length {
            let mut columns = [_mm512_setzero_ps(); V];
            for (vector, columns) in columns.iter_mut().enumerate() {
                *columns = _mm512_loadu_ps(right.wrapping_add(vector * LANES));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let element = _mm512_set1_ps(*left.wrapping_add(row * row_step));
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_fmadd_ps(element, columns, *sum);
                }
            }
            left = left.wrapping_add(word_step);
            right = right.wrapping_add(PANEL);
        }
        end(tile, &sums);
    }
}

/// [`multiply_tile`] of bf16.
///
/// # Safety
///
/// As of [`multiply_tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn multiply_pairs<const V: usize>(tile: &Tile) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut sums = begin::<V>(tile);
        let (mut left, mut right) = (tile.left, tile.right);
        let (row_step, word_step) = (tile.row_step, tile.word_step);
        for _ in 0..tile.length {
            let mut columns = [_mm512_setzero_si512(); V];
            for (vector, columns) in columns.iter_mut().enumerate() {
                *columns = _mm512_loadu_si512(right.wrapping_add(vector * LANES).cast());
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let word = _mm512_set1_epi32(*left.wrapping_add(row * row_step).cast::<i32>());
                let word = std::mem::transmute::<__m512i, __m512bh>(word);
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_dpbf16_ps(*sum, word, std::mem::transmute::<__m512i, __m512bh>(columns));
                }
            }
            left = left.wrapping_add(word_step);
            right = right.wrapping_add(PANEL);
        }
        end(tile, &sums);
    }
}

/// Sums of nothing, while the memory that takes them at the [`end`] is called near.
///
/// # Safety
///
/// The instructions of [`is_available`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn begin<const V: usize>(tile: &Tile) -> [[__m512; V]; ROWS] {
    for row in 0..tile.rows {
        for vector in 0..V {
            let place = tile.target.wrapping_add(row * tile.target_stride + vector * LANES);
            _mm_prefetch::<_MM_HINT_T0>(place.cast());
        }
    }
    [[_mm512_setzero_ps(); V]; ROWS]
}

/// Adds the sums to what the tile begins with, and stores them.
///
/// # Safety
///
/// The target holds the tile.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn end<const V: usize>(tile: &Tile, sums: &[[__m512; V]; ROWS]) {
    // SAFETY: promised by the caller; masks keep loads and stores within the target's columns.
    unsafe {
        let factor = _mm512_set1_ps(tile.factor);
        for (row, sums) in sums.iter().enumerate().take(tile.rows) {
            for (vector, sum) in sums.iter().enumerate() {
                let column = vector * LANES;
                let mask = lanes(tile.columns.saturating_sub(column));
                let place = tile.target.wrapping_add(row * tile.target_stride + column);
                let load = |pointer: *const f32| _mm512_maskz_loadu_ps(mask, pointer.wrapping_add(column));
                let value = match tile.beginning {
                    Start::Zero => _mm512_mul_ps(*sum, factor),
                    Start::Itself => _mm512_fmadd_ps(*sum, factor, _mm512_maskz_loadu_ps(mask, place)),
                    Start::Bias(bias) => _mm512_fmadd_ps(*sum, factor, load(bias)),
                    Start::BiasAndResidual(bias, residual, stride) => {
                        let residual = load(residual.wrapping_add(row * stride));
                        _mm512_fmadd_ps(*sum, factor, _mm512_add_ps(residual, load(bias)))
                    }
                };
                _mm512_mask_storeu_ps(place, mask, value);
            }
        }
    }
}
