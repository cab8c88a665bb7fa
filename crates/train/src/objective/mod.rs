//! What a model learns from text: to tell the next token, the masked ones, the target of a pair, or spans cut out.
//!
//! An objective makes [`Example`]s out of windows of tokens, or of pairs. Whatever is drawn is a pure function of the
//! run's seed and of the window's place, so that a resumed run draws what an uninterrupted one would have drawn.

mod masking;
mod next_sentence;
mod spans;

pub use masking::{Masking, Scheme};
pub(crate) use next_sentence::Documents;
pub use next_sentence::NextSentence;

use crate::error::TrainError;
use loam_corpus::{ExampleStream, Fit, Framing, IGNORE, Tokenizer};
use loam_nn::initialize::mix;
use spans::Spans;

/// What a model learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The token after each (Bengio et al. 2003).
    Causal,
    /// The tokens that were masked (Devlin et al. 2019).
    Masked,
    /// The target that belongs to an input (Sutskever et al. 2014).
    Pairs,
    /// The spans that were cut out (Raffel et al. 2020).
    Spans,
}

impl Kind {
    /// What a tokenizer that is trained for it has beside its own special tokens.
    pub fn framing(self) -> Framing {
        match self {
            Kind::Causal | Kind::Masked => Framing::Plain,
            Kind::Pairs => Framing::Pairs,
            Kind::Spans => Framing::Spans,
        }
    }

    /// What a recipe calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Causal => "causal",
            Kind::Masked => "masked",
            Kind::Pairs => "pairs",
            Kind::Spans => "spans",
        }
    }
}

/// One sequence, as a model reads it and as it is asked about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// What an encoder reads for a decoder; empty for a model that is one or the other.
    pub source: Vec<u32>,
    /// What the model reads; of an encoder with a decoder it follows from the targets, and is empty.
    pub inputs: Vec<u32>,
    /// What is to be told at each place, [`IGNORE`] where nothing is.
    pub targets: Vec<u32>,
    /// What is asked about its two sentences, where that is learned too.
    pub next_sentence: Option<NextSentence>,
}

impl Example {
    /// Targets that count.
    pub fn counted(&self) -> usize {
        self.targets.iter().filter(|target| **target != IGNORE).count()
    }

    /// Tokens that the model reads or writes.
    pub fn tokens(&self) -> usize {
        self.source.len() + self.inputs.len().max(self.targets.len())
    }

    /// Tokens on its longer side: what it costs a batch.
    pub fn length(&self) -> usize {
        self.source.len().max(self.inputs.len()).max(self.targets.len())
    }
}

/// Cuts examples into groups, in order, that have at most `tokens` on their longer side with their padding.
pub fn groups(examples: &[Example], tokens: usize) -> Vec<&[Example]> {
    let mut groups = Vec::new();
    let (mut begin, mut longest) = (0, 0);
    for (at, example) in examples.iter().enumerate() {
        let length = longest.max(example.length());
        if at > begin && (at + 1 - begin) * length > tokens {
            groups.push(&examples[begin..at]);
            (begin, longest) = (at, example.length());
        } else {
            longest = length;
        }
    }
    if begin < examples.len() {
        groups.push(&examples[begin..]);
    }
    groups
}

/// Weighs next sentences in examples whose losses are summed and divided by the targets that count: what the model learns
/// then is the sum of two means, of masked words over words and of next sentences over examples (Devlin et al. 2019,
/// appendix A.2), however the examples are divided into batches.
pub fn balance<'a>(examples: impl IntoIterator<Item = &'a mut Example>) {
    let mut counted = 0;
    let mut asked: Vec<&mut NextSentence> = Vec::new();
    for example in examples {
        counted += example.counted();
        asked.extend(&mut example.next_sentence);
    }
    let weight = counted as f32 / asked.len().max(1) as f32;
    for next in asked {
        next.weight = weight;
    }
}

/// Random numbers of one sequence, by their purpose and place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(parts: [u64; 3]) -> Self {
        Self(parts.into_iter().fold(0x6f62_6a65, |key, part| mix(key ^ mix(part))))
    }

    fn bits(self, purpose: u64, place: u64) -> u64 {
        mix(self.0 ^ mix((purpose << 48) ^ place))
    }

    /// Uniform in [0, 1).
    fn uniform(self, purpose: u64, place: u64) -> f64 {
        (self.bits(purpose, place) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform below `bound`.
    fn below(self, purpose: u64, place: u64, bound: usize) -> usize {
        (self.bits(purpose, place) % bound.max(1) as u64) as usize
    }
}

/// How windows of text become examples.
#[derive(Clone, Debug)]
pub enum Objective {
    /// See [`Kind::Causal`].
    Causal,
    /// See [`Kind::Masked`].
    Masked(Masking),
    /// See [`Kind::Pairs`].
    Pairs,
    /// See [`Kind::Spans`].
    Spans(Spans),
}

/// What the recipe says about an objective.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Share of the tokens that are masked, or cut out.
    pub share: f64,
    /// How masks are chosen.
    pub scheme: Scheme,
    /// Whether the pieces of a word are masked together.
    pub whole_words: bool,
    /// Mean length of a span, in tokens.
    pub span: f64,
    /// Whether next sentences are told beside masked tokens.
    pub next_sentence: bool,
    /// Seed of the run.
    pub seed: u64,
}

/// A window of tokens and where it is from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    pub(crate) tokens: &'a [u32],
    /// The source, or domain.
    pub(crate) source: usize,
    /// Its number among those delivered.
    pub(crate) number: u64,
    /// Where it begins in the source, and how many tokens that has: a window may go on at its start.
    pub(crate) start: usize,
    pub(crate) total: usize,
}

impl Objective {
    /// An objective for the tokenizer's special tokens.
    ///
    /// # Errors
    /// When the tokenizer lacks one that the objective needs.
    pub fn new(kind: Kind, settings: &Settings, tokenizer: &Tokenizer) -> Result<Self, TrainError> {
        Ok(match kind {
            Kind::Causal => Self::Causal,
            Kind::Masked => Self::Masked(Masking::new(settings, tokenizer)?),
            Kind::Pairs => Self::Pairs,
            Kind::Spans => Self::Spans(Spans::new(settings, tokenizer)?),
        })
    }

    /// Tokens of text in a window of an example of `context` tokens.
    pub(crate) fn window(&self, context: usize) -> usize {
        match self {
            Self::Causal | Self::Pairs => context,
            Self::Masked(masking) => context.saturating_sub(masking.frame()).max(1),
            Self::Spans(spans) => spans.window(context),
        }
    }

    /// The tokens of a window, without its padding; where the next token is told, padding stays, and is not told.
    pub(crate) fn text<'a>(&self, targets: &'a [u32]) -> &'a [u32] {
        let length = match self {
            Self::Causal | Self::Pairs => targets.len(),
            _ => targets.iter().position(|id| *id == IGNORE).unwrap_or(targets.len()),
        };
        &targets[..length]
    }

    /// The example of a window of training text.
    pub(crate) fn example(&self, window: Window, inputs: &[u32]) -> Example {
        match self {
            Self::Causal | Self::Pairs => {
                Example { inputs: inputs.to_vec(), targets: window.tokens.to_vec(), ..Example::default() }
            }
            Self::Masked(masking) => masking.example(window),
            Self::Spans(spans) => spans.example(window),
        }
    }

    /// For every target of a window's example, the place in its source's tokens of the token that it stands for; of
    /// special tokens, the nearest token's.
    pub(crate) fn target_places(&self, window: &Window) -> Vec<usize> {
        let length = window.tokens.len();
        let at = |offset: usize| (window.start + offset) % window.total.max(1);
        match self {
            Self::Causal | Self::Pairs => (0..length).map(at).collect(),
            // A token that begins the sequence stands before the text.
            Self::Masked(_) => (0..=length).map(|slot| at(slot.saturating_sub(1))).collect(),
            Self::Spans(spans) => spans.target_offsets(window).into_iter().map(at).collect(),
        }
    }

    /// The example of a window of held-out text, which is the same at every evaluation and for every scheme of masks.
    pub(crate) fn held_out_example(&self, window: Window, inputs: &[u32]) -> Example {
        match self {
            Self::Masked(masking) => masking.held_out_example(window),
            other => other.example(Window { number: window.start as u64, ..window }, inputs),
        }
    }

    /// The example of a pair, or of a conversation. A model that only continues text reads it from left to right and
    /// learns to write the target, or the answers.
    pub(crate) fn pair(&self, stream: &ExampleStream, index: usize) -> Example {
        if matches!(self, Self::Causal) {
            return continued(&stream.example(index));
        }
        let (source, targets) = stream.pair(index);
        Example { source, targets, ..Example::default() }
    }

    /// What of a pair fits a context.
    pub(crate) fn fit(&self, context: usize) -> Fit {
        if matches!(self, Self::Causal) { Fit::Whole(context) } else { Fit::Sides(context) }
    }
}

/// Tokens with those told that are learned.
fn continued((ids, learned): &(Vec<u32>, Vec<bool>)) -> Example {
    let told = |(id, learned): (&u32, &bool)| if *learned { *id } else { IGNORE };
    let targets = ids.iter().zip(learned).skip(1).map(told).collect();
    Example { inputs: ids[..ids.len().saturating_sub(1)].to_vec(), targets, ..Example::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_order_and_budget() {
        let example = |length: usize| Example { inputs: vec![1; length], ..Example::default() };
        let examples: Vec<Example> = [3, 3, 5, 9, 1, 1, 1].map(example).to_vec();
        let lengths: Vec<usize> = groups(&examples, 10).iter().map(|group| group.len()).collect();
        assert_eq!(lengths, [2, 1, 1, 3]);
        assert!(groups(&[], 10).is_empty());
        assert_eq!(groups(&examples, 0).len(), 7);
    }

    #[test]
    fn a_pair_for_a_decoder_alone_is_learned_on_its_target() {
        let example = continued(&(vec![5, 6, 0, 7, 0], vec![false, false, false, true, true]));
        assert_eq!(example.inputs, [5, 6, 0, 7]);
        assert_eq!(example.targets, [IGNORE, IGNORE, 7, 0]);
        assert_eq!((example.counted(), example.tokens()), (2, 4));
    }
}
