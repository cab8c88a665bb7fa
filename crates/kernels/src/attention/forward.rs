//! The forward pass: a task is one tile of queries of one head, over all the keys that it sees.

use super::{Attention, Destination, KEY_TILE, Problem, QUERY_TILE, accumulates, rows_of};
use crate::buffer::{Output, SharedPointer, with_scratch};
use crate::dropout;
use crate::heads::{HeadLayout, HeadView};
use crate::matrix::{Operand, Target, strided_product};
use crate::softmax::{exponentials, maximum, soft_cap};
use crate::vector::{add_chunk, scale_chunk};
use rayon::prelude::*;

/// `softmax(scale · q kᵀ) v` for each head, over the keys that the mask shows.
///
/// `q` is `[batch, queries, heads, head_width]`, `k` and `v` are `[batch, keys, key_value_heads, head_width]`, wherever
/// they lie; query head `h` uses head `h / (heads / key_value_heads)` of keys and values. `heads` is a multiple of
/// `key_value_heads`; one head of keys and values for all is multi-query attention (Shazeer 2019).
///
/// Returns the output, `[batch, queries, heads, head_width]`, and the natural logarithm of each row's sum of
/// exponentials, `[batch, heads, queries]`, for [`super::attend_backward`]. A query that sees no key has an output of
/// zeros and a logarithm of -∞.
pub fn attend(q: HeadView, k: HeadView, v: HeadView, attention: &Attention) -> (Vec<f32>, Vec<f32>) {
    let problem = Problem::new(q, k, v, attention);
    let HeadLayout { batch, time, heads, head_width, .. } = q.layout();
    let layout = HeadLayout::tokens_first(batch, time, heads, head_width);
    if layout.count() == 0 {
        return (Vec::new(), vec![0.0; batch * heads * time]);
    }
    let (problem, layout) = fold_group(problem, layout);
    let (mut out, mut log_sum_exp) = (Output::new(layout.count()), Output::new(batch * heads * time));
    let destination = Destination { pointer: out.pointer(), layout };
    let sums = log_sum_exp.pointer();
    let tiles = problem.spans.tiles();
    (0..batch * layout.heads * tiles).into_par_iter().with_max_len(1).for_each(|task| {
        let (head, tile) = (task / tiles, task % tiles);
        with_scratch(QUERY_TILE * KEY_TILE.min(k.layout().time), |scores| {
            // SAFETY: each task writes the rows of its own head and query tile, all within the sizes of the outputs.
            unsafe { forward_tile(&problem, head, tile, scores, destination, sums) }
        });
    });
    // SAFETY: the tasks covered every head and every query.
    unsafe { (out.written(), log_sum_exp.written()) }
}

/// A single query of each of several heads over the same keys (decoding) is several queries of one head: then a group
/// reads its keys and values once. Not under dropout, whose masks belong to heads and queries, nor with a bias.
fn fold_group(problem: Problem, out: HeadLayout) -> (Problem, HeadLayout) {
    let group = problem.group();
    if problem.q.layout().time != 1 || group == 1 || problem.dropout.is_some() || problem.bias.is_some() {
        return (problem, out);
    }
    let fold = |layout: HeadLayout| HeadLayout {
        time: group,
        heads: layout.heads / group,
        time_stride: layout.head_stride,
        head_stride: group * layout.head_stride,
        ..layout
    };
    let q = HeadView::new(problem.q.data(), fold(problem.q.layout()));
    (Problem { q, spans: problem.spans.repeated(group), ..problem }, fold(out))
}

/// One tile of queries of one head; `head` counts over batch and heads.
///
/// # Safety
///
/// The outputs have the sizes of the problem, and nobody else touches this tile's rows of them.
unsafe fn forward_tile(
    problem: &Problem,
    head: usize,
    tile: usize,
    scores: &mut [f32],
    out: Destination,
    log_sum_exp: SharedPointer,
) {
    let HeadLayout { time, heads, head_width, .. } = problem.q.layout();
    let spans = &problem.spans;
    let (row, head_of_row) = (head / heads, head % heads);
    let key_head = head_of_row / problem.group();
    let queries = spans.queries(tile);
    let mut maxima = [f32::NEG_INFINITY; QUERY_TILE];
    let mut sums = [0.0_f32; QUERY_TILE];
    let mut started = false;
    let span = spans.keys(row, tile);
    for first_key in span.clone().step_by(KEY_TILE) {
        let Some((live_queries, keys)) = spans.seen(row, tile, &(first_key..span.end.min(first_key + KEY_TILE))) else {
            continue;
        };
        let (count, width) = (live_queries.len(), keys.len());
        let query = rows_of(problem.q, row, live_queries.start, head_of_row);
        let key = rows_of(problem.k, row, keys.start, key_head);
        let value = rows_of(problem.v, row, keys.start, key_head);
        let target = Target { pointer: scores.as_mut_ptr(), row_stride: width, accumulate: false };
        // SAFETY: the views hold these rows; `scores` holds `count * width` elements.
        unsafe {
            let sizes = [count, width, head_width];
            strided_product(sizes, query, key.transposed(), problem.product_factor(), target, problem.precision);
        }
        // SAFETY: this task's own rows.
        let accumulate = accumulates(&mut started, live_queries == queries, || unsafe {
            out.clear(row, queries.clone(), head_of_row);
        });
        for (query, scores) in live_queries.clone().zip(scores.chunks_exact_mut(width)) {
            let i = query - queries.start;
            let live = spans.live(row, query, &keys);
            scores[..live.start - keys.start].fill(0.0);
            scores[live.end - keys.start..].fill(0.0);
            if live.is_empty() {
                continue;
            }
            let scores = &mut scores[live.start - keys.start..live.end - keys.start];
            if let Some(cap) = problem.soft_cap {
                soft_cap(scores, cap);
            }
            if let Some(bias) = problem.bias {
                let start = problem.bias_start(head_of_row, query, live.start);
                add_chunk(scores, &bias[start..start + live.len()]);
            }
            let largest = maximum(scores).max(maxima[i]);
            let sum = exponentials(scores, largest);
            if accumulate {
                let correction = (maxima[i] - largest).exp();
                sums[i] *= correction;
                // SAFETY: this task's own row, written by an earlier tile of keys or cleared.
                scale_chunk(
                    unsafe { out.pointer.slice(out.layout.offset(row, query, head_of_row), head_width) },
                    correction,
                );
            }
            maxima[i] = largest;
            sums[i] += sum;
            if let Some(dropout) = problem.dropout {
                let keys = dropout::row_keys(dropout, head, query);
                dropout::scale_row(scores, keys, live.start as u32, dropout.threshold(), dropout.factor());
            }
        }
        let probabilities = Operand::rows(scores.as_ptr(), width);
        let target = out.target(row, live_queries.start, head_of_row, accumulate);
        // SAFETY: as above; the target is this task's rows, written or cleared before any accumulates.
        unsafe {
            strided_product([count, head_width, width], probabilities, value, 1.0, target, problem.precision);
        }
    }
    if !started {
        // SAFETY: this task's own rows.
        unsafe { out.clear(row, queries.clone(), head_of_row) };
    }
    for (i, query) in queries.enumerate() {
        // SAFETY: this task's own rows, which are written by now. A row that saw no key has a sum of zero: it stays.
        unsafe {
            if sums[i] > 0.0 {
                scale_chunk(out.pointer.slice(out.layout.offset(row, query, head_of_row), head_width), 1.0 / sums[i]);
            }
            log_sum_exp.at(head * time + query).write(maxima[i] + sums[i].ln());
        }
    }
}
