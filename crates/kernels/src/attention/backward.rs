//! The backward pass: a task is one head of keys and values with the heads of queries that share it.

use super::{Attention, Destination, KEY_TILE, Problem, QUERY_TILE, accumulates, distances, rows_of};
use crate::buffer::{Output, SharedPointer, with_scratch};
use crate::dropout;
use crate::heads::{HeadLayout, HeadView};
use crate::matrix::{Operand, Target, strided_product};
use crate::softmax::{backward_row, backward_row_with_dropout, soft_cap_with_slopes};
use crate::vector::{add_chunk, dot_block, multiply_chunk};
use rayon::prelude::*;
use std::ops::Range;

/// With fewer heads of keys and values in the whole batch than this, each head of queries becomes a task of its own.
/// A number of sizes, not of threads: the order of the sums must not depend on the machine.
const FEW_TASKS: usize = 32;
/// Tokens whose gradients of keys and values one task sums.
const ROWS: usize = 64;

/// What [`attend_backward`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionGradients {
    /// Gradient of the queries, `[batch, queries, heads, head_width]`.
    pub dq: Vec<f32>,
    /// Gradient of the keys, `[batch, keys, key_value_heads, head_width]`.
    pub dk: Vec<f32>,
    /// Gradient of the values, `[batch, keys, key_value_heads, head_width]`.
    pub dv: Vec<f32>,
    /// Gradient of the bias, `[heads, queries + keys - 1]`, where there is one: summed over batch rows in their order.
    pub dbias: Option<Vec<f32>>,
}

/// The gradients of [`super::attend`] from its inputs, what it returned, and `dout`,
/// `[batch, queries, heads, head_width]`, under the same `attention`.
///
/// The gradients of a head of keys and values are summed over its group of query heads in their order. When the batch
/// has fewer than 32 such heads, the group's parts are computed side by side and then summed, which takes
/// `2 * batch * heads * keys * head_width` values meanwhile. A query that sees no key gets and gives zeros.
pub fn attend_backward(
    q: HeadView,
    k: HeadView,
    v: HeadView,
    out: &[f32],
    log_sum_exp: &[f32],
    dout: &[f32],
    attention: &Attention,
) -> AttentionGradients {
    let tokens_first = |view: HeadView| {
        let HeadLayout { batch, time, heads, head_width, .. } = view.layout();
        HeadLayout::tokens_first(batch, time, heads, head_width)
    };
    let layouts = [tokens_first(q), tokens_first(k), tokens_first(v)];
    let mut outputs = layouts.map(|layout| Output::new(layout.count()));
    let destinations = std::array::from_fn(|i| Destination { pointer: outputs[i].pointer(), layout: layouts[i] });
    let HeadLayout { batch, time, heads, .. } = q.layout();
    let size = heads * distances(time, k.layout().time);
    let mut rows = attention.bias.map(|_| vec![0.0; batch * size]);
    let dbias = rows.as_mut().map(|rows| SharedPointer::new(rows));
    // SAFETY: the destinations are the outputs, whole.
    let [dq, dk, dv] = unsafe {
        write_gradients(&Problem::new(q, k, v, attention), Saved { out, log_sum_exp, dout }, destinations, dbias);
        outputs.map(|output| output.written())
    };
    let dbias = rows.map(|mut rows| {
        let (sum, others) = rows.split_at_mut(if batch == 0 { 0 } else { size });
        others.chunks_exact(size.max(1)).for_each(|row| add_chunk(sum, row));
        rows.resize(size, 0.0);
        rows
    });
    AttentionGradients { dq, dk, dv, dbias }
}

/// [`attend_backward`] with the three gradients in one tensor, as [`HeadLayout::packed`] lays them out:
/// `[batch, time, (heads + 2 * key_value_heads) * head_width]`. There are as many keys as queries.
pub fn attend_backward_packed(
    q: HeadView,
    k: HeadView,
    v: HeadView,
    out: &[f32],
    log_sum_exp: &[f32],
    dout: &[f32],
    attention: &Attention,
) -> Vec<f32> {
    let HeadLayout { batch, time, heads, head_width, .. } = q.layout();
    assert_eq!(time, k.layout().time, "packed queries and keys");
    assert!(attention.bias.is_none(), "packed gradients have no place for that of a bias");
    let layouts = HeadLayout::packed(batch, time, heads, k.layout().heads, head_width);
    let mut output = Output::new(layouts.map(HeadLayout::count).iter().sum());
    let pointer = output.pointer();
    let destinations = layouts.map(|layout| Destination { pointer, layout });
    // SAFETY: the three layouts cover the output without overlap.
    unsafe {
        write_gradients(&Problem::new(q, k, v, attention), Saved { out, log_sum_exp, dout }, destinations, None);
        output.written()
    }
}

/// What the forward pass left, and the gradient that came back.
#[derive(Clone, Copy)]
struct Saved<'a> {
    /// `[batch, queries, heads, head_width]`.
    out: &'a [f32],
    /// `[batch, heads, queries]`.
    log_sum_exp: &'a [f32],
    /// `[batch, queries, heads, head_width]`.
    dout: &'a [f32],
}

/// Writes dq, dk and dv, all of them, and adds to the bias's gradients, `[batch, heads, queries + keys - 1]`.
///
/// # Safety
///
/// The destinations have the sizes of queries, keys and values, do not overlap, and nobody else touches them or `dbias`,
/// which is there where a bias is.
unsafe fn write_gradients(
    problem: &Problem,
    saved: Saved,
    [dq, dk, dv]: [Destination; 3],
    dbias: Option<SharedPointer>,
) {
    let HeadLayout { batch, time, heads, head_width, .. } = problem.q.layout();
    let HeadLayout { time: key_time, heads: key_heads, .. } = problem.k.layout();
    assert_eq!(saved.out.len(), problem.q.layout().count(), "out [{batch}, {time}, {heads}, {head_width}]");
    assert_eq!(saved.dout.len(), saved.out.len(), "dout [{batch}, {time}, {heads}, {head_width}]");
    assert_eq!(saved.log_sum_exp.len(), batch * heads * time, "log_sum_exp [{batch}, {heads}, {time}]");
    let group = problem.group();
    if head_width == 0 || key_heads == 0 {
        return;
    }
    if group <= 1 || batch * key_heads >= FEW_TASKS {
        (0..batch * key_heads).into_par_iter().with_max_len(1).for_each(|task| {
            let (row, key_head) = (task / key_heads, task % key_heads);
            let group_heads = key_head * group..(key_head + 1) * group;
            // SAFETY: each task writes the channels of its own heads.
            unsafe { backward_heads(problem, saved, row, key_head, group_heads, key_head, [dq, dk, dv], dbias) }
        });
        return;
    }
    let layout = HeadLayout::heads_first(batch, key_time, heads, head_width);
    let mut parts = [Output::new(layout.count()), Output::new(layout.count())];
    let [dk_part, dv_part] = std::array::from_fn(|i| Destination { pointer: parts[i].pointer(), layout });
    (0..batch * heads).into_par_iter().with_max_len(1).for_each(|task| {
        let (row, head) = (task / heads, task % heads);
        let parts = [dq, dk_part, dv_part];
        // SAFETY: each task writes the channels of its own head, also of keys and values.
        unsafe { backward_heads(problem, saved, row, head / group, head..head + 1, head, parts, dbias) }
    });
    // SAFETY: the tasks covered every head.
    let parts = parts.map(|part| unsafe { part.written() });
    let chunks = key_time.div_ceil(ROWS);
    (0..batch * key_heads * chunks).into_par_iter().for_each(|task| {
        let (head, first) = (task / chunks, task % chunks * ROWS);
        let (row, head) = (head / key_heads, head % key_heads);
        for (part, destination) in parts.iter().zip([dk, dv]) {
            for step in first..key_time.min(first + ROWS) {
                let of = |head| &part[layout.offset(row, step, head)..][..head_width];
                // SAFETY: each task writes the tokens of its own chunk of its own head; zeros make a slice of them.
                let sum = unsafe {
                    destination.clear(row, step..step + 1, head);
                    destination.pointer.slice(destination.layout.offset(row, step, head), head_width)
                };
                sum.copy_from_slice(of(head * group));
                (head * group + 1..(head + 1) * group).for_each(|head| add_chunk(sum, of(head)));
            }
        }
    });
}

/// The gradients of some heads of queries, and what these give to their head of keys and values, `key_head`, which
/// goes to head `gradient_head` of the destinations of keys and values.
///
/// # Safety
///
/// The destinations and `dbias` have the sizes of the problem (but for their number of heads), and nobody else touches
/// these heads' parts of them.
unsafe fn backward_heads(
    problem: &Problem,
    saved: Saved,
    row: usize,
    key_head: usize,
    heads: Range<usize>,
    gradient_head: usize,
    [dq, dk, dv]: [Destination; 3],
    dbias: Option<SharedPointer>,
) {
    let key_time = problem.k.layout().time;
    let key_tile = |tile: usize| tile * KEY_TILE..key_time.min((tile + 1) * KEY_TILE);
    let mut keys_started = vec![false; key_time.div_ceil(KEY_TILE)];
    let area = QUERY_TILE * KEY_TILE.min(key_time);
    with_scratch(2 * area + KEY_TILE + problem.q.layout().time, |scratch| {
        let (scores, rest) = scratch.split_at_mut(area);
        let (gradients, rest) = rest.split_at_mut(area);
        let (slopes, deltas) = rest.split_at_mut(KEY_TILE);
        for head in heads {
            let size = distances(problem.q.layout().time, key_time);
            let start = (row * problem.q.layout().heads + head) * size;
            // SAFETY: this head's own distances of this batch row, zeros at first.
            let mut dbias = dbias.map(|dbias| unsafe { dbias.slice(start, size) });
            let head = QueryHead::new(problem, saved, row, head, key_head, deltas);
            let mut queries_started = vec![false; problem.spans.tiles()];
            for (tile_of_keys, keys_started) in keys_started.iter_mut().enumerate() {
                let all_keys = key_tile(tile_of_keys);
                // Backward through time: under a causal mask the last queries see every key of a tile, and store.
                for tile in (0..problem.spans.tiles()).rev() {
                    let Some((queries, keys)) = problem.spans.seen(row, tile, &all_keys) else { continue };
                    let all_queries = problem.spans.queries(tile);
                    // SAFETY: these heads' own rows.
                    let (add_query, add_key) = unsafe {
                        let clear = || dq.clear(row, all_queries.clone(), head.head);
                        let add_query = accumulates(&mut queries_started[tile], queries == all_queries, clear);
                        let clear = || {
                            dk.clear(row, all_keys.clone(), gradient_head);
                            dv.clear(row, all_keys.clone(), gradient_head);
                        };
                        (add_query, accumulates(keys_started, keys == all_keys, clear))
                    };
                    let targets = [
                        dq.target(row, queries.start, head.head, add_query),
                        dk.target(row, keys.start, gradient_head, add_key),
                        dv.target(row, keys.start, gradient_head, add_key),
                    ];
                    let dbias = dbias.as_deref_mut();
                    // SAFETY: the targets are these heads' own rows, written or cleared before any accumulates; the
                    // tiles hold a tile of scores each.
                    unsafe { head.backward_tile(queries, keys, scores, gradients, slopes, targets, dbias) };
                }
            }
            for (tile, _) in queries_started.iter().enumerate().filter(|(_, started)| !**started) {
                // SAFETY: this head's own rows.
                unsafe { dq.clear(row, problem.spans.queries(tile), head.head) };
            }
        }
    });
    for (tile, _) in keys_started.iter().enumerate().filter(|(_, started)| !**started) {
        // SAFETY: this head's own rows.
        unsafe {
            dk.clear(row, key_tile(tile), gradient_head);
            dv.clear(row, key_tile(tile), gradient_head);
        }
    }
}

/// One head of queries of one batch row.
struct QueryHead<'a> {
    problem: &'a Problem<'a>,
    saved: Saved<'a>,
    /// Of `out` and `dout`.
    layout: HeadLayout,
    row: usize,
    head: usize,
    key_head: usize,
    /// For each query, Σⱼ pⱼ ∂/∂pⱼ, which the gradient of softmax subtracts.
    deltas: &'a [f32],
}

impl<'a> QueryHead<'a> {
    fn new(
        problem: &'a Problem<'a>,
        saved: Saved<'a>,
        row: usize,
        head: usize,
        key_head: usize,
        deltas: &'a mut [f32],
    ) -> Self {
        let HeadLayout { batch, time, heads, head_width, .. } = problem.q.layout();
        let layout = HeadLayout::tokens_first(batch, time, heads, head_width);
        for (query, delta) in deltas.iter_mut().enumerate() {
            let start = layout.offset(row, query, head);
            // The output's product with its own gradient.
            *delta = dot_block(&saved.out[start..][..head_width], &saved.dout[start..][..head_width]);
        }
        Self { problem, saved, layout, row, head, key_head, deltas }
    }

    /// What the pairs of some queries and keys give to the gradients of these queries, keys and values.
    ///
    /// # Safety
    ///
    /// `scores` and `gradients` hold an element for each pair; the targets (of dq, dk, dv) are rows for each query or
    /// key that nobody else touches, initialized where they accumulate.
    unsafe fn backward_tile(
        &self,
        queries: Range<usize>,
        keys: Range<usize>,
        scores: &mut [f32],
        gradients: &mut [f32],
        slopes: &mut [f32],
        [dquery, dkey, dvalue]: [Target; 3],
        mut dbias: Option<&mut [f32]>,
    ) {
        let Self { problem, saved, layout, row, head, key_head, .. } = *self;
        let (count, width, head_width) = (queries.len(), keys.len(), layout.head_width);
        let query = rows_of(problem.q, row, queries.start, head);
        let key = rows_of(problem.k, row, keys.start, key_head);
        let value = rows_of(problem.v, row, keys.start, key_head);
        let dout = saved.dout.as_ptr().wrapping_add(layout.offset(row, queries.start, head));
        let dout = Operand::rows(dout, layout.time_stride);
        let tile_of = |pointer| Target { pointer, row_stride: width, accumulate: false };
        // SAFETY: the operands lie in their slices; the tiles hold `count * width` elements.
        unsafe {
            let (sizes, target) = ([count, width, head_width], tile_of(scores.as_mut_ptr()));
            strided_product(sizes, query, key.transposed(), problem.product_factor(), target, problem.precision);
            let target = tile_of(gradients.as_mut_ptr());
            strided_product(sizes, dout, value.transposed(), 1.0, target, problem.precision);
        }
        let rows = scores.chunks_exact_mut(width).zip(gradients.chunks_exact_mut(width));
        for (query, (scores, gradients)) in queries.zip(rows) {
            self.backward_query(query, &keys, scores, gradients, slopes, dbias.as_deref_mut());
        }
        let (probabilities, gradients) =
            (Operand::rows(scores.as_ptr(), width), Operand::rows(gradients.as_ptr(), width));
        // SAFETY: as above; the caller vouches for the targets.
        unsafe {
            let sizes = [count, head_width, width];
            strided_product(sizes, gradients, key, problem.scale, dquery, problem.precision);
            let sizes = [width, head_width, count];
            strided_product(sizes, gradients.transposed(), query, problem.scale, dkey, problem.precision);
            strided_product(sizes, probabilities.transposed(), dout, 1.0, dvalue, problem.precision);
        }
    }

    /// Turns a row of scores into probabilities, and the row of the probabilities' gradients into the scores', which the
    /// bias's are the sums of.
    fn backward_query(
        &self,
        query: usize,
        keys: &Range<usize>,
        scores: &mut [f32],
        gradients: &mut [f32],
        slopes: &mut [f32],
        dbias: Option<&mut [f32]>,
    ) {
        let problem = self.problem;
        let HeadLayout { time, heads, .. } = self.layout;
        let live = problem.spans.live(self.row, query, keys);
        let (start, end) = (live.start - keys.start, live.end - keys.start);
        for row in [&mut *scores, &mut *gradients] {
            row[..start].fill(0.0);
            row[end..].fill(0.0);
        }
        if live.is_empty() {
            return;
        }
        let (scores, gradients) = (&mut scores[start..end], &mut gradients[start..end]);
        let slopes = &mut slopes[..scores.len()];
        if let Some(cap) = problem.soft_cap {
            soft_cap_with_slopes(scores, cap, slopes);
        }
        let length = scores.len();
        if let Some(bias) = problem.bias {
            let start = problem.bias_start(self.head, query, live.start);
            add_chunk(scores, &bias[start..start + length]);
        }
        let head = self.row * heads + self.head;
        let (log_sum_exp, delta) = (self.saved.log_sum_exp[head * time + query], self.deltas[query]);
        match problem.dropout {
            None => backward_row(scores, gradients, log_sum_exp, delta),
            Some(dropout) => backward_row_with_dropout(
                scores,
                gradients,
                log_sum_exp,
                delta,
                dropout::row_keys(dropout, head, query),
                live.start as u32,
                dropout.threshold(),
                dropout.factor(),
            ),
        }
        if let Some(dbias) = dbias {
            let start = problem.bias_start(0, query, live.start);
            add_chunk(&mut dbias[start..start + length], gradients);
        }
        if problem.soft_cap.is_some() {
            multiply_chunk(gradients, slopes);
        }
    }
}
