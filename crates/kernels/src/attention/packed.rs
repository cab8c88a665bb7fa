//! Causal self-attention over packed `qkv`, as GPT-2 has it: one call of the general operation.

use super::{Attention, Mask, attend, attend_backward_packed};
use crate::dropout::Dropout;
use crate::heads::{HeadLayout, HeadView};
use crate::matrix::Precision;

/// The sizes of causal self-attention. The width of the model is `heads * head_width`.
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

    /// Queries, keys and values of packed `qkv`.
    fn views(self, qkv: &[f32]) -> [HeadView<'_>; 3] {
        let Self { batch, time, heads, head_width } = self;
        assert_eq!(qkv.len(), batch * time * 3 * self.width(), "qkv of {self:?}");
        HeadLayout::packed(batch, time, heads, heads, head_width).map(|layout| HeadView::new(qkv, layout))
    }
}

fn causal(dropout: Option<Dropout>, precision: Precision) -> Attention<'static> {
    Attention { mask: Mask::causal(), dropout, precision, ..Attention::default() }
}

/// Attention over packed `qkv`, `[batch, time, 3 * width]`: queries, keys and values, each `[heads, head_width]`.
///
/// Returns the output, `[batch, time, width]`, and the natural logarithm of each row's sum of exponentials,
/// `[batch, heads, time]`, for [`backward`]. With `dropout`, probabilities are multiplied by
/// [`super::attention_mask`] after the softmax.
pub fn forward(
    qkv: &[f32],
    shape: AttentionShape,
    dropout: Option<Dropout>,
    precision: Precision,
) -> (Vec<f32>, Vec<f32>) {
    let [q, k, v] = shape.views(qkv);
    attend(q, k, v, &causal(dropout, precision))
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
    precision: Precision,
) -> Vec<f32> {
    let [q, k, v] = shape.views(qkv);
    attend_backward_packed(q, k, v, out, log_sum_exp, dout, &causal(dropout, precision))
}
