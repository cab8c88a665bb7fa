//! Attention under masks, and rotary positions.

use super::{Bench, values};
use crate::attention::{Attention, Mask, Sequences, attend, attend_backward_packed};
use crate::heads::{HeadLayout, HeadView};
use crate::rotary::{self, Pairing, Positions, RotaryTable};
use std::hint::black_box;

/// Attention under several masks at one length: what a mask hides should cost nothing.
pub(super) fn masks(bench: &mut Bench) {
    let (time, heads, head_width, window) = (2048, 6, 64, 256);
    bench.group(format!(
        "attention of {time} tokens, {heads} heads of {head_width}; rates count the pairs that the mask shows"
    ));
    let dout = values(time * heads * head_width);
    let starts: Vec<usize> = (0..=time).step_by(window).collect();
    let causal_pairs = |time: usize| time * (time + 1) / 2;
    let banded_pairs = |radius: usize| time * (radius + 1) - causal_pairs(radius);
    let packed = Mask::default().with_sequences(Sequences::same(&starts));
    let packed_causal = Mask::causal().with_sequences(Sequences::same(&starts));
    for (name, mask, key_value_heads, soft_cap, pairs) in [
        ("all keys", Mask::default(), heads, None, time * time),
        ("causal", Mask::causal(), heads, None, causal_pairs(time)),
        ("causal, 2 key heads", Mask::causal(), 2, None, causal_pairs(time)),
        ("causal, soft cap", Mask::causal(), heads, Some(50.0), causal_pairs(time)),
        ("window of 256", Mask::sliding(window), heads, None, banded_pairs(window - 1)),
        ("128 to either side", Mask::around(128), heads, None, 2 * banded_pairs(128) - time),
        ("8 sequences", packed, heads, None, time * window),
        ("8 sequences, causal", packed_causal, heads, None, 8 * causal_pairs(window)),
    ] {
        let layouts = HeadLayout::packed(1, time, heads, key_value_heads, head_width);
        let qkv = values(layouts.map(HeadLayout::count).iter().sum());
        let [q, k, v] = layouts.map(|layout| HeadView::new(&qkv, layout));
        let attention = Attention { mask, soft_cap, ..Attention::default() };
        let operations = 4 * pairs * heads * head_width;
        let seconds = bench.best(|| _ = black_box(attend(q, k, v, &attention)));
        bench.line(name, seconds, operations, "GFLOP/s");
        let (out, sums) = attend(q, k, v, &attention);
        let seconds = bench.best(|| {
            black_box(attend_backward_packed(q, k, v, &out, &sums, &dout, &attention));
        });
        bench.line(&format!("{name} backward"), seconds, operations * 5 / 2, "GFLOP/s");
    }
    let (batch, heads, key_value_heads) = (8, 9, 3);
    let cache = HeadLayout::tokens_first(batch, time, key_value_heads, head_width);
    let (k, v) = (values(cache.count()), values(cache.count()));
    let (k, v) = (HeadView::new(&k, cache), HeadView::new(&v, cache));
    let query = HeadLayout::tokens_first(batch, 1, heads, head_width);
    let q = values(query.count());
    let q = HeadView::new(&q, query);
    let seconds = bench.best(|| _ = black_box(attend(q, k, v, &Attention::default())));
    bench.line("one query of 9 heads over 3, batch 8", seconds, 8 * cache.count(), "GB/s");
}

/// Rotary positions on the queries of a batch.
pub(super) fn rotations(bench: &mut Bench) {
    let (batch, time, heads, head_width) = (8, 256, 6, 64);
    bench.group(format!("rotary positions: batch {batch}, {time} tokens, {heads} heads of {head_width}"));
    let frequencies = rotary::frequencies(10_000.0, head_width);
    let seconds = bench.best(|| _ = black_box(RotaryTable::new(0..time, &frequencies)));
    bench.line("table", seconds, 4 * time * head_width, "GB/s");
    let table = RotaryTable::new(0..time, &frequencies);
    let layout = HeadLayout::tokens_first(batch, time, heads, head_width);
    let mut x = values(layout.count());
    for (name, pairing) in [("half-split", Pairing::HalfSplit), ("interleaved", Pairing::Interleaved)] {
        let (bytes, positions) = (8 * layout.count(), Positions::From(0));
        let view = HeadView::new(&x, layout);
        let seconds = bench.best(|| _ = black_box(rotary::forward(view, &table, positions, pairing)));
        bench.line(name, seconds, bytes, "GB/s");
        let seconds = bench.best(|| rotary::forward_in_place(black_box(&mut x), layout, &table, positions, pairing));
        bench.line(&format!("{name} in place"), seconds, bytes, "GB/s");
    }
}
