//! The token that an n-gram model holds for most probable, for every context that it knows.
//!
//! Under interpolation a token never seen after a context h has γ(h) times its probability after h′, so that the best of
//! them is the best after h′. The most probable token after h is therefore that one, or one of those seen after h: a pass
//! over the n-grams of each order finds all of them.

use super::{Context, NGram};

/// A token and its probability.
type Best = (u32, f64);

/// See [`NGram::guesses`].
#[derive(Clone, Debug)]
pub struct Guesses<'a> {
    model: &'a NGram,
    /// Without a context.
    first: u32,
    /// By the last token.
    after_token: Vec<u32>,
    /// By the number of the bigram before.
    after_bigram: Vec<u32>,
}

/// The more probable one; of equally probable ones that of the lowest id.
fn better(best: Best, token: u32, probability: f64) -> Best {
    let higher = probability > best.1 || (probability == best.1 && token < best.0);
    if higher { (token, probability) } else { best }
}

impl NGram {
    /// The most probable token of every context.
    pub fn guesses(&self) -> Guesses<'_> {
        let counts = &*self.counts;
        let ids = 0..counts.unigram.len() as u32;
        let probability = |context, token| self.probability(context, token).0;
        let nothing = Context::default();
        let first = ids.clone().fold((0, 0.0), |best, token| better(best, token, probability(nothing, token))).0;
        let mut guesses = Guesses { model: self, first, after_token: Vec::new(), after_bigram: Vec::new() };
        if self.order == 1 {
            return guesses;
        }
        let after = |last| Context { last: Some(last), bigram: None };
        let mut best: Vec<Best> = ids.map(|last| (first, probability(after(last), first))).collect();
        let mut last_of = vec![0; counts.bigram.len()];
        for (&key, &id) in &counts.bigram_ids {
            let (before, token) = ((key >> 32) as u32, key as u32);
            last_of[id as usize] = token;
            let entry = &mut best[before as usize];
            *entry = better(*entry, token, probability(after(before), token));
        }
        guesses.after_token = best.iter().map(|(token, _)| *token).collect();
        if self.order == 2 {
            return guesses;
        }
        let after = |bigram: u32| Context { last: Some(last_of[bigram as usize]), bigram: Some(bigram) };
        let shorter = |bigram: u32| guesses.after_token[last_of[bigram as usize] as usize];
        let mut best: Vec<Best> = (0..last_of.len() as u32)
            .map(|bigram| (shorter(bigram), probability(after(bigram), shorter(bigram))))
            .collect();
        for &key in counts.trigram.keys() {
            let (bigram, token) = ((key >> 32) as u32, key as u32);
            let entry = &mut best[bigram as usize];
            *entry = better(*entry, token, probability(after(bigram), token));
        }
        guesses.after_bigram = best.iter().map(|(token, _)| *token).collect();
        guesses
    }
}

impl Guesses<'_> {
    /// The most probable token after these, of which the last `order − 1` count; of equally probable ones that of the
    /// lowest id.
    pub fn most_probable(&self, context: &[u32]) -> u32 {
        let known = self.model.counts.context(context);
        let of_bigram = known.bigram.and_then(|bigram| self.after_bigram.get(bigram as usize));
        let of_token = || known.last.and_then(|last| self.after_token.get(last as usize));
        of_bigram.or_else(of_token).copied().unwrap_or(self.first)
    }

    /// Tokens of a stream that were the most probable ones after those before them.
    pub fn hits(&self, tokens: impl Iterator<Item = u32>) -> u64 {
        let mut seen: Vec<u32> = Vec::with_capacity(2);
        let mut hits = 0;
        for token in tokens {
            hits += u64::from(self.most_probable(&seen) == token);
            if seen.len() == 2 {
                seen.remove(0);
            }
            seen.push(token);
        }
        hits
    }
}

#[cfg(test)]
mod tests {
    use super::super::NGram;

    #[test]
    fn the_most_probable_token_is_that_of_the_whole_distribution() {
        const VOCABULARY: usize = 23;
        let mut state = 5_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = (state >> 33) % 97;
            (number * number / 450) as u32
        };
        let streams: Vec<Vec<u32>> = (0..3).map(|_| (0..400).map(|_| random()).collect()).collect();
        let models = NGram::train_all(VOCABULARY, streams.iter().map(|stream| stream.iter().copied()));
        let mut contexts: Vec<Vec<u32>> = vec![vec![], vec![22], vec![99], vec![22, 22], vec![99, 3]];
        contexts.extend((0..VOCABULARY as u32).flat_map(|a| (0..VOCABULARY as u32).map(move |b| vec![a, b])));
        contexts.extend((0..VOCABULARY as u32).map(|a| vec![a]));
        for model in &models {
            let guesses = model.guesses();
            for context in &contexts {
                let probability = |token: u32| model.log_probability(context, token);
                let best = (0..VOCABULARY as u32)
                    .fold(0, |best, token| if probability(token) > probability(best) { token } else { best });
                let guess = guesses.most_probable(context);
                // Sums in another order may part equal ones by a rounding error.
                let apart = probability(best) - probability(guess);
                assert!(guess == best || apart.abs() < 1e-12, "{context:?}: {guess}, not {best}, by {apart}");
            }
            let stream = &streams[1];
            let counted = (0..stream.len()).filter(|&at| {
                let before = &stream[at.saturating_sub(2)..at];
                guesses.most_probable(before) == stream[at]
            });
            assert_eq!(guesses.hits(stream.iter().copied()), counted.count() as u64);
        }
    }
}
