//! The baselines that a neural language model must beat: unigram, bigram and trigram.
//!
//! A loss means little alone; beside a model that only counts, it says how much more than counting was learned.
//!
//! - **Order 1** is the unigram with add-one (Laplace) smoothing: P(w) = (c(w) + 1) / (T + V), with c(w) the count
//!   of token *w*, T all training tokens and V the vocabulary.
//! - **Orders 2 and 3** are interpolated modified Kneser–Ney (Chen & Goodman, *An empirical study of smoothing
//!   techniques for language modeling*, Computer Speech & Language 13, 1999, equations 18 to 21, section 3):
//!
//!   `P(w | h) = max(a(hw) − D(a(hw)), 0) / Σ_v a(hv) + γ(h) · P(w | h′)`
//!
//!   where h′ is h without its oldest token, a is the plain count at the highest order and below it the number of
//!   distinct tokens seen to the left, D takes one of three values (for 1, 2, and 3 or more) and γ(h) gives back
//!   exactly the mass that the discounts took. Under the unigram of this chain stands the uniform 1 / V, so that a
//!   token never seen has a probability too. A context never seen passes the question on to h′.
//!
//! A stream has no context before its first token: its first tokens are predicted from the shorter context that
//! there is, and the edge of a stream counts as one more left neighbor. Every conditional distribution sums to one
//! over the vocabulary.
//!
//! Counts live in two hash tables keyed by (number of the context n-gram, token), so any vocabulary of 32-bit ids
//! fits in a 64-bit key and counting needs one look-up an order and token.

mod guess;

pub use guess::Guesses;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Discounts used when the counts of counts cannot give their own: Kneser–Ney's classic half for a count of one, and
/// as much again for each further step.
const FALLBACK_DISCOUNTS: [f64; 3] = [0.5, 1.0, 1.5];

/// An n-gram language model over token ids.
///
/// Orders trained together by [`NGram::train_all`] share their counts, and a clone is cheap.
#[derive(Clone, Debug)]
pub struct NGram {
    order: usize,
    counts: Arc<Counts>,
    /// `levels[k]` holds the discounts and context masses of the (k + 1)-gram distribution; empty for order 1.
    levels: Vec<Arc<Level>>,
}

impl NGram {
    /// Counts every stream (n-grams do not cross from one stream to the next) and gives the model of `order`.
    ///
    /// `vocabulary` is the number of token ids, so ids are `0..vocabulary`.
    ///
    /// # Panics
    /// If `order` is not 1, 2 or 3, or a token is outside the vocabulary.
    pub fn train<S>(order: usize, vocabulary: usize, streams: impl Iterator<Item = S>) -> NGram
    where
        S: Iterator<Item = u32>,
    {
        NGram::train_up_to(order, vocabulary, streams).pop().expect("at least one order is trained")
    }

    /// Counts once and gives the models of order 1, 2 and 3, in this order. See [`NGram::train`].
    ///
    /// # Panics
    /// If a token is outside the vocabulary.
    pub fn train_all<S>(vocabulary: usize, streams: impl Iterator<Item = S>) -> [NGram; 3]
    where
        S: Iterator<Item = u32>,
    {
        NGram::train_up_to(3, vocabulary, streams).try_into().expect("three orders are trained")
    }

    fn train_up_to<S>(highest: usize, vocabulary: usize, streams: impl Iterator<Item = S>) -> Vec<NGram>
    where
        S: Iterator<Item = u32>,
    {
        assert!((1..=3).contains(&highest), "an n-gram model has order 1, 2 or 3, not {highest}");
        let counts = Arc::new(Counts::collect(highest, vocabulary, streams));
        let mut models = vec![NGram { order: 1, counts: Arc::clone(&counts), levels: Vec::new() }];
        if highest >= 2 {
            let unigram = Arc::new(Level::new(1, counts.left_of_unigram.iter().map(|&count| (0, count))));
            let bigrams = |values: &[u32]| {
                Level::new(vocabulary, counts.bigram_ids.iter().map(|(&key, &id)| (key >> 32, values[id as usize])))
            };
            let bigram = Arc::new(bigrams(&counts.bigram));
            models.push(NGram { order: 2, counts: Arc::clone(&counts), levels: vec![Arc::clone(&unigram), bigram] });
            if highest == 3 {
                let lower = Arc::new(bigrams(&counts.left_of_bigram));
                let trigram = counts.trigram.iter().map(|(&key, &count)| (key >> 32, count));
                let trigram = Arc::new(Level::new(counts.bigram.len(), trigram));
                let levels = vec![unigram, lower, trigram];
                models.push(NGram { order: 3, counts, levels });
            }
        }
        models
    }

    /// The longest n-gram that the model looks at: 1, 2 or 3.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Number of token ids.
    pub fn vocabulary(&self) -> usize {
        self.counts.unigram.len()
    }

    /// Tokens that the model was trained on.
    pub fn training_tokens(&self) -> u64 {
        self.counts.tokens
    }

    /// Sum of −ln P over one stream, in nats, and the number of its tokens, the first included.
    ///
    /// A token outside the vocabulary makes the sum infinite.
    pub fn loss(&self, tokens: impl Iterator<Item = u32>) -> (f64, u64) {
        let (mut nats, mut count) = (0.0, 0);
        let mut context = Context::default();
        for token in tokens {
            let (probability, next) = self.probability(context, token);
            nats -= probability.ln();
            count += 1;
            context = next;
        }
        (nats, count)
    }

    /// ln P(`token` | `context`) in nats. Only the last `order − 1` tokens of the context count, and a shorter one
    /// is answered by the lower order. A token outside the vocabulary has −∞; one outside it in the context is an
    /// unseen context.
    pub fn log_probability(&self, context: &[u32], token: u32) -> f64 {
        self.probability(self.counts.context(context), token).0.ln()
    }

    /// P(token | context), and the context with the token added.
    fn probability(&self, context: Context, token: u32) -> (f64, Context) {
        let counts = &*self.counts;
        let vocabulary = counts.unigram.len();
        let mut next = Context { last: Some(token), bigram: None };
        if token as usize >= vocabulary {
            return (0.0, next);
        }
        if self.order == 1 {
            let seen = f64::from(counts.unigram[token as usize]) + 1.0;
            return (seen / (counts.tokens as f64 + vocabulary as f64), next);
        }
        let unigram = f64::from(counts.left_of_unigram[token as usize]);
        let mut probability = self.levels[0].interpolate(0, unigram, 1.0 / vocabulary as f64);
        if let Some(last) = context.last.filter(|&last| (last as usize) < vocabulary) {
            next.bigram = counts.bigram_id(last, token);
            let values = if self.order == 2 { &counts.bigram } else { &counts.left_of_bigram };
            let count = next.bigram.map_or(0.0, |id| f64::from(values[id as usize]));
            probability = self.levels[1].interpolate(last as usize, count, probability);
        }
        if let (3, Some(bigram)) = (self.order, context.bigram) {
            let count = counts.trigram.get(&key(bigram, token)).copied().unwrap_or(0);
            probability = self.levels[2].interpolate(bigram as usize, f64::from(count), probability);
        }
        (probability, next)
    }
}

/// What is known before a token: the last token, and the number of the last bigram if it was seen in training.
#[derive(Clone, Copy, Default)]
struct Context {
    last: Option<u32>,
    bigram: Option<u32>,
}

/// Counts of n-grams up to the highest order asked for.
#[derive(Debug, Default)]
struct Counts {
    tokens: u64,
    /// By token.
    unigram: Vec<u32>,
    /// By token: how many distinct tokens, or the edge of a stream, stood left of it.
    left_of_unigram: Vec<u32>,
    /// (first token, second token) to the number of the bigram.
    bigram_ids: Table,
    /// By number of the bigram.
    bigram: Vec<u32>,
    /// By number of the bigram: how many distinct tokens, or the edge of a stream, stood left of it.
    left_of_bigram: Vec<u32>,
    /// (number of the bigram, third token) to the count.
    trigram: Table,
}

impl Counts {
    fn collect<S>(highest: usize, vocabulary: usize, streams: impl Iterator<Item = S>) -> Counts
    where
        S: Iterator<Item = u32>,
    {
        let mut counts =
            Counts { unigram: vec![0; vocabulary], left_of_unigram: vec![0; vocabulary], ..Counts::default() };
        let (mut first_tokens, mut first_bigrams) = (HashSet::new(), HashSet::new());
        for stream in streams {
            let (mut last, mut last_bigram): (Option<u32>, Option<u32>) = (None, None);
            for token in stream {
                assert!((token as usize) < vocabulary, "token {token} is outside the vocabulary of {vocabulary}");
                counts.tokens += 1;
                increase(&mut counts.unigram[token as usize]);
                let Some(before) = last.replace(token) else {
                    if first_tokens.insert(token) {
                        increase(&mut counts.left_of_unigram[token as usize]);
                    }
                    continue;
                };
                if highest == 1 {
                    continue;
                }
                let bigram = counts.add_bigram(before, token);
                if highest == 3 {
                    match last_bigram {
                        Some(context) => {
                            let count = counts.trigram.entry(key(context, token)).or_insert(0);
                            if *count == 0 {
                                increase(&mut counts.left_of_bigram[bigram as usize]);
                            }
                            increase(count);
                        }
                        None if first_bigrams.insert(bigram) => {
                            increase(&mut counts.left_of_bigram[bigram as usize]);
                        }
                        None => {}
                    }
                }
                last_bigram = Some(bigram);
            }
        }
        counts
    }

    /// Counts one bigram and gives its number.
    fn add_bigram(&mut self, first: u32, second: u32) -> u32 {
        let fresh = u32::try_from(self.bigram.len()).expect("fewer than 2^32 distinct bigrams fit in memory");
        let id = *self.bigram_ids.entry(key(first, second)).or_insert(fresh);
        if id == fresh {
            self.bigram.push(0);
            self.left_of_bigram.push(0);
            increase(&mut self.left_of_unigram[second as usize]);
        }
        increase(&mut self.bigram[id as usize]);
        id
    }

    /// What is known of the tokens before one.
    fn context(&self, tokens: &[u32]) -> Context {
        match *tokens {
            [] => Context::default(),
            [last] => Context { last: Some(last), bigram: None },
            [.., before, last] => Context { last: Some(last), bigram: self.bigram_id(before, last) },
        }
    }

    fn bigram_id(&self, first: u32, second: u32) -> Option<u32> {
        self.bigram_ids.get(&key(first, second)).copied()
    }
}

/// One distribution of the chain: the discounts of its order, and for each context the sum of its counts and the
/// mass that the discounts take from it.
#[derive(Debug)]
struct Level {
    discounts: [f64; 3],
    /// By number of the context: (Σ a(hv) over v, D₁N₁(h) + D₂N₂(h) + D₃N₃₊(h)).
    contexts: Vec<(f64, f64)>,
}

impl Level {
    /// From (number of the context, count) of every n-gram of the order.
    fn new(contexts: usize, grams: impl Iterator<Item = (u64, u32)> + Clone) -> Level {
        let discounts = discounts(grams.clone().map(|(_, count)| count));
        let mut level = Level { discounts, contexts: vec![(0.0, 0.0); contexts] };
        for (context, count) in grams {
            let discount = level.discount(f64::from(count));
            let (total, reserved) = &mut level.contexts[context as usize];
            *total += f64::from(count);
            *reserved += discount;
        }
        level
    }

    fn discount(&self, count: f64) -> f64 {
        let [one, two, more] = self.discounts;
        match count {
            0.0 => 0.0,
            1.0 => one,
            2.0 => two,
            _ => more,
        }
    }

    /// max(a − D(a), 0) / Σ a + γ · lower; the discounts never exceed the counts that they are taken from.
    fn interpolate(&self, context: usize, count: f64, lower: f64) -> f64 {
        let (total, reserved) = self.contexts[context];
        if total == 0.0 { lower } else { (count - self.discount(count) + reserved * lower) / total }
    }
}

/// D₁, D₂, D₃₊ from the counts of counts n₁ … n₄ (Chen & Goodman 1999, equation 20), with Y = n₁ / (n₁ + 2n₂):
/// `D_k = k − (k + 1) · Y · n_{k+1} / n_k`. A small or artificial text may lack a count or give a discount outside
/// (0, k]; then all three are [`FALLBACK_DISCOUNTS`].
fn discounts(counts: impl Iterator<Item = u32>) -> [f64; 3] {
    let mut of_counts = [0.0; 4];
    for count in counts {
        if let Some(entry) = (count as usize).checked_sub(1).and_then(|index| of_counts.get_mut(index)) {
            *entry += 1.0;
        }
    }
    if of_counts.contains(&0.0) {
        return FALLBACK_DISCOUNTS;
    }
    let [n1, n2, ..] = of_counts;
    let y = n1 / (n1 + 2.0 * n2);
    let estimated = [1.0, 2.0, 3.0].map(|k: f64| {
        let index = k as usize;
        k - (k + 1.0) * y * of_counts[index] / of_counts[index - 1]
    });
    let usable = estimated.iter().zip([1.0, 2.0, 3.0]).all(|(&discount, k)| discount > 0.0 && discount <= k);
    if usable { estimated } else { FALLBACK_DISCOUNTS }
}

fn increase(count: &mut u32) {
    *count = count.saturating_add(1);
}

fn key(context: u32, token: u32) -> u64 {
    u64::from(context) << 32 | u64::from(token)
}

type Table = HashMap<u64, u32, BuildHasherDefault<KeyHasher>>;

/// Hashes one packed key by a folded multiplication. The keys come from our own tables, so nobody can aim collisions.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93_u128;
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train(order: usize, vocabulary: usize, streams: &[Vec<u32>]) -> NGram {
        NGram::train(order, vocabulary, streams.iter().map(|stream| stream.iter().copied()))
    }

    /// Numbers that look random, the same every time.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    /// Streams with a skewed token distribution, so that counts of 1 to 4 and more all occur.
    fn random_streams(seed: u64, vocabulary: u64, streams: usize, length: u64) -> Vec<Vec<u32>> {
        let mut state = seed;
        let mut stream = || {
            let length = random(&mut state) % length;
            (0..length)
                .map(|_| {
                    let bound = random(&mut state) % vocabulary + 1;
                    (random(&mut state) % bound) as u32
                })
                .collect()
        };
        (0..streams).map(|_| stream()).collect()
    }

    /// Kneser–Ney as the paper writes it: lists of n-grams, counted again for every question.
    struct Reference<'a> {
        order: usize,
        vocabulary: usize,
        streams: &'a [Vec<u32>],
    }

    impl Reference<'_> {
        /// Every n-gram of a length with its adjusted count.
        fn adjusted(&self, length: usize) -> HashMap<Vec<u32>, f64> {
            let mut result = HashMap::new();
            if length == self.order {
                for gram in self.streams.iter().flat_map(|stream| stream.windows(length)) {
                    *result.entry(gram.to_vec()).or_insert(0.0) += 1.0;
                }
                return result;
            }
            let mut seen = HashSet::new();
            for stream in self.streams {
                for (start, gram) in stream.windows(length).enumerate() {
                    let left = start.checked_sub(1).map(|left| stream[left]);
                    if seen.insert((left, gram)) {
                        *result.entry(gram.to_vec()).or_insert(0.0) += 1.0;
                    }
                }
            }
            result
        }

        fn probability(&self, context: &[u32], token: u32) -> f64 {
            let counts = self.adjusted(context.len() + 1);
            let n = |k: f64| counts.values().filter(|&&count| count == k).count() as f64;
            let y = n(1.0) / (n(1.0) + 2.0 * n(2.0));
            let mut d = [1.0, 2.0, 3.0].map(|k| k - (k + 1.0) * y * n(k + 1.0) / n(k));
            let good = (1..=4).all(|k| n(f64::from(k)) > 0.0)
                && (0..3).all(|index| d[index] > 0.0 && d[index] <= index as f64 + 1.0);
            if !good {
                d = [0.5, 1.0, 1.5];
            }
            let lower = match context {
                [] => 1.0 / self.vocabulary as f64,
                [_, shorter @ ..] => self.probability(shorter, token),
            };
            let of_context: Vec<f64> =
                counts.iter().filter(|(gram, _)| gram.starts_with(context)).map(|(_, &count)| count).collect();
            let total: f64 = of_context.iter().sum();
            if total == 0.0 {
                return lower;
            }
            let discount = |count: f64| if count == 0.0 { 0.0 } else { d[(count as usize).min(3) - 1] };
            let gamma = of_context.iter().map(|&count| discount(count)).sum::<f64>() / total;
            let gram: Vec<u32> = context.iter().copied().chain([token]).collect();
            let count = counts.get(&gram).copied().unwrap_or(0.0);
            (count - discount(count)).max(0.0) / total + gamma * lower
        }
    }

    #[test]
    fn tiny_corpus_by_hand() {
        // Stream 0 1 0 1 2 over four ids. Counts: 0 → 2, 1 → 2, 2 → 1.
        let streams = [vec![0, 1, 0, 1, 2]];
        let unigram = train(1, 4, &streams);
        for (token, expected) in [3.0 / 9.0, 3.0 / 9.0, 2.0 / 9.0, 1.0 / 9.0].into_iter().enumerate() {
            assert!((unigram.log_probability(&[], token as u32).exp() - expected).abs() < 1e-12);
        }
        // Left neighbors: 0 ← {edge, 1}, 1 ← {0}, 2 ← {1}: a = 2, 1, 1, 0 of 4; discounts 1, ½, ½, so γ = ½ and
        // P(0) = ¼ + ⅛, P(1) = P(2) = ⅛ + ⅛, P(3) = ⅛.
        let bigram = train(2, 4, &streams);
        for (token, expected) in [0.375, 0.25, 0.25, 0.125].into_iter().enumerate() {
            assert!((bigram.log_probability(&[], token as u32).exp() - expected).abs() < 1e-12);
        }
        // After 1 come 0 and 2, once each: discount ½ each, γ = ½. P(0 | 1) = ¼ + ½·⅜, P(3 | 1) = ½·⅛.
        assert!((bigram.log_probability(&[1], 0).exp() - 0.4375).abs() < 1e-12);
        assert!((bigram.log_probability(&[1], 3).exp() - 0.0625).abs() < 1e-12);
        // After 0 comes 1, twice: discount 1, γ = ½. P(1 | 0) = ½ + ½·¼.
        assert!((bigram.log_probability(&[3, 0], 1).exp() - 0.625).abs() < 1e-12);
        let (nats, count) = bigram.loss([0, 1, 0].into_iter());
        assert_eq!(count, 3);
        assert!((nats + (0.375_f64 * 0.625 * 0.4375).ln()).abs() < 1e-12);
    }

    #[test]
    fn equals_the_slow_reference() {
        for (seed, vocabulary, streams, length) in [(1, 6, 12, 40), (2, 12, 30, 60), (3, 3, 4, 9), (4, 30, 3, 300)] {
            let streams = random_streams(seed, vocabulary, streams, length);
            let vocabulary = vocabulary as usize + 1;
            let all = NGram::train_all(vocabulary, streams.iter().map(|stream| stream.iter().copied()));
            let mut state = seed;
            for order in [2, 3] {
                let alone = train(order, vocabulary, &streams);
                let reference = Reference { order, vocabulary, streams: &streams };
                for _ in 0..60 {
                    let context: Vec<u32> = (0..random(&mut state) % order as u64)
                        .map(|_| random(&mut state) as u32 % vocabulary as u32)
                        .collect();
                    let token = random(&mut state) as u32 % vocabulary as u32;
                    let expected = reference.probability(&context, token).ln();
                    assert!((all[order - 1].log_probability(&context, token) - expected).abs() < 1e-10);
                    assert!((alone.log_probability(&context, token) - expected).abs() < 1e-10);
                }
            }
        }
    }

    #[test]
    fn probabilities_sum_to_one() {
        let streams = random_streams(7, 20, 20, 200);
        for model in NGram::train_all(25, streams.iter().map(|stream| stream.iter().copied())) {
            // Tokens 20 to 24 never occur; 99 is outside the vocabulary.
            for context in [&[][..], &[0], &[3, 1], &[24], &[1, 24], &[24, 1], &[0, 0, 0], &[99], &[99, 2], &[2, 99]] {
                let sum: f64 = (0..25).map(|token| model.log_probability(context, token).exp()).sum();
                assert!((sum - 1.0).abs() < 1e-12, "order {} after {context:?}: {sum}", model.order());
                assert!((20..25).all(|token| model.log_probability(context, token).is_finite()));
            }
            assert_eq!(model.log_probability(&[], 25), f64::NEG_INFINITY);
        }
    }

    #[test]
    fn loss_is_the_sum_of_log_probabilities() {
        let streams = random_streams(9, 15, 10, 100);
        let held_out: Vec<u32> = random_streams(10, 18, 4, 100).concat();
        for model in NGram::train_all(18, streams.iter().map(|stream| stream.iter().copied())) {
            let expected: f64 =
                (0..held_out.len()).map(|at| -model.log_probability(&held_out[..at], held_out[at])).sum();
            let (nats, count) = model.loss(held_out.iter().copied());
            assert!((nats - expected).abs() < 1e-9);
            assert_eq!(count, held_out.len() as u64);
        }
    }

    #[test]
    fn nothing_to_count_is_uniform() {
        for streams in [vec![], vec![vec![]], vec![vec![], vec![]]] {
            for order in 1..=3 {
                let model = train(order, 8, &streams);
                assert!((model.log_probability(&[1, 2], 3) + 8_f64.ln()).abs() < 1e-12);
                assert_eq!(model.loss(std::iter::empty()), (0.0, 0));
            }
        }
        assert_eq!(train(3, 8, &[vec![5]]).training_tokens(), 1);
    }

    #[test]
    fn higher_orders_learn_what_lower_ones_cannot() {
        // A cycle of period four over two tokens: two tokens of context decide the next one.
        let cycle: Vec<u32> = [0, 0, 1, 1].into_iter().cycle().take(4000).collect();
        let losses = NGram::train_all(2, std::iter::once(cycle.iter().copied()))
            .map(|model| model.loss(cycle.iter().copied()).0 / 4000.0);
        assert!((losses[0] - 2_f64.ln()).abs() < 1e-3 && (losses[1] - 2_f64.ln()).abs() < 1e-2);
        assert!(losses[2] < 0.01, "{losses:?}");
    }
}
