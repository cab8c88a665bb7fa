//! N-gram models beside the trained one, told the same targets on the same held-out text.

use crate::batch;
use crate::feed::Feed;
use crate::objective::{Example, Kind};
use crate::recipe::Recipe;
use crate::record::Event;
use loam_corpus::{IGNORE, Prepared, TokenStream};
use loam_models::ngram::{Guesses, NGram};

/// What a model made of a domain.
struct Score {
    nats: f64,
    hits: u64,
    tokens: u64,
}

/// Tokens before the one that is told that the highest order sees.
const SEEN: usize = 2;

/// Trains them on the training tokens and scores them on what the neural model is scored on:
///
/// - of text, on every token;
/// - of masked text, on the masked tokens, with the true tokens to their left in sight, masked or not: they read what the
///   neural model does not see; the visible ones see to the left what it sees;
/// - of pairs, trained and scored on the targets alone; the inputs are not seen;
/// - of spans, on what the decoder writes, sentinels too, with what it wrote before in sight.
pub(crate) fn events(
    recipe: &Recipe,
    prepared: &Prepared,
    kind: Kind,
    feed: &Feed,
    mut shown_feed: Feed,
) -> Vec<Event> {
    let vocabulary = prepared.tokenizer().vocabulary();
    let total: u64 = prepared.sources().iter().map(|source| source.tokens).sum();
    let share = (recipe.baseline.tokens as f64 / total.max(1) as f64).min(1.0);
    // What a decoder writes is not in the text as it stands: examples of about one pass over it show it.
    let passes = if kind == Kind::Spans { (total as f64 * share) as u64 } else { 0 };
    let mut passed = 0;
    let written = std::iter::from_fn(|| {
        if passed >= passes {
            return None;
        }
        let batch = shown_feed.next();
        passed += batch.tokens as u64;
        Some(Box::new(batch.examples.into_iter().flat_map(|example| example.targets)) as Box<dyn Iterator<Item = u32>>)
    });
    let shown = prepared.sources().iter().enumerate().filter(|(_, source)| source.share > 0.0);
    let streams = shown.map(|(index, _)| match prepared.train_examples(index) {
        Some(pairs) if kind == Kind::Pairs => {
            let count = (pairs.len() as f64 * share).ceil() as usize;
            Box::new((0..count).flat_map(|pair| pairs.pair(pair).1)) as Box<dyn Iterator<Item = u32>>
        }
        _ => {
            let stream = prepared.train_stream(index);
            Box::new(tokens(stream, (stream.len() as f64 * share).ceil() as usize))
        }
    });
    let models =
        if kind == Kind::Spans { NGram::train_all(vocabulary, written) } else { NGram::train_all(vocabulary, streams) };
    let guesses = models.each_ref().map(NGram::guesses);
    let token_bytes = batch::token_bytes(prepared.tokenizer());
    let bytes_of = |ids: &mut dyn Iterator<Item = u32>| -> u64 {
        ids.filter_map(|id| token_bytes.get(id as usize)).map(|&bytes| u64::from(bytes)).sum()
    };
    let mut events = Vec::new();
    for (index, domain) in prepared.held_out().iter().enumerate() {
        let stream = prepared.held_out_stream(index);
        let pairs = prepared.held_out_examples(index).is_some();
        let mut visible = Vec::new();
        let (scores, bytes): (Vec<Score>, u64) = if kind == Kind::Causal && !pairs {
            let score = |(model, guesses): (&NGram, &Guesses)| {
                let (nats, scored) = model.loss(tokens(stream, stream.len()));
                Score { nats, hits: guesses.hits(tokens(stream, stream.len())), tokens: scored }
            };
            (models.iter().zip(&guesses).map(score).collect(), bytes_of(&mut tokens(stream, stream.len())))
        } else {
            let examples = feed.held_out(prepared, index, None);
            let told = |sees: Sees| examples.iter().flat_map(|example| told(example, sees)).collect::<Vec<_>>();
            let score = |(model, guesses): (&NGram, &Guesses), told: &[(Vec<u32>, u32)]| Score {
                nats: told.iter().map(|(before, id)| -model.log_probability(before, *id)).sum(),
                hits: told.iter().filter(|(before, id)| guesses.most_probable(before) == *id).count() as u64,
                tokens: told.len() as u64,
            };
            let trained = models.iter().zip(&guesses);
            if kind == Kind::Masked {
                let told = told(Sees::Inputs);
                visible.extend(trained.clone().skip(1).map(|model| score(model, &told)));
            }
            let told = told(match kind {
                // The input at a place stands before the target there.
                Kind::Causal => Sees::InputsBefore,
                Kind::Masked => Sees::Truth,
                Kind::Pairs | Kind::Spans => Sees::Targets,
            });
            let scores = trained.map(|model| score(model, &told)).collect();
            (scores, bytes_of(&mut told.iter().map(|(_, id)| *id)))
        };
        if bytes == 0 {
            continue;
        }
        let names = ["unigram", "bigram", "trigram", "visible bigram", "visible trigram"];
        for (Score { nats, hits, tokens }, name) in scores.into_iter().chain(visible).zip(names) {
            events.push(Event::Baseline {
                domain: domain.name.clone(),
                name: name.to_owned(),
                loss: nats / tokens as f64,
                bits_per_byte: nats / std::f64::consts::LN_2 / bytes as f64,
                accuracy: (tokens > 0).then(|| hits as f64 / tokens as f64),
            });
        }
    }
    events
}

/// What an n-gram model sees to the left of a target.
#[derive(Clone, Copy, PartialEq)]
enum Sees {
    /// The inputs up to the target's own place.
    InputsBefore,
    /// The inputs before the target's place.
    Inputs,
    /// The targets before it.
    Targets,
    /// What stands before it in the text, whether the inputs show it or not.
    Truth,
}

/// The targets of an example that count, each with the tokens to its left.
fn told(example: &Example, sees: Sees) -> Vec<(Vec<u32>, u32)> {
    let input = |at: usize| example.inputs.get(at).copied().unwrap_or_default();
    let left = |at: usize| match (example.targets[at], sees) {
        (_, Sees::Inputs) | (IGNORE, Sees::Truth) => input(at),
        (target, _) => target,
    };
    let before = |at: usize| -> Vec<u32> {
        match sees {
            Sees::InputsBefore => example.inputs[(at + 1).saturating_sub(SEEN)..=at].to_vec(),
            _ => (at.saturating_sub(SEEN)..at).map(left).collect(),
        }
    };
    let counted = (0..example.targets.len()).filter(|at| example.targets[*at] != IGNORE);
    counted.map(|at| (before(at), example.targets[at])).collect()
}

fn tokens(stream: &TokenStream, count: usize) -> impl Iterator<Item = u32> + '_ {
    stream.iter().take(count)
}
