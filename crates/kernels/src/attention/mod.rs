//! Multi-head attention (Vaswani et al. 2017), in tiles (Dao et al. 2022, "FlashAttention").
//!
//! [`attend`] and [`attend_backward`] take queries, keys and values wherever they lie ([`HeadView`]), with as many keys
//! as there are, under any [`Mask`], with heads of keys and values shared by groups of query heads (Ainslie et al.
//! 2023, "GQA"). [`forward`] and [`backward`] are the causal self-attention of GPT-2 over packed `qkv`.
//!
//! A tile of scores, 64 queries by up to 512 keys, lives in one thread's cache; a row's softmax is carried from tile
//! to tile by its running maximum and sum. The backward pass computes the scores again from the saved log-sum-exp.
//! Tiles that the mask hides wholly are skipped, and the others cut down to what it shows. So work grows with the pairs
//! that the mask shows, and memory with time, not with its square. Beside inputs and outputs there are
//!
//! - 8 bytes for each query of each batch row: the keys that it sees;
//! - for each thread, forward one tile of scores (at most 128 KiB), backward two and one value a query;
//! - backward, where scores have a bias: its gradient once for each batch row;
//! - backward, where few heads of keys and values are shared by many heads of queries: the gradients of keys and
//!   values once for each head of queries ([`attend_backward`]).

mod backward;
mod forward;
mod mask;
mod packed;

pub use crate::dropout::{attention_mask, probability_mask};
pub use backward::{AttentionGradients, attend_backward, attend_backward_packed};
pub use forward::attend;
pub use mask::{Mask, Sequences};
pub use packed::{AttentionShape, backward, forward};

use crate::buffer::SharedPointer;
use crate::dropout::Dropout;
use crate::heads::{HeadLayout, HeadView};
use crate::matrix::{Operand, Precision, Target};
use mask::Spans;
use std::ops::Range;

/// Rows of a tile of scores.
const QUERY_TILE: usize = 64;
/// Columns of a tile of scores.
const KEY_TILE: usize = 512;

/// What attention does beside its sizes, which are those of its inputs. [`Attention::default`] shows every query every
/// key, scales by 1 / √(head width), and neither caps nor drops.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Attention<'a> {
    /// Which keys a query sees.
    pub mask: Mask<'a>,
    /// The factor of the scores; `None` for 1 / √(head width).
    pub scale: Option<f32>,
    /// `Some(cap)` bounds the scaled scores smoothly: `cap · tanh(score / cap)` (Gemma 2, 2024, section 2).
    pub soft_cap: Option<f32>,
    /// Added to the scores, after the cap: `[heads, queries + keys - 1]`, where the pair of query `i` and key `j` takes
    /// number `j - i + queries - 1` of its head. So a bias depends on how far the key stands from the query, both counted
    /// from the end of their row, whatever sequences are packed there (Raffel et al. 2020, section 2.1).
    pub bias: Option<&'a [f32]>,
    /// Probabilities are multiplied by [`probability_mask`] after the softmax.
    pub dropout: Option<Dropout>,
    /// Of the products of queries, keys, probabilities and values, and of their gradients. The softmax is in `f32`.
    pub precision: Precision,
}

/// Inputs that were found to fit together, and what follows from them.
struct Problem<'a> {
    q: HeadView<'a>,
    k: HeadView<'a>,
    v: HeadView<'a>,
    scale: f32,
    soft_cap: Option<f32>,
    bias: Option<&'a [f32]>,
    dropout: Option<Dropout>,
    precision: Precision,
    spans: Spans,
}

impl<'a> Problem<'a> {
    /// Panics when queries, keys, values and mask disagree about their sizes.
    fn new(q: HeadView<'a>, k: HeadView<'a>, v: HeadView<'a>, attention: &Attention<'a>) -> Self {
        let (queries, keys, values) = (q.layout(), k.layout(), v.layout());
        let sizes = |layout: HeadLayout| [layout.batch, layout.time, layout.heads, layout.head_width];
        assert_eq!(sizes(keys), sizes(values), "batch, time, heads and width of keys and values");
        let HeadLayout { batch, heads, head_width, .. } = queries;
        assert_eq!((batch, head_width), (keys.batch, keys.head_width), "batch and head width of queries and keys");
        assert!(
            heads == 0 || (keys.heads > 0 && heads.is_multiple_of(keys.heads)),
            "{heads} heads of queries over {} of keys",
            keys.heads
        );
        if let Some(cap) = attention.soft_cap {
            assert!(cap > 0.0, "a soft cap of {cap}");
        }
        if let Some(bias) = attention.bias {
            let distances = distances(queries.time, keys.time);
            assert_eq!(bias.len(), heads * distances, "a bias of {heads} heads by {distances} distances");
        }
        Self {
            q,
            k,
            v,
            scale: attention.scale.unwrap_or(1.0 / (head_width as f32).sqrt()),
            soft_cap: attention.soft_cap,
            bias: attention.bias,
            dropout: attention.dropout,
            precision: attention.precision,
            spans: Spans::new(&attention.mask, batch, queries.time, keys.time),
        }
    }

    /// Heads of queries that share a head of keys and values.
    fn group(&self) -> usize {
        self.q.layout().heads.checked_div(self.k.layout().heads).unwrap_or(1)
    }

    /// Where in a bias, or in its gradient for a batch row, the pairs of a query begin, from key `first` on.
    fn bias_start(&self, head: usize, query: usize, first: usize) -> usize {
        let queries = self.q.layout().time;
        head * distances(queries, self.k.layout().time) + queries - 1 - query + first
    }

    /// What the product of a query and a key is multiplied by before the soft cap's tanh, or before the softmax.
    fn product_factor(&self) -> f32 {
        self.soft_cap.map_or(self.scale, |cap| self.scale / cap)
    }
}

/// How many places a key can have as seen from a query.
fn distances(queries: usize, keys: usize) -> usize {
    (queries + keys).saturating_sub(1)
}

/// One head's channels from token `step` on, as rows of a matrix.
fn rows_of(view: HeadView, row: usize, step: usize, head: usize) -> Operand {
    let layout = view.layout();
    Operand::rows(view.data().as_ptr().wrapping_add(layout.offset(row, step, head)), layout.time_stride)
}

/// Where heads are written by tasks that keep to heads or tokens of their own.
#[derive(Clone, Copy)]
struct Destination {
    pointer: SharedPointer,
    layout: HeadLayout,
}

impl Destination {
    /// One head's channels from token `step` on, to store or to add to.
    fn target(self, row: usize, step: usize, head: usize, accumulate: bool) -> Target {
        let pointer = self.pointer.at(self.layout.offset(row, step, head));
        Target { pointer, row_stride: self.layout.time_stride, accumulate }
    }

    /// Zeros over one head's channels of some tokens.
    ///
    /// # Safety
    ///
    /// They are in bounds, and nobody else touches them.
    unsafe fn clear(self, row: usize, steps: Range<usize>, head: usize) {
        for step in steps {
            // SAFETY: promised by the caller.
            unsafe { self.pointer.at(self.layout.offset(row, step, head)).write_bytes(0, self.layout.head_width) };
        }
    }
}

/// Whether a product adds to its rows, or is the first to store them. The first may only store when it covers them
/// `whole`; else `clear` zeroes them first.
fn accumulates(started: &mut bool, whole: bool, clear: impl FnOnce()) -> bool {
    let accumulate = *started || !whole;
    if accumulate && !*started {
        clear();
    }
    *started = true;
    accumulate
}
