//! Causal multi-head self-attention (Vaswani et al. 2017), in tiles (Dao et al. 2022).
//!
//! A tile of scores, 64 queries by up to 512 keys, lives in one thread's cache; a row's softmax is carried from tile
//! to tile by its running maximum and sum. The backward pass computes the scores again from the saved log-sum-exp.
//! So memory grows with time, not with its square.

use crate::buffer::{Output, SharedPointer, with_scratch};
use crate::dropout::{self, Dropout};
use crate::matrix::{Operand, Target, strided_product};
use crate::softmax::{backward_row, backward_row_with_dropout, exponentials, maximum};
use crate::vector::{dot_block, scale_chunk};
use gemm::Parallelism;
use rayon::prelude::*;

pub use crate::dropout::attention_mask;

/// Rows of a tile of scores.
const QUERY_TILE: usize = 64;
/// Columns of a tile of scores; a multiple of [`QUERY_TILE`], so that every row of a visited tile sees a key.
const KEY_TILE: usize = 512;

/// The sizes of an attention operation. The width of the model is `heads * head_width`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Sequences.
    pub batch: usize,
    /// Tokens of each sequence.
    pub time: usize,
    /// Heads, each attending on its own.
    pub heads: usize,
    /// Channels of one head.
    pub head_width: usize,
}

impl AttentionShape {
    /// Channels of all heads together.
    pub fn width(self) -> usize {
        self.heads * self.head_width
    }

    fn is_empty(self) -> bool {
        self.batch * self.time * self.width() == 0
    }

    /// 1 / √(head width), the factor of the scores.
    fn scale(self) -> f32 {
        1.0 / (self.head_width as f32).sqrt()
    }

    /// Where a head's queries begin in `qkv`; keys follow after `width`, values after `2 * width`.
    fn packed_start(self, head: usize) -> usize {
        head / self.heads * self.time * 3 * self.width() + head % self.heads * self.head_width
    }

    /// Where a head's channels begin in `[batch, time, width]`.
    fn start(self, head: usize) -> usize {
        head / self.heads * self.time * self.width() + head % self.heads * self.head_width
    }
}

/// Attention over packed `qkv`, `[batch, time, 3 * width]`: queries, keys and values, each `[heads, head_width]`.
///
/// Returns the output, `[batch, time, width]`, and the natural logarithm of each row's sum of exponentials,
/// `[batch, heads, time]`, for [`backward`]. With `dropout`, probabilities are multiplied by
/// [`attention_mask`] after the softmax.
pub fn forward(qkv: &[f32], shape: AttentionShape, dropout: Option<Dropout>) -> (Vec<f32>, Vec<f32>) {
    let AttentionShape { batch, time, heads, .. } = shape;
    assert_eq!(qkv.len(), batch * time * 3 * shape.width(), "qkv of {shape:?}");
    let mut out = Output::new(batch * time * shape.width());
    let mut log_sum_exp = Output::new(batch * heads * time);
    if shape.is_empty() {
        return (Vec::new(), vec![0.0; batch * heads * time]);
    }
    let pointers = (out.pointer(), log_sum_exp.pointer());
    let tiles = time.div_ceil(QUERY_TILE);
    (0..batch * heads * tiles).into_par_iter().with_max_len(1).for_each(|task| {
        let (head, tile) = (task / tiles, task % tiles);
        with_scratch(QUERY_TILE * KEY_TILE.min(time), |scores| {
            // SAFETY: each task writes the rows of its own head and query tile, all in bounds by the asserted sizes.
            unsafe { forward_tile(qkv, shape, dropout, head, tile * QUERY_TILE, scores, pointers) }
        });
    });
    // SAFETY: the tasks covered every head and every query.
    unsafe { (out.written(), log_sum_exp.written()) }
}

/// One tile of queries of one head, over all the keys that it sees.
///
/// # Safety
///
/// `qkv` and the outputs have the sizes of `shape`, and nobody else touches this tile's rows of the outputs.
unsafe fn forward_tile(
    qkv: &[f32],
    shape: AttentionShape,
    dropout: Option<Dropout>,
    head: usize,
    first_query: usize,
    scores: &mut [f32],
    (out, log_sum_exp): (SharedPointer, SharedPointer),
) {
    let AttentionShape { time, head_width, .. } = shape;
    let width = shape.width();
    let queries = QUERY_TILE.min(time - first_query);
    let end = first_query + queries;
    let packed = qkv.as_ptr().wrapping_add(shape.packed_start(head));
    let out_start = shape.start(head) + first_query * width;
    let query = Operand::rows(packed.wrapping_add(first_query * 3 * width), 3 * width);
    let mut maxima = [f32::NEG_INFINITY; QUERY_TILE];
    let mut sums = [0.0_f32; QUERY_TILE];
    for first_key in (0..end).step_by(KEY_TILE) {
        let keys = KEY_TILE.min(end - first_key);
        let key = Operand::rows(packed.wrapping_add(width + first_key * 3 * width), 3 * width);
        let value = Operand::rows(packed.wrapping_add(2 * width + first_key * 3 * width), 3 * width);
        let target = Target { pointer: scores.as_mut_ptr(), row_stride: keys, accumulate: false };
        // SAFETY: operands lie in `qkv`; `scores` holds `queries * keys` elements.
        unsafe {
            let sizes = [queries, keys, head_width];
            strided_product(sizes, query, key.transposed(), shape.scale(), target, Parallelism::None);
        }
        for (i, row) in scores.chunks_exact_mut(keys).take(queries).enumerate() {
            let (live, hidden) = row.split_at_mut(keys.min(first_query + i + 1 - first_key));
            let largest = maximum(live).max(maxima[i]);
            let sum = exponentials(live, largest);
            hidden.fill(0.0);
            if first_key > 0 {
                let correction = (maxima[i] - largest).exp();
                sums[i] *= correction;
                // SAFETY: the first key tile wrote this row; it is this task's own.
                scale_chunk(unsafe { out.slice(out_start + i * width, head_width) }, correction);
            }
            maxima[i] = largest;
            sums[i] += sum;
            if let Some(dropout) = dropout {
                let keys = dropout::row_keys(dropout, head, first_query + i);
                dropout::scale_row(live, keys, first_key as u32, dropout.threshold(), dropout.factor());
            }
        }
        let probabilities = Operand::rows(scores.as_ptr(), keys);
        let target = Target { pointer: out.at(out_start), row_stride: width, accumulate: first_key > 0 };
        // SAFETY: as above; the target is this task's rows, written by the first key tile before any accumulates.
        unsafe {
            strided_product([queries, head_width, keys], probabilities, value, 1.0, target, Parallelism::None);
        }
    }
    for i in 0..queries {
        // SAFETY: this task's own rows; the products above wrote the output.
        unsafe {
            scale_chunk(out.slice(out_start + i * width, head_width), 1.0 / sums[i]);
            log_sum_exp.at(head * time + first_query + i).write(maxima[i] + sums[i].ln());
        }
    }
}

/// The gradient of [`forward`] with respect to `qkv`, `[batch, time, 3 * width]`, from what it returned, `dout`
/// (`[batch, time, width]`) and the same `dropout`.
pub fn backward(
    qkv: &[f32],
    out: &[f32],
    log_sum_exp: &[f32],
    dout: &[f32],
    shape: AttentionShape,
    dropout: Option<Dropout>,
) -> Vec<f32> {
    let AttentionShape { batch, time, heads, .. } = shape;
    assert_eq!(qkv.len(), batch * time * 3 * shape.width(), "qkv of {shape:?}");
    assert_eq!(out.len(), batch * time * shape.width(), "out of {shape:?}");
    assert_eq!(dout.len(), out.len(), "dout of {shape:?}");
    assert_eq!(log_sum_exp.len(), batch * heads * time, "log_sum_exp of {shape:?}");
    let mut dqkv = Output::new(qkv.len());
    if shape.is_empty() {
        return Vec::new();
    }
    let pointer = dqkv.pointer();
    (0..batch * heads).into_par_iter().with_max_len(1).for_each(|head| {
        let tile = QUERY_TILE * KEY_TILE.min(time);
        with_scratch(2 * tile + time, |scratch| {
            let log_sum_exp = &log_sum_exp[head * time..][..time];
            // SAFETY: each task writes the channels of its own head, all in bounds by the asserted sizes.
            unsafe { backward_head(qkv, out, log_sum_exp, dout, shape, dropout, head, scratch, tile, pointer) }
        });
    });
    // SAFETY: the tasks covered every head's queries, keys and values.
    unsafe { dqkv.written() }
}

/// All gradients of one head.
///
/// # Safety
///
/// The inputs and `dqkv` have the sizes of `shape`, and nobody else touches this head's channels of `dqkv`.
unsafe fn backward_head(
    qkv: &[f32],
    out: &[f32],
    log_sum_exp: &[f32],
    dout: &[f32],
    shape: AttentionShape,
    dropout: Option<Dropout>,
    head: usize,
    scratch: &mut [f32],
    tile: usize,
    dqkv: SharedPointer,
) {
    let AttentionShape { time, head_width, .. } = shape;
    let width = shape.width();
    let (scores, rest) = scratch.split_at_mut(tile);
    let (gradients, deltas) = rest.split_at_mut(tile);
    let (packed_start, start) = (shape.packed_start(head), shape.start(head));
    for (query, delta) in deltas.iter_mut().enumerate() {
        let row = start + query * width..start + query * width + head_width;
        // Σⱼ pⱼ ∂/∂pⱼ, which the gradient of softmax subtracts, is the output's product with its own gradient.
        *delta = dot_block(&out[row.clone()], &dout[row]);
    }
    // Rows of queries, keys or values, from the given one on.
    let packed = |part: usize, row: usize| packed_start + part * width + row * 3 * width;
    let input = |part, row| Operand::rows(qkv.as_ptr().wrapping_add(packed(part, row)), 3 * width);
    let target =
        |part, row, accumulate| Target { pointer: dqkv.at(packed(part, row)), row_stride: 3 * width, accumulate };
    for first_key in (0..time).step_by(KEY_TILE) {
        let key_end = time.min(first_key + KEY_TILE);
        // The last query tile sees every key of the tile: it goes first and stores, the others accumulate.
        for first_query in (first_key..time).step_by(QUERY_TILE).rev() {
            let queries = QUERY_TILE.min(time - first_query);
            let is_last = first_query + queries == time;
            let keys = key_end.min(first_query + queries) - first_key;
            let dout_rows = Operand::rows(dout.as_ptr().wrapping_add(start + first_query * width), width);
            let (query, key, value) = (input(0, first_query), input(1, first_key), input(2, first_key));
            let tile_of = |pointer| Target { pointer, row_stride: keys, accumulate: false };
            // SAFETY: operands lie in their slices; each tile holds `queries * keys` elements.
            unsafe {
                let (sizes, target) = ([queries, keys, head_width], tile_of(scores.as_mut_ptr()));
                strided_product(sizes, query, key.transposed(), shape.scale(), target, Parallelism::None);
                let target = tile_of(gradients.as_mut_ptr());
                strided_product(sizes, dout_rows, value.transposed(), 1.0, target, Parallelism::None);
            }
            let rows = scores.chunks_exact_mut(keys).zip(gradients.chunks_exact_mut(keys)).take(queries);
            for (i, (scores, gradients)) in rows.enumerate() {
                let row = first_query + i;
                let live = keys.min(row + 1 - first_key);
                let (scores, hidden_scores) = scores.split_at_mut(live);
                let (gradients, hidden_gradients) = gradients.split_at_mut(live);
                hidden_scores.fill(0.0);
                hidden_gradients.fill(0.0);
                match dropout {
                    None => backward_row(scores, gradients, log_sum_exp[row], deltas[row]),
                    Some(dropout) => backward_row_with_dropout(
                        scores,
                        gradients,
                        log_sum_exp[row],
                        deltas[row],
                        dropout::row_keys(dropout, head, row),
                        first_key as u32,
                        dropout.threshold(),
                        dropout.factor(),
                    ),
                }
            }
            let probabilities = Operand::rows(scores.as_ptr(), keys);
            let gradients = Operand::rows(gradients.as_ptr(), keys);
            let scale = shape.scale();
            // SAFETY: as above; the targets are this head's own rows, and whoever comes first to a row stores.
            unsafe {
                let dquery = target(0, first_query, first_key > 0);
                strided_product([queries, head_width, keys], gradients, key, scale, dquery, Parallelism::None);
                let dkey = target(1, first_key, !is_last);
                let sizes = [keys, head_width, queries];
                strided_product(sizes, gradients.transposed(), query, scale, dkey, Parallelism::None);
                let dvalue = target(2, first_key, !is_last);
                strided_product(sizes, probabilities.transposed(), dout_rows, 1.0, dvalue, Parallelism::None);
            }
        }
    }
}
