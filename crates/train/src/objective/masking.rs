//! Masked words: some tokens of a text are hidden, and the model tells what they were from both sides.
//!
//! Of the tokens that are to be told, 80 of 100 become the mask, 10 a random token, and 10 stay as they are (Devlin et
//! al. 2019, section 3.1 and appendix A.1), so that a model cannot rest where it sees no mask. Which tokens: always the
//! same ones of a text (`static`), others each time that it is read (`dynamic`, Liu et al. 2019), or others each time and
//! more often those that the model still gets wrong (`adaptive`).

use super::next_sentence::{FRAME, Sentences};
use super::{Draw, Example, Settings, Window};
use crate::error::TrainError;
use loam_corpus::{IGNORE, Tokenizer};

/// How masks are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// By the token's place in the text.
    Static,
    /// Anew each time.
    Dynamic,
    /// Anew each time, tokens in proportion to their usual loss.
    Adaptive,
}

/// Of tokens that are to be told: how many become the mask, and how many a random token.
const MASKED: f64 = 0.8;
const RANDOM: f64 = 0.1;

/// Part of a token's usual loss that one measurement makes up.
const MEMORY: f32 = 0.05;
/// Least and greatest weight of a token in adaptive masking, relative to the mean: rare and easy tokens stay in training.
const WEIGHTS: (f32, f32) = (0.25, 4.0);
/// Greatest probability with which a token is masked.
const MOST: f64 = 0.6;

/// What random numbers are drawn for.
const CHOOSE: u64 = 1;
const BECOME: u64 = 2;
const REPLACE: u64 = 3;

/// Stands in for the run's seed in held-out text.
const HELD_OUT_SEED: u64 = 0x6865_6c64;

/// Masks tokens.
#[derive(Clone, Debug)]
pub struct Masking {
    share: f64,
    scheme: Scheme,
    whole_words: bool,
    seed: u64,
    begin: u32,
    end: u32,
    mask: u32,
    /// By id: special tokens are never told.
    special: Vec<bool>,
    /// By id: whether a token goes on with the word of the one before it.
    continues: Vec<bool>,
    /// Ids that a random token is drawn from.
    ordinary: Vec<u32>,
    /// By id: the usual loss, in nats; 0 of tokens that were never told.
    usual: Vec<f32>,
    /// What splits texts, where next sentences are told too.
    sentences: Option<Sentences>,
}

/// The first of these tokens that there is.
fn named(tokenizer: &Tokenizer, names: &[&str], what: &str) -> Result<u32, TrainError> {
    names.iter().find_map(|name| tokenizer.token_id(name)).ok_or_else(|| {
        TrainError::Request(format!(
            "masked training needs a token that {what} ({}), and this tokenizer has none; tokenizer.kind = \
             \"wordpiece\" has them all, as have the tokenizers of BERT and RoBERTa",
            names.join(" or ")
        ))
    })
}

impl Masking {
    pub(super) fn new(settings: &Settings, tokenizer: &Tokenizer) -> Result<Self, TrainError> {
        let ids = 0..tokenizer.vocabulary() as u32;
        let names: Vec<Option<String>> = ids.clone().map(|id| tokenizer.token(id)).collect();
        let special: Vec<bool> = ids
            .clone()
            .map(|id| {
                let unknown = matches!(names[id as usize].as_deref(), Some("[UNK]" | "<unk>") | None);
                unknown || tokenizer.token_bytes(id) == 0
            })
            .collect();
        // WordPiece marks pieces that go on; byte-level and unigram vocabularies mark those that begin a word.
        let wordpiece = names.iter().flatten().any(|name| name.starts_with("##"));
        let marks = ['\u{120}', '\u{2581}'];
        let begins = |name: &str| name.starts_with(marks) || !name.chars().next().is_some_and(char::is_alphanumeric);
        let continues = names
            .iter()
            .map(|name| match name {
                None => false,
                Some(name) if wordpiece => name.starts_with("##"),
                Some(name) => !begins(name),
            })
            .collect();
        Ok(Self {
            share: settings.share,
            scheme: settings.scheme,
            whole_words: settings.whole_words,
            seed: settings.seed,
            begin: named(tokenizer, &["[CLS]", "<s>"], "begins a sequence")?,
            end: named(tokenizer, &["[SEP]", "</s>"], "ends a sequence")?,
            mask: named(tokenizer, &["[MASK]", "<mask>"], "stands for a masked one")?,
            ordinary: ids.filter(|id| !special[*id as usize]).collect(),
            usual: vec![0.0; special.len()],
            special,
            continues,
            sentences: settings.next_sentence.then(|| Sentences::new(tokenizer)),
        })
    }

    /// Tokens around a text.
    pub(super) fn frame(&self) -> usize {
        if self.sentences.is_some() { FRAME } else { 2 }
    }

    /// Whether next sentences are told too.
    pub fn tells_next_sentences(&self) -> bool {
        self.sentences.is_some()
    }

    /// What splits texts, where next sentences are told too.
    pub(super) fn sentences(&self) -> Option<&Sentences> {
        self.sentences.as_ref()
    }

    /// The tokens that begin and end a sequence.
    pub(super) fn ends(&self) -> (u32, u32) {
        (self.begin, self.end)
    }

    /// Whether a token goes on with the word of the one before it.
    pub(super) fn continues(&self, id: u32) -> bool {
        self.continues.get(id as usize).copied().unwrap_or(false)
    }

    /// Whether the usual losses of tokens are asked for, in [`Masking::learn`].
    pub fn is_adaptive(&self) -> bool {
        self.scheme == Scheme::Adaptive
    }

    /// Takes note of what tokens cost the model to tell.
    pub fn learn(&mut self, told: impl Iterator<Item = (u32, f32)>) {
        for (id, loss) in told.filter(|(_, loss)| loss.is_finite()) {
            if let Some(usual) = self.usual.get_mut(id as usize) {
                *usual = if *usual == 0.0 { loss } else { (1.0 - MEMORY) * *usual + MEMORY * loss };
            }
        }
    }

    /// What [`Masking::learn`] has taken note of, for a checkpoint.
    pub fn memory(&self) -> &[f32] {
        if self.is_adaptive() { &self.usual } else { &[] }
    }

    /// Goes on from what [`Masking::memory`] gave.
    pub fn restore(&mut self, memory: &[f32]) {
        if memory.len() == self.usual.len() {
            self.usual.copy_from_slice(memory);
        }
    }

    /// How often a token is told, relative to the others of a text whose mean loss is `mean`.
    fn weight(&self, id: u32, mean: f32) -> f32 {
        match self.usual.get(id as usize) {
            Some(usual) if *usual > 0.0 && mean > 0.0 => (usual / mean).clamp(WEIGHTS.0, WEIGHTS.1),
            _ => 1.0,
        }
    }

    /// The probability with which each token is told.
    fn probabilities(&self, tokens: &[u32], scheme: Scheme) -> Vec<f64> {
        let ordinary = |id: u32| !self.special.get(id as usize).copied().unwrap_or(true);
        if scheme != Scheme::Adaptive {
            return tokens.iter().map(|id| if ordinary(*id) { self.share } else { 0.0 }).collect();
        }
        let known =
            || tokens.iter().filter(|id| ordinary(**id)).map(|id| self.usual[*id as usize]).filter(|u| *u > 0.0);
        let mean = known().sum::<f32>() / known().count().max(1) as f32;
        let weights: Vec<f64> =
            tokens.iter().map(|id| if ordinary(*id) { f64::from(self.weight(*id, mean)) } else { 0.0 }).collect();
        let (sum, count) = (weights.iter().sum::<f64>(), weights.iter().filter(|weight| **weight > 0.0).count());
        let scale = if sum > 0.0 { self.share * count as f64 / sum } else { 0.0 };
        weights.iter().map(|weight| (weight * scale).min(MOST)).collect()
    }

    /// Tokens as the model sees them and what it is asked about each; `place` names a token for the draws.
    fn mask(&self, tokens: &[u32], scheme: Scheme, draw: Draw, place: impl Fn(usize) -> u64) -> (Vec<u32>, Vec<u32>) {
        let probabilities = self.probabilities(tokens, scheme);
        let (mut inputs, mut targets) = (tokens.to_vec(), vec![IGNORE; tokens.len()]);
        // Words, or single tokens, by their first token.
        let continues =
            |at: usize| self.whole_words && at > 0 && self.continues(tokens[at]) && probabilities[at - 1] > 0.0;
        let mut words: Vec<(usize, usize)> = Vec::new();
        for at in 0..tokens.len() {
            match words.last_mut() {
                Some(word) if continues(at) => word.1 = at + 1,
                _ => words.push((at, at + 1)),
            }
        }
        let mut chosen = Vec::new();
        let mut nearest: Option<(f64, (usize, usize))> = None;
        for word in words {
            let probability = probabilities[word.0..word.1].iter().sum::<f64>() / (word.1 - word.0) as f64;
            if probability <= 0.0 {
                continue;
            }
            let drawn = draw.uniform(CHOOSE, place(word.0)) / probability;
            if drawn < 1.0 {
                chosen.push(word);
            }
            if nearest.is_none_or(|(least, _)| drawn < least) {
                nearest = Some((drawn, word));
            }
        }
        if chosen.is_empty() {
            // A sequence that asks for nothing would teach nothing.
            chosen.extend(nearest.map(|(_, word)| word));
        }
        for at in chosen.into_iter().flat_map(|(begin, end)| begin..end) {
            if probabilities[at] <= 0.0 {
                continue;
            }
            targets[at] = tokens[at];
            let becomes = draw.uniform(BECOME, place(at));
            if becomes < MASKED {
                inputs[at] = self.mask;
            } else if becomes < MASKED + RANDOM && !self.ordinary.is_empty() {
                inputs[at] = self.ordinary[draw.below(REPLACE, place(at), self.ordinary.len())];
            }
        }
        (inputs, targets)
    }

    fn framed(&self, (mut inputs, mut targets): (Vec<u32>, Vec<u32>)) -> Example {
        inputs.insert(0, self.begin);
        inputs.push(self.end);
        targets.insert(0, IGNORE);
        targets.push(IGNORE);
        Example { inputs, targets, ..Example::default() }
    }

    /// What is drawn for a window of training text.
    pub(super) fn draw(&self, window: &Window) -> Draw {
        Draw::new([self.seed, window.source as u64, window.number])
    }

    /// What is drawn for a window of held-out text.
    pub(super) fn held_out_draw(window: &Window) -> Draw {
        Draw::new([HELD_OUT_SEED, window.source as u64, window.start as u64])
    }

    /// Training text that a window draws, masked; `place` says where each of its tokens stands in the source.
    pub(super) fn masked(&self, tokens: &[u32], window: &Window, place: impl Fn(usize) -> u64) -> (Vec<u32>, Vec<u32>) {
        match self.scheme {
            Scheme::Static => {
                let draw = Draw::new([self.seed, window.source as u64, u64::MAX]);
                self.mask(tokens, Scheme::Static, draw, place)
            }
            scheme => self.mask(tokens, scheme, self.draw(window), |at| at as u64),
        }
    }

    /// Held-out text, masked.
    pub(super) fn held_out_masked(&self, tokens: &[u32], draw: Draw) -> (Vec<u32>, Vec<u32>) {
        self.mask(tokens, Scheme::Static, draw, |at| at as u64)
    }

    pub(super) fn example(&self, window: Window) -> Example {
        let Window { tokens, start, total, .. } = window;
        self.framed(self.masked(tokens, &window, |at| ((start + at) % total.max(1)) as u64))
    }

    pub(super) fn held_out_example(&self, window: Window) -> Example {
        self.framed(self.held_out_masked(window.tokens, Self::held_out_draw(&window)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loam_corpus::{Framing, TokenizerKind, train_tokenizer};

    const TEXT: &str =
        "unaffordable walking walked talking talked the the the cat sat on the mat, affordable cats walk";

    fn masking(scheme: Scheme, whole_words: bool) -> (Masking, Vec<u32>) {
        let texts = (0..20).map(|_| Ok(TEXT.to_owned()));
        let tokenizer = train_tokenizer(TokenizerKind::WordPiece, 60, Framing::Plain, texts, &mut |_, _| {}).unwrap();
        let settings = Settings { share: 0.15, scheme, whole_words, span: 3.0, next_sentence: false, seed: 7 };
        let tokens = tokenizer.encode(&TEXT.repeat(20));
        (Masking::new(&settings, &tokenizer).unwrap(), tokens)
    }

    fn window(tokens: &[u32], number: u64) -> Window<'_> {
        Window { tokens, source: 0, number, start: 0, total: tokens.len() }
    }

    #[test]
    fn shares_are_as_asked() {
        let (masking, tokens) = masking(Scheme::Dynamic, false);
        let (mut all, mut told, mut masked, mut same) = (0, 0, 0, 0);
        for number in 0..200 {
            let example = masking.example(window(&tokens, number));
            all += tokens.iter().filter(|id| !masking.special[**id as usize]).count();
            for ((input, target), token) in example.inputs[1..].iter().zip(&example.targets[1..]).zip(&tokens) {
                if *target == IGNORE {
                    assert_eq!(input, token);
                    continue;
                }
                assert_eq!(target, token);
                told += 1;
                masked += usize::from(*input == masking.mask);
                same += usize::from(input == token);
            }
        }
        let share = |part: usize, whole: usize| part as f64 / whole as f64;
        assert!((share(told, all) - 0.15).abs() < 0.005, "{}", share(told, all));
        assert!((share(masked, told) - 0.8).abs() < 0.01, "{}", share(masked, told));
        // A random token is the same now and then.
        assert!((share(same, told) - 0.1).abs() < 0.02, "{}", share(same, told));
    }

    #[test]
    fn static_masks_stay_where_they_are() {
        let (fixed, tokens) = masking(Scheme::Static, false);
        assert_eq!(fixed.example(window(&tokens, 0)), fixed.example(window(&tokens, 9)));
        // The same text in a window that begins elsewhere.
        let (whole, half) = (fixed.example(window(&tokens, 0)), tokens.len() / 2);
        let later = Window { tokens: &tokens[half..], start: half, ..window(&tokens, 3) };
        assert_eq!(fixed.example(later).targets[1..], whole.targets[1 + half..]);
        let (moving, _) = masking(Scheme::Dynamic, false);
        assert_ne!(moving.example(window(&tokens, 0)), moving.example(window(&tokens, 9)));
        assert_eq!(moving.example(window(&tokens, 9)), moving.example(window(&tokens, 9)));
        assert_eq!(
            fixed.held_out_example(window(&tokens, 0)),
            moving.held_out_example(window(&tokens, 5)),
            "held-out text is masked alike under every scheme"
        );
    }

    #[test]
    fn words_are_masked_whole() {
        let (masking, tokens) = masking(Scheme::Dynamic, true);
        let mut inside = 0;
        for number in 0..50 {
            let example = masking.example(window(&tokens, number));
            for (at, token) in tokens.iter().enumerate().skip(1) {
                if masking.continues[*token as usize] {
                    let told = |at: usize| example.targets[at + 1] != IGNORE;
                    assert_eq!(told(at), told(at - 1));
                    inside += usize::from(told(at));
                }
            }
        }
        assert!(inside > 50);
    }

    #[test]
    fn adaptive_masks_fall_on_what_is_hard() {
        let (mut masking, tokens) = masking(Scheme::Adaptive, false);
        let (hard, easy) = (tokens[0], *tokens.iter().find(|id| **id != tokens[0]).unwrap());
        masking.learn((0..100).flat_map(|_| tokens.iter().map(|id| (*id, if *id == hard { 6.0 } else { 1.0 }))));
        let mut told = [0_usize; 2];
        let mut all = 0;
        for number in 0..300 {
            let example = masking.example(window(&tokens, number));
            told[0] += example.targets.iter().filter(|id| **id == hard).count();
            told[1] += example.targets.iter().filter(|id| **id == easy).count();
            all += example.counted();
        }
        let count = |id: u32| 300 * tokens.iter().filter(|other| **other == id).count();
        let rates = [told[0] as f64 / count(hard) as f64, told[1] as f64 / count(easy) as f64];
        assert!(rates[0] > 2.0 * rates[1], "{rates:?}");
        let share = all as f64 / (300 * tokens.len()) as f64;
        assert!((share - 0.15).abs() < 0.01, "{share}");
        let memory = masking.memory().to_vec();
        let (mut other, _) = self::masking(Scheme::Adaptive, false);
        other.restore(&memory);
        assert_eq!(other.example(window(&tokens, 4)), masking.example(window(&tokens, 4)));
    }
}
