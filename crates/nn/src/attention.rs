//! Attention under any mask over queries, keys and values in tensors of their own, with rotary positions. GPT-2's packed
//! causal self-attention is [`crate::ops::causal_attention`].

use crate::fused::attention::AttentionOperations;
use crate::ops;
use crate::precision::{self, Precision, matmul};
use burn::backend::Dispatch;
use burn::tensor::{Int, Tensor, TensorData, activation};
use loam_kernels::attention as kernel;
use loam_kernels::dropout::{self, Dropout};
use loam_kernels::rotary;
use std::ops::Range;
use std::sync::Arc;

pub use loam_kernels::rotary::{Pairing, RotaryTable, frequencies};

/// What attention does beside its sizes. The default shows every query every key, scales by 1 / √(head width), and
/// neither caps nor drops.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attention {
    /// How many keys before its own position a query sees; all without. Queries and keys are aligned at their end.
    pub before: Option<usize>,
    /// How many keys after its own position a query sees; all without, 0 for causal attention.
    pub after: Option<usize>,
    /// For each batch row, which of its keys are not padding.
    pub key_ranges: Option<Arc<[Range<usize>]>>,
    /// Sequences packed side by side, which do not see each other.
    pub sequences: Option<Packed>,
    /// The factor of the scores; 1 / √(head width) without.
    pub scale: Option<f32>,
    /// Bounds the scaled scores smoothly: `cap · tanh(score / cap)` (Gemma 2, 2024).
    pub soft_cap: Option<f32>,
    /// Drops probabilities.
    pub dropout: Option<Dropout>,
}

/// Where packed sequences begin, and after the last where it ends, counted over the tokens of all batch rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// `[sequences + 1]`, from 0 to `batch * queries`.
    pub query_starts: Arc<[usize]>,
    /// `[sequences + 1]`, from 0 to `batch * keys`.
    pub key_starts: Arc<[usize]>,
}

impl Attention {
    /// Each query sees its own position and what comes before.
    pub fn causal() -> Self {
        Self { after: Some(0), ..Self::default() }
    }

    /// Each query sees the `window` keys that end at its own position.
    pub fn sliding(window: usize) -> Self {
        assert!(window > 0, "a window of no keys");
        Self { before: Some(window - 1), after: Some(0), ..Self::default() }
    }

    /// As the kernels take it.
    pub(crate) fn kernel<'a>(&'a self, bias: Option<&'a [f32]>, precision: Precision) -> kernel::Attention<'a> {
        kernel::Attention {
            mask: self.mask(),
            scale: self.scale,
            soft_cap: self.soft_cap,
            bias,
            dropout: self.dropout,
            precision,
        }
    }

    fn mask(&self) -> kernel::Mask<'_> {
        kernel::Mask {
            before: self.before,
            after: self.after,
            key_ranges: self.key_ranges.as_deref(),
            sequences: self
                .sequences
                .as_ref()
                .map(|packed| kernel::Sequences { query_starts: &packed.query_starts, key_starts: &packed.key_starts }),
        }
    }
}

/// `softmax(scale · q kᵀ) v` of every head: q `[batch, queries, heads, head_width]`, k and v
/// `[batch, keys, key_value_heads, head_width]`, the shape of q out. Each head of keys and values serves
/// `heads / key_value_heads` heads of queries (Ainslie et al. 2023). A query that sees no key gives zeros.
pub fn attend(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, attention: Attention) -> Tensor<4> {
    if !ops::fused(&q) {
        return composed_attend(q, k, v, None, &attention);
    }
    Tensor::from_dispatch(Dispatch::fused_attend(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        attention,
        precision::current(),
    ))
}

/// [`attend`] with a bias that is added to the scores (after their cap) and depends on the head and on how far a key stands
/// from its query alone, both counted from the end of their rows: `[heads, queries + keys - 1]`, from the first key as the
/// last query sees it to the last key as the first query sees it, so that key `j` of query `i` takes number
/// `j - i + queries - 1` (Raffel et al. 2020, section 2.1).
pub fn attend_biased(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, bias: Tensor<2>, attention: Attention) -> Tensor<4> {
    let (heads, distances) = (q.dims()[2], (q.dims()[1] + k.dims()[1]).saturating_sub(1));
    assert_eq!(bias.dims(), [heads, distances], "a bias of heads by distances");
    if !ops::fused(&q) {
        return composed_attend(q, k, v, Some(bias), &attention);
    }
    Tensor::from_dispatch(Dispatch::fused_attend_biased(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        bias.into_dispatch(),
        attention,
        precision::current(),
    ))
}

/// The numbers of a bias `[heads, queries + keys - 1]` laid out as scores, `[1, heads, queries, keys]`.
fn spread_bias(bias: Tensor<2>, queries: usize, keys: usize) -> Tensor<4> {
    let numbers: Vec<i64> =
        (0..queries).flat_map(|query| (0..keys).map(move |key| (key + queries - 1 - query) as i64)).collect();
    let numbers = Tensor::<1, Int>::from_data(TensorData::new(numbers, [queries * keys]), &bias.device().inner());
    let heads = bias.dims()[0];
    bias.select(1, numbers).reshape([1, heads, queries, keys])
}

/// The twin of [`attend`] and [`attend_biased`].
pub fn composed_attend(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    bias: Option<Tensor<2>>,
    attention: &Attention,
) -> Tensor<4> {
    let ([batch, queries, heads, width], [_, keys, shared, _]) = (q.dims(), k.dims());
    let device = q.device();
    let spread = |x: Tensor<4>| -> Tensor<4> {
        let x: Tensor<5> = x.swap_dims(1, 2).reshape([batch, shared, 1, keys, width]);
        x.repeat_dim(2, heads / shared.max(1)).reshape([batch, heads, keys, width])
    };
    let (q, k, v) = (q.swap_dims(1, 2), spread(k), spread(v));
    let mut seen = vec![0.0_f32; batch * queries * keys];
    for (row, run) in seen.chunks_exact_mut(keys.max(1)).zip(attention.mask().visible(batch, queries, keys)) {
        row[run].fill(1.0);
    }
    let seen = Tensor::<4>::from_data(TensorData::new(seen, [batch, 1, queries, keys]), &device);
    let mut scores = matmul(q, k.transpose()) * attention.scale.unwrap_or(1.0 / (width as f32).sqrt());
    if let Some(cap) = attention.soft_cap {
        scores = (scores * (1.0 / cap)).tanh() * cap;
    }
    if let Some(bias) = bias {
        scores = scores + spread_bias(bias, queries, keys);
    }
    // Finite, so that a query that sees nothing has numbers, which the mask then takes away.
    let scores = scores + (seen.clone() - 1.0) * 1e9;
    let mut probabilities = activation::softmax(scores, 3) * seen;
    if let Some(dropout) = attention.dropout.filter(|dropout| dropout.probability > 0.0) {
        let mask = dropout::probability_mask(batch, heads, queries, keys, dropout);
        probabilities =
            probabilities * Tensor::from_data(TensorData::new(mask, [batch, heads, queries, keys]), &device);
    }
    matmul(probabilities, v).swap_dims(1, 2)
}

/// Where each token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Token `t` of every row stands at this position plus `t`.
    From(usize),
    /// The position of every token, `[batch * time]`.
    Each(Arc<[u32]>),
}

impl Positions {
    pub(crate) fn kernel(&self) -> rotary::Positions<'_> {
        match self {
            Self::From(first) => rotary::Positions::From(*first),
            Self::Each(each) => rotary::Positions::Each(each),
        }
    }
}

/// Rotary positions (Su et al. 2021): x `[batch, time, heads, head_width]` with every head turned by the angles that
/// the table has for its token's position.
pub fn rotate(x: Tensor<4>, table: Arc<RotaryTable>, positions: Positions, pairing: Pairing) -> Tensor<4> {
    if !ops::fused(&x) {
        return composed_rotate(x, &table, &positions, pairing);
    }
    Tensor::from_dispatch(Dispatch::fused_rotate(x.into_dispatch(), table, positions, pairing))
}

/// The twin of [`rotate`].
pub fn composed_rotate(x: Tensor<4>, table: &RotaryTable, positions: &Positions, pairing: Pairing) -> Tensor<4> {
    let [batch, time, heads, width] = x.dims();
    let pairs = table.rotary_width() / 2;
    let at = |row: usize, step: usize| match positions {
        Positions::From(first) => first + step,
        Positions::Each(each) => each[row * time + step] as usize,
    };
    let (mut cosines, mut sines) = (Vec::new(), Vec::new());
    for row in 0..batch {
        for step in 0..time {
            let (cosine, sine) = table.angles(at(row, step));
            cosines.extend_from_slice(cosine);
            sines.extend_from_slice(sine);
        }
    }
    let factor = |values: Vec<f32>| -> Tensor<5> {
        Tensor::from_data(TensorData::new(values, [batch, time, 1, pairs, 1]), &x.device())
    };
    let (cosines, sines) = (factor(cosines), factor(sines));
    let turning = x.clone().narrow(3, 0, 2 * pairs);
    // Pairs along the last dimension, whichever way they lie.
    let pair: Tensor<5> = match pairing {
        Pairing::Interleaved => turning.reshape([batch, time, heads, pairs, 2]),
        Pairing::HalfSplit => turning.reshape([batch, time, heads, 2, pairs]).swap_dims(3, 4),
    };
    let (a, b) = (pair.clone().narrow(4, 0, 1), pair.narrow(4, 1, 1));
    let turned = Tensor::cat(vec![a.clone() * cosines.clone() - b.clone() * sines.clone(), b * cosines + a * sines], 4);
    let turned = match pairing {
        Pairing::Interleaved => turned,
        Pairing::HalfSplit => turned.swap_dims(3, 4),
    };
    let turned: Tensor<4> = turned.reshape([batch, time, heads, 2 * pairs]);
    if 2 * pairs == width {
        return turned;
    }
    Tensor::cat(vec![turned, x.narrow(3, 2 * pairs, width - 2 * pairs)], 3)
}
