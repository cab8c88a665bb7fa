//! Attention, one pair of query and key after the other.

use crate::attention::AttentionShape;

/// The sizes of an attention operation and what it does; the oracle of [`crate::attention::attend`]. Queries, keys and
/// values lie in tensors of their own, tokens first.
pub struct PlainAttention<'a> {
    /// Rows of the batch.
    pub batch: usize,
    /// Queries of each row.
    pub queries: usize,
    /// Keys and values of each row.
    pub keys: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values.
    pub key_value_heads: usize,
    /// Channels of one head.
    pub head_width: usize,
    /// The factor of the scores.
    pub scale: f64,
    /// The bound of the scores, when they have one.
    pub soft_cap: Option<f64>,
    /// What is added to the scores, `[heads, queries + keys - 1]`, when something is.
    pub bias: Option<&'a [f64]>,
    /// Whether, in a batch row, a query sees a key.
    pub visible: &'a dyn Fn(usize, usize, usize) -> bool,
    /// What [`crate::dropout::probability_mask`] returns.
    pub dropped: Option<&'a [f64]>,
}

impl PlainAttention<'_> {
    /// Where a head's channels of a query begin; `head` counts over batch and heads.
    fn query(&self, head: usize, query: usize) -> usize {
        ((head / self.heads * self.queries + query) * self.heads + head % self.heads) * self.head_width
    }

    /// Where the channels of a key or value begin that a head of queries uses.
    fn key(&self, head: usize, key: usize) -> usize {
        let key_head = head % self.heads / (self.heads / self.key_value_heads);
        ((head / self.heads * self.keys + key) * self.key_value_heads + key_head) * self.head_width
    }

    /// Where in the bias a pair is.
    fn distance(&self, head: usize, query: usize, key: usize) -> usize {
        head % self.heads * (self.queries + self.keys - 1) + key + self.queries - 1 - query
    }

    fn kept(&self, head: usize, query: usize, key: usize) -> f64 {
        self.dropped.map_or(1.0, |dropped| dropped[(head * self.queries + query) * self.keys + key])
    }

    /// The score of a pair, and its derivative by the product of query and key.
    fn score(&self, q: &[f64], k: &[f64], head: usize, query: usize, key: usize) -> (f64, f64) {
        let (q, k) = (&q[self.query(head, query)..], &k[self.key(head, key)..]);
        let score = self.scale * (0..self.head_width).map(|c| q[c] * k[c]).sum::<f64>();
        let bias = self.bias.map_or(0.0, |bias| bias[self.distance(head, query, key)]);
        match self.soft_cap {
            None => (score + bias, self.scale),
            Some(cap) => (cap * (score / cap).tanh() + bias, self.scale * (1.0 - (score / cap).tanh().powi(2))),
        }
    }

    /// The probabilities of the keys of one query, zero where it does not see them, and the logarithm of their sum.
    fn probabilities(&self, q: &[f64], k: &[f64], head: usize, query: usize) -> (Vec<f64>, f64) {
        let score = |key| {
            let visible = (self.visible)(head / self.heads, query, key);
            if visible { self.score(q, k, head, query, key).0 } else { f64::NEG_INFINITY }
        };
        let scores: Vec<f64> = (0..self.keys).map(score).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if largest == f64::NEG_INFINITY {
            return (vec![0.0; self.keys], largest);
        }
        let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
        (scores.iter().map(|score| (score - largest).exp() / sum).collect(), largest + sum.ln())
    }

    /// Output, `[batch, queries, heads, head_width]`, and log-sum-exp, `[batch, heads, queries]`.
    pub fn forward(&self, q: &[f64], k: &[f64], v: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (mut out, mut log_sum_exp) = (vec![0.0; q.len()], Vec::new());
        for head in 0..self.batch * self.heads {
            for query in 0..self.queries {
                let (probabilities, sum) = self.probabilities(q, k, head, query);
                log_sum_exp.push(sum);
                for (key, probability) in probabilities.iter().enumerate() {
                    for c in 0..self.head_width {
                        out[self.query(head, query) + c] +=
                            probability * self.kept(head, query, key) * v[self.key(head, key) + c];
                    }
                }
            }
        }
        (out, log_sum_exp)
    }

    /// The gradients of queries, keys and values from `dout`, and of the bias, which is empty where there is none.
    pub fn backward(&self, q: &[f64], k: &[f64], v: &[f64], dout: &[f64]) -> [Vec<f64>; 4] {
        let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
        let mut dbias = vec![0.0; self.bias.map_or(0, <[f64]>::len)];
        for head in 0..self.batch * self.heads {
            for query in 0..self.queries {
                let (probabilities, _) = self.probabilities(q, k, head, query);
                let at = self.query(head, query);
                let dprobability = |key| {
                    let value = &v[self.key(head, key)..];
                    self.kept(head, query, key) * (0..self.head_width).map(|c| dout[at + c] * value[c]).sum::<f64>()
                };
                let delta: f64 = (0..self.keys).map(|key| probabilities[key] * dprobability(key)).sum();
                for (key, probability) in probabilities.iter().enumerate() {
                    let derivative = self.score(q, k, head, query, key).1;
                    let dscore = probability * (dprobability(key) - delta);
                    let dproduct = dscore * derivative;
                    if !dbias.is_empty() {
                        dbias[self.distance(head, query, key)] += dscore;
                    }
                    let key_at = self.key(head, key);
                    for c in 0..self.head_width {
                        dq[at + c] += dproduct * k[key_at + c];
                        dk[key_at + c] += dproduct * q[at + c];
                        dv[key_at + c] += probability * self.kept(head, query, key) * dout[at + c];
                    }
                }
            }
        }
        [dq, dk, dv, dbias]
    }
}

/// Causal self-attention of a shape.
fn causal(shape: AttentionShape, dropped: Option<&[f64]>) -> PlainAttention<'_> {
    let AttentionShape { batch, time, heads, head_width } = shape;
    PlainAttention {
        batch,
        queries: time,
        keys: time,
        heads,
        key_value_heads: heads,
        head_width,
        scale: 1.0 / (head_width as f64).sqrt(),
        soft_cap: None,
        bias: None,
        visible: &|_, query, key| key <= query,
        dropped,
    }
}

/// Queries, keys and values of packed `qkv`, each `[batch, time, width]`.
fn unpack(qkv: &[f64], width: usize) -> [Vec<f64>; 3] {
    let part = |i: usize| {
        qkv.chunks_exact((3 * width).max(1)).flat_map(|row| row[i * width..(i + 1) * width].to_vec()).collect()
    };
    [part(0), part(1), part(2)]
}

/// [`crate::attention::forward`], with the mask that [`crate::dropout::attention_mask`] returns: output, log-sum-exp.
pub fn attention(qkv: &[f64], shape: AttentionShape, mask: Option<&[f64]>) -> (Vec<f64>, Vec<f64>) {
    let [q, k, v] = unpack(qkv, shape.width());
    causal(shape, mask).forward(&q, &k, &v)
}

/// [`crate::attention::backward`], with the mask of the forward pass.
pub fn attention_backward(qkv: &[f64], dout: &[f64], shape: AttentionShape, mask: Option<&[f64]>) -> Vec<f64> {
    let [q, k, v] = unpack(qkv, shape.width());
    let gradients = causal(shape, mask).backward(&q, &k, &v, dout);
    let width = shape.width().max(1);
    let [dq, dk, dv, _] = gradients.each_ref().map(|part| part.chunks_exact(width));
    dq.zip(dk).zip(dv).flat_map(|((dq, dk), dv)| [dq, dk, dv].concat()).collect()
}
