//! What GGUF files call the parameters, and how they store them.

use crate::llama::{Family, LlamaConfig};

/// What a file does to a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// Stores a matrix as its transpose.
    Transposed,
    /// Lays the channels that turn together side by side, in so many heads.
    Paired(usize),
    /// Stores gains whole that the model stores less one.
    PlusOne,
}

impl Change {
    /// A file's elements as the model has them, `shape` being the model's.
    pub(super) fn undo(self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        match self {
            Self::None => values,
            Self::Transposed => transposed(&values, shape[0]),
            Self::Paired(heads) => paired(&values, shape[0], heads, true),
            Self::PlusOne => values.into_iter().map(|x| x - 1.0).collect(),
        }
    }

    /// The model's elements as a file has them, `shape` being the model's.
    pub(super) fn apply(self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        match self {
            Self::None => values,
            Self::Transposed => transposed(&values, shape[1]),
            Self::Paired(heads) => paired(&values, shape[0], heads, false),
            Self::PlusOne => values.into_iter().map(|x| x + 1.0).collect(),
        }
    }
}

/// The transpose of a matrix of so many columns.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    let mut result = vec![0.0; values.len()];
    for (i, row) in values.chunks_exact(columns).enumerate() {
        for (j, value) in row.iter().enumerate() {
            result[j * rows + i] = *value;
        }
    }
    result
}

/// Rows of heads: halves side by side to pairs, or back.
fn paired(values: &[f32], rows: usize, heads: usize, back: bool) -> Vec<f32> {
    let (columns, width) = (values.len() / rows, rows / heads);
    let mut result = Vec::with_capacity(values.len());
    for row in 0..rows {
        let (head, channel) = (row / width, row % width);
        let from = if back {
            2 * (channel % (width / 2)) + channel / (width / 2)
        } else {
            channel % 2 * (width / 2) + channel / 2
        };
        result.extend_from_slice(&values[(head * width + from) * columns..][..columns]);
    }
    result
}

/// The name of a parameter in a file, and what happens to it there.
pub(super) mod stored {
    use super::{Change, Family, LlamaConfig};

    /// Of a GPT-2.
    pub fn gpt(name: &str) -> (String, Change) {
        let ours = name.strip_prefix("transformer.").unwrap_or(name);
        let (stem, part) = ours.rsplit_once('.').unwrap_or((ours, ""));
        let layer = stem.strip_prefix("h.").and_then(|rest| rest.split_once('.'));
        let Some((number, stem)) = layer else {
            let theirs = match stem {
                "wte" => "token_embd",
                "wpe" => "position_embd",
                "lm_head" => "output",
                _ => "output_norm",
            };
            return (format!("{theirs}.{part}"), Change::None);
        };
        let (theirs, matrix) = match stem {
            "ln_1" => ("attn_norm", false),
            "ln_2" => ("ffn_norm", false),
            "attn.c_attn" => ("attn_qkv", true),
            "attn.c_proj" => ("attn_output", true),
            "mlp.c_fc" => ("ffn_up", true),
            _ => ("ffn_down", true),
        };
        let change = if matrix && part == "weight" { Change::Transposed } else { Change::None };
        (format!("blk.{number}.{theirs}.{part}"), change)
    }

    /// Of one of the llama family.
    pub fn llama(name: &str, config: &LlamaConfig) -> (String, Change) {
        let ours = name.strip_prefix("model.").unwrap_or(name);
        let (stem, part) = ours.rsplit_once('.').unwrap_or((ours, ""));
        let gemma = config.family.is_gemma();
        let norm = if gemma { Change::PlusOne } else { Change::None };
        let layer = stem.strip_prefix("layers.").and_then(|rest| rest.split_once('.'));
        let Some((number, stem)) = layer else {
            let (theirs, change) = match stem {
                "embed_tokens" => ("token_embd", Change::None),
                "norm" => ("output_norm", norm),
                _ => ("output", Change::None),
            };
            return (format!("{theirs}.{part}"), change);
        };
        let turned = |heads| match config.family {
            Family::Llama | Family::Mistral | Family::Smollm3 => Change::Paired(heads),
            _ => Change::None,
        };
        let (theirs, change) = match stem {
            "self_attn.q_proj" => ("attn_q", turned(config.num_attention_heads)),
            "self_attn.k_proj" => ("attn_k", turned(config.num_key_value_heads)),
            "self_attn.v_proj" => ("attn_v", Change::None),
            "self_attn.o_proj" => ("attn_output", Change::None),
            "self_attn.q_norm" => ("attn_q_norm", norm),
            "self_attn.k_norm" => ("attn_k_norm", norm),
            "mlp.gate_proj" => ("ffn_gate", Change::None),
            "mlp.up_proj" => ("ffn_up", Change::None),
            "mlp.down_proj" => ("ffn_down", Change::None),
            "input_layernorm" => ("attn_norm", norm),
            "post_attention_layernorm" if gemma => ("post_attention_norm", norm),
            "post_feedforward_layernorm" => ("post_ffw_norm", norm),
            // Of Gemma the one before the feed-forward.
            _ => ("ffn_norm", norm),
        };
        (format!("blk.{number}.{theirs}.{part}"), change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_undone() {
        let values: Vec<f32> = (0..24).map(|x| x as f32).collect();
        for change in [Change::None, Change::Transposed, Change::Paired(2), Change::PlusOne] {
            let shape = [8, 3];
            assert_eq!(change.undo(change.apply(values.clone(), &shape), &shape), values, "{change:?}");
        }
        assert_eq!(
            Change::Transposed.apply(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]),
            [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
        );
        // One head of four channels: the first of each half, then the second.
        assert_eq!(Change::Paired(1).apply(vec![0.0, 1.0, 2.0, 3.0], &[4, 1]), [0.0, 2.0, 1.0, 3.0]);
    }
}
