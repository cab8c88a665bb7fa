//! Rotary position embeddings (Su et al. 2021, "RoFormer"): pairs of channels of queries and keys turn by an angle that
//! grows with the position, so that their products depend on the distance between two tokens alone.
//!
//! Pair `i` of a token at position `p` turns by `p · θᵢ` (equation 34). The gradient of a rotation is the rotation back.

use crate::buffer::{Output, SharedPointer};
use crate::heads::{HeadLayout, HeadView};
use crate::simd::vectorized;
use rayon::prelude::*;
use std::ops::Range;

/// Tokens, or positions of a table, that one task handles.
const ROWS: usize = 64;

/// Which channels of a head turn together. A checkpoint was trained with one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Channel `i` with channel `i + pairs`: GPT-NeoX, Llama and most others on the Hub (`rotate_half`).
    HalfSplit,
    /// Channel `2 i` with channel `2 i + 1`: the paper, GPT-J.
    Interleaved,
}

/// Where each token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions<'a> {
    /// Token `t` of every row stands at this position plus `t`.
    From(usize),
    /// The position of every token, `[batch, time]`: packed sequences, padding on the left.
    Each(&'a [u32]),
}

/// The frequencies `θᵢ = base^(-2 i / rotary_width)`, in radians a token, of the `rotary_width / 2` pairs of the first
/// `rotary_width` channels of a head (equation 15; the paper's base is 10,000).
///
/// Scaled variants (position interpolation, NTK, Llama 3, YaRN) are other lists of frequencies.
pub fn frequencies(base: f64, rotary_width: usize) -> Vec<f64> {
    assert!(rotary_width.is_multiple_of(2), "a rotary width of {rotary_width} is odd");
    (0..rotary_width / 2).map(|i| base.powf(-2.0 * i as f64 / rotary_width as f64)).collect()
}

/// Cosines and sines of the angles of a run of positions.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryTable {
    positions: Range<usize>,
    pairs: usize,
    /// For each position the cosines of its pairs, then their sines: `[positions, 2, pairs]`.
    values: Vec<f32>,
}

impl RotaryTable {
    /// The table of `positions` for pairs that turn by `frequencies`, in radians a token: 8 bytes a position and pair.
    ///
    /// Angles, cosines and sines are computed in `f64` and then rounded: position 100,000 is as exact as position 1.
    /// Fewer frequencies than half the head's width turn only its first channels (partial rotary).
    pub fn new(positions: Range<usize>, frequencies: &[f64]) -> Self {
        let pairs = frequencies.len();
        let first = positions.start;
        let mut values = vec![0.0; positions.len() * 2 * pairs];
        values.par_chunks_mut((ROWS * 2 * pairs).max(1)).enumerate().for_each(|(task, rows)| {
            for (i, row) in rows.chunks_exact_mut(2 * pairs).enumerate() {
                let position = (first + task * ROWS + i) as f64;
                let (cosines, sines) = row.split_at_mut(pairs);
                for (frequency, (cosine, sine)) in frequencies.iter().zip(cosines.iter_mut().zip(sines)) {
                    let (s, c) = (position * frequency).sin_cos();
                    (*cosine, *sine) = (c as f32, s as f32);
                }
            }
        });
        Self { positions, pairs, values }
    }

    /// The positions that the table holds.
    pub fn positions(&self) -> Range<usize> {
        self.positions.clone()
    }

    /// How many channels of each head turn.
    pub fn rotary_width(&self) -> usize {
        2 * self.pairs
    }

    /// Cosines and sines of the angles of a position, a pair each. Panics outside the table.
    pub fn angles(&self, position: usize) -> (&[f32], &[f32]) {
        let row = position - self.positions.start;
        self.values[row * 2 * self.pairs..][..2 * self.pairs].split_at(self.pairs)
    }

    /// Panics unless the table serves every token of a layout.
    fn check(&self, layout: HeadLayout, positions: Positions) {
        let HeadLayout { batch, time, head_width, .. } = layout;
        assert!(2 * self.pairs <= head_width, "{} rotary channels of a head of {head_width}", 2 * self.pairs);
        let held = &self.positions;
        match positions {
            Positions::From(first) => assert!(
                time == 0 || (first >= held.start && first + time <= held.end),
                "positions {first} + {time} lie outside a rotary table of {held:?}"
            ),
            Positions::Each(each) => {
                assert_eq!(each.len(), batch * time, "positions [{batch}, {time}]");
                for position in each {
                    assert!(
                        held.contains(&(*position as usize)),
                        "position {position} lies outside a rotary table of {held:?}"
                    );
                }
            }
        }
    }
}

/// `x` with every head turned by the angles of its token's position: `(a, b)` becomes
/// `(a cos - b sin, b cos + a sin)`. Returns `[batch, time, heads, head_width]`.
///
/// Panics on a position outside the table and on heads narrower than its pairs.
pub fn forward(x: HeadView, table: &RotaryTable, positions: Positions, pairing: Pairing) -> Vec<f32> {
    rotated(x, table, positions, pairing, 1.0)
}

/// The gradient of [`forward`] from `dy`, of the shape of its output: each head turned back.
/// Returns `[batch, time, heads, head_width]`.
pub fn backward(dy: HeadView, table: &RotaryTable, positions: Positions, pairing: Pairing) -> Vec<f32> {
    rotated(dy, table, positions, pairing, -1.0)
}

/// [`forward`] on the heads of `x` that `layout` describes, where they lie.
pub fn forward_in_place(
    x: &mut [f32],
    layout: HeadLayout,
    table: &RotaryTable,
    positions: Positions,
    pairing: Pairing,
) {
    rotate_in_place(x, layout, table, positions, pairing, 1.0);
}

/// [`backward`] on the heads of `dy` that `layout` describes, where they lie.
pub fn backward_in_place(
    dy: &mut [f32],
    layout: HeadLayout,
    table: &RotaryTable,
    positions: Positions,
    pairing: Pairing,
) {
    rotate_in_place(dy, layout, table, positions, pairing, -1.0);
}

fn rotated(x: HeadView, table: &RotaryTable, positions: Positions, pairing: Pairing, direction: f32) -> Vec<f32> {
    let HeadLayout { batch, time, heads, head_width, .. } = x.layout();
    table.check(x.layout(), positions);
    let layout = HeadLayout::tokens_first(batch, time, heads, head_width);
    let mut y = Output::new(layout.count());
    let pointer = y.pointer();
    each_head(layout, table, positions, |row, step, head, angles| {
        let source = &x.data()[x.layout().offset(row, step, head)..][..head_width];
        let start = layout.offset(row, step, head);
        // SAFETY: every head of every token is visited by one task, once; the copy writes it whole.
        let y = unsafe {
            pointer.at(start).copy_from_nonoverlapping(source.as_ptr(), head_width);
            pointer.slice(start, head_width)
        };
        rotate(y, angles, direction, pairing);
    });
    // SAFETY: every head of every token was visited.
    unsafe { y.written() }
}

fn rotate_in_place(
    x: &mut [f32],
    layout: HeadLayout,
    table: &RotaryTable,
    positions: Positions,
    pairing: Pairing,
    direction: f32,
) {
    layout.assert_within(x.len(), "a rotation");
    layout.assert_disjoint("a rotation");
    table.check(layout, positions);
    let pointer = SharedPointer::new(x);
    each_head(layout, table, positions, |row, step, head, angles| {
        let start = layout.offset(row, step, head);
        // SAFETY: in bounds and apart from all other heads, as asserted; one task visits each head, once.
        let channels = unsafe { pointer.slice(start, 2 * table.pairs) };
        rotate(channels, angles, direction, pairing);
    });
}

/// Calls `visit` in parallel with every batch row, token and head, and the cosines and sines of the token's position.
fn each_head(
    layout: HeadLayout,
    table: &RotaryTable,
    positions: Positions,
    visit: impl Fn(usize, usize, usize, (&[f32], &[f32])) + Sync,
) {
    let HeadLayout { batch, time, heads, .. } = layout;
    if layout.count() == 0 {
        return;
    }
    (0..(batch * time).div_ceil(ROWS)).into_par_iter().for_each(|task| {
        for token in task * ROWS..(batch * time).min((task + 1) * ROWS) {
            let (row, step) = (token / time, token % time);
            let position = match positions {
                Positions::From(first) => first + step,
                Positions::Each(each) => each[token] as usize,
            };
            let angles = table.angles(position);
            (0..heads).for_each(|head| visit(row, step, head, angles));
        }
    });
}

/// Turns the pairs at the front of one head; `direction` is 1, or -1 to turn back.
fn rotate(channels: &mut [f32], (cosines, sines): (&[f32], &[f32]), direction: f32, pairing: Pairing) {
    let channels = &mut channels[..2 * cosines.len()];
    match pairing {
        Pairing::HalfSplit => {
            let (left, right) = channels.split_at_mut(cosines.len());
            rotate_halves(left, right, cosines, sines, direction);
        }
        Pairing::Interleaved => rotate_neighbors(channels, cosines, sines, direction),
    }
}

vectorized! {
    fn rotate_halves<A>(left: &mut [f32], right: &mut [f32], cosines: &[f32], sines: &[f32], direction: f32) {
        for ((a, b), (cosine, sine)) in left.iter_mut().zip(right).zip(cosines.iter().zip(sines)) {
            let sine = direction * sine;
            (*a, *b) = (A::mul_add(*a, *cosine, -(*b * sine)), A::mul_add(*b, *cosine, *a * sine));
        }
    }
}

vectorized! {
    fn rotate_neighbors<A>(channels: &mut [f32], cosines: &[f32], sines: &[f32], direction: f32) {
        let (pairs, _) = channels.as_chunks_mut::<2>();
        for ([a, b], (cosine, sine)) in pairs.iter_mut().zip(cosines.iter().zip(sines)) {
            let sine = direction * sine;
            (*a, *b) = (A::mul_add(*a, *cosine, -(*b * sine)), A::mul_add(*b, *cosine, *a * sine));
        }
    }
}
