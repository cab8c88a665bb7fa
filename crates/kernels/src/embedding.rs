//! Token embeddings, with learned positions or without: a gather forward, a scatter-add backward.

use crate::buffer::Output;
use crate::simd::vectorized;
use crate::vector::{add_chunk, scale_chunk};
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Rows that one task handles.
const ROWS: usize = 64;

/// `tokens[id] + positions[first_position + step]` for every id: `[batch * time, width]`.
///
/// `tokens` is `[vocabulary, width]`, `positions` is `[context, width]`, `ids` is `[batch, time]`. `first_position` is
/// 0 in training and the length of the cache in decoding. Panics on an id outside the vocabulary and on a position
/// outside the context.
pub fn gather(
    tokens: &[f32],
    positions: &[f32],
    ids: &[u32],
    time: usize,
    width: usize,
    first_position: usize,
) -> Vec<f32> {
    check_ids(ids, tokens.len().checked_div(width).unwrap_or(0), time);
    if ids.is_empty() || width == 0 {
        return Vec::new();
    }
    let context = positions.len() / width;
    assert!(first_position + time <= context, "positions {first_position} + {time} exceed a context of {context}");
    let mut y = Output::new(ids.len() * width);
    let tasks = y.slots().par_chunks_mut(ROWS * width).zip(ids.par_chunks(ROWS)).enumerate();
    tasks.for_each(|(task, (y, ids))| {
        for (i, (y, id)) in y.chunks_exact_mut(width).zip(ids).enumerate() {
            let position = first_position + (task * ROWS + i) % time;
            add_rows(&tokens[*id as usize * width..][..width], &positions[position * width..][..width], y);
        }
    });
    // SAFETY: the tasks cover every row and write each whole.
    unsafe { y.written() }
}

/// The gradients of [`gather`] (from position 0) given `dy`, `[batch * time, width]`: `dtokens`,
/// `[vocabulary, width]`, and `dpositions`, `[context, width]`.
pub fn scatter(
    dy: &[f32],
    ids: &[u32],
    vocabulary: usize,
    context: usize,
    time: usize,
    width: usize,
) -> (Vec<f32>, Vec<f32>) {
    check_ids(ids, vocabulary, time);
    assert_eq!(dy.len(), ids.len() * width, "dy [{}, {width}]", ids.len());
    assert!(ids.is_empty() || time <= context, "{time} positions exceed a context of {context}");
    let dtokens = sum_by_token(dy, ids, vocabulary, width);
    let used = if ids.is_empty() { 0 } else { time };
    let dpositions = sum_rows(dy, context, width, |position| {
        let end = if position < used { ids.len() } else { 0 };
        (position..end).step_by(time.max(1))
    });
    (dtokens, dpositions)
}

/// `scale · table[id]` for every id: `[rows, width]`.
///
/// `table` is `[vocabulary, width]`, `ids` is `[rows]`; `scale` is 1, or the root of the width where a model asks for it
/// (Vaswani et al. 2017, section 3.4). Panics on an id outside the vocabulary.
pub fn gather_tokens(table: &[f32], ids: &[u32], width: usize, scale: f32) -> Vec<f32> {
    let vocabulary = table.len().checked_div(width).unwrap_or(0);
    assert_eq!(table.len(), vocabulary * width, "table [{vocabulary}, {width}]");
    if width == 0 {
        return Vec::new();
    }
    check_ids(ids, vocabulary, 1);
    let mut y = Output::new(ids.len() * width);
    let tasks = y.slots().par_chunks_mut(ROWS * width).zip(ids.par_chunks(ROWS));
    tasks.for_each(|(y, ids)| {
        for (y, id) in y.chunks_exact_mut(width).zip(ids) {
            let y = y.write_copy_of_slice(&table[*id as usize * width..][..width]);
            if scale != 1.0 {
                scale_chunk(y, scale);
            }
        }
    });
    // SAFETY: the tasks cover every row and write each whole.
    unsafe { y.written() }
}

/// The gradient of [`gather_tokens`] given `dy`, `[rows, width]`: `dtable`, `[vocabulary, width]`.
///
/// The row of `padding` stays zero, so that its embedding is not trained.
pub fn scatter_tokens(
    dy: &[f32],
    ids: &[u32],
    vocabulary: usize,
    width: usize,
    scale: f32,
    padding: Option<u32>,
) -> Vec<f32> {
    check_ids(ids, vocabulary, 1);
    assert_eq!(dy.len(), ids.len() * width, "dy [{}, {width}]", ids.len());
    let mut dtable = sum_by_token(dy, ids, vocabulary, width);
    if scale != 1.0 {
        dtable.par_chunks_mut(ROWS * width.max(1)).for_each(|rows| scale_chunk(rows, scale));
    }
    if let Some(row) = padding.and_then(|padding| dtable.chunks_exact_mut(width.max(1)).nth(padding as usize)) {
        row.fill(0.0);
    }
    dtable
}

/// `[vocabulary, width]` whose rows are the sums of the rows of `dy` of each token.
fn sum_by_token(dy: &[f32], ids: &[u32], vocabulary: usize, width: usize) -> Vec<f32> {
    // Rows by token, in the order of `ids`: each token's gradient is summed by one task, in one order.
    let mut starts = vec![0_usize; vocabulary + 1];
    for id in ids {
        starts[*id as usize + 1] += 1;
    }
    for token in 0..vocabulary {
        starts[token + 1] += starts[token];
    }
    let mut next = starts.clone();
    let mut rows = vec![0_usize; ids.len()];
    for (row, id) in ids.iter().enumerate() {
        rows[next[*id as usize]] = row;
        next[*id as usize] += 1;
    }
    sum_rows(dy, vocabulary, width, |token| rows[starts[token]..starts[token + 1]].iter().copied())
}

fn check_ids(ids: &[u32], vocabulary: usize, time: usize) {
    assert!(ids.is_empty() || (time > 0 && ids.len().is_multiple_of(time)), "{} ids in rows of {time}", ids.len());
    for id in ids {
        assert!((*id as usize) < vocabulary, "token id {id} is outside a vocabulary of {vocabulary}");
    }
}

/// `[count, width]` whose row `i` is the sum of the rows `of(i)` of `dy`.
fn sum_rows<I: Iterator<Item = usize>>(
    dy: &[f32],
    count: usize,
    width: usize,
    of: impl Fn(usize) -> I + Sync,
) -> Vec<f32> {
    if width == 0 {
        return Vec::new();
    }
    let mut sums = Output::new(count * width);
    sums.slots().par_chunks_mut(ROWS * width).enumerate().for_each(|(task, sums)| {
        for (i, slots) in sums.chunks_exact_mut(width).enumerate() {
            let mut rows = of(task * ROWS + i).map(|row| &dy[row * width..][..width]);
            let Some(first) = rows.next() else {
                slots.fill(MaybeUninit::new(0.0));
                continue;
            };
            let sum = slots.write_copy_of_slice(first);
            for row in rows {
                add_chunk(sum, row);
            }
        }
    });
    // SAFETY: the tasks cover every row and write each whole.
    unsafe { sums.written() }
}

vectorized! {
    fn add_rows<A>(a: &[f32], b: &[f32], y: &mut [MaybeUninit<f32>]) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            y.write(a + b);
        }
    }
}
