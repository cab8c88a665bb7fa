//! Span corruption (Raffel et al. 2020, section 3.1.4): spans are cut out of a text, a sentinel stands where each was, and
//! the decoder writes each sentinel with what it stands for.

use super::{Draw, Example, Settings, Window};
use crate::error::TrainError;
use loam_corpus::{IGNORE, Tokenizer};

/// What random numbers are drawn for.
const NOISE: u64 = 1;
const KEPT: u64 = 2;

/// Cuts spans out of text.
#[derive(Clone, Debug)]
pub struct Spans {
    share: f64,
    mean: f64,
    seed: u64,
    sentinels: Vec<u32>,
    end: Option<u32>,
}

impl Spans {
    pub(super) fn new(settings: &Settings, tokenizer: &Tokenizer) -> Result<Self, TrainError> {
        let sentinel = |number: usize| tokenizer.token_id(&format!("<extra_id_{number}>"));
        let sentinels: Vec<u32> = (0..).map_while(sentinel).collect();
        if sentinels.is_empty() {
            let message = "cutting out spans needs sentinels (<extra_id_0>, <extra_id_1>, …), and this tokenizer has \
                           none; one that is trained for objective.kind = \"spans\" has them, as have those of T5";
            return Err(TrainError::Request(message.to_owned()));
        }
        Ok(Self {
            share: settings.share,
            mean: settings.span,
            seed: settings.seed,
            sentinels,
            end: tokenizer.end_of_text(),
        })
    }

    /// Tokens cut out of a text of `length`, and in how many spans.
    fn plan(&self, length: usize) -> (usize, usize) {
        let noise = ((length as f64 * self.share).round() as usize).clamp(1, length.saturating_sub(1).max(1));
        let most = self.sentinels.len().min(noise).min(length - noise).max(1);
        (noise, ((noise as f64 / self.mean).round() as usize).clamp(1, most))
    }

    /// The longest text of which neither what is left nor what is cut out is longer than `context` with its sentinels and
    /// its end.
    pub(super) fn window(&self, context: usize) -> usize {
        let fits = |length: usize| {
            let (noise, spans) = self.plan(length);
            (length - noise + spans).max(noise + spans) < context
        };
        let mut length = 2;
        while fits(length + 1) && length < 4 * context {
            length += 1;
        }
        length
    }

    /// How many tokens of a text stay before each span, and how many that has.
    fn cuts(&self, source: usize, number: u64, length: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let draw = Draw::new([self.seed, source as u64, number]);
        let (noise, spans) = self.plan(length);
        let cut = segments(noise, spans, draw, NOISE);
        let kept = segments(length - noise, spans, draw, KEPT);
        kept.into_iter().zip(cut)
    }

    /// For every target of a window's example, its place in the window; a sentinel stands where its span begins.
    pub(super) fn target_offsets(&self, window: &Window) -> Vec<usize> {
        let length = window.tokens.len();
        if length < 2 {
            return (0..length).collect();
        }
        let (mut offsets, mut at) = (Vec::new(), 0);
        for (kept, cut) in self.cuts(window.source, window.number, length) {
            at += kept;
            offsets.push(at);
            offsets.extend(at..at + cut);
            at += cut;
        }
        offsets
    }

    pub(super) fn example(&self, window: Window) -> Example {
        let Window { tokens, source, number, .. } = window;
        let ends = |mut ids: Vec<u32>| {
            ids.extend(self.end);
            ids
        };
        if tokens.len() < 2 {
            let targets = vec![IGNORE; tokens.len()];
            return Example { source: ends(tokens.to_vec()), targets, ..Example::default() };
        }
        let (mut left, mut out) = (Vec::new(), Vec::new());
        let mut at = 0;
        for ((kept, cut), sentinel) in self.cuts(source, number, tokens.len()).zip(&self.sentinels) {
            left.extend_from_slice(&tokens[at..at + kept]);
            left.push(*sentinel);
            out.push(*sentinel);
            out.extend_from_slice(&tokens[at + kept..at + kept + cut]);
            at += kept + cut;
        }
        Example { source: ends(left), targets: ends(out), ..Example::default() }
    }
}

/// `total` in `parts` parts of at least one, every division as likely as any other.
fn segments(total: usize, parts: usize, draw: Draw, purpose: u64) -> Vec<usize> {
    // The first parts − 1 of a shuffled list of the places between two tokens.
    let mut places: Vec<usize> = (1..total).collect();
    for at in 0..parts - 1 {
        let other = at + draw.below(purpose, at as u64, places.len() - at);
        places.swap(at, other);
    }
    let mut cuts = places[..parts - 1].to_vec();
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([total]);
    let begins = [0].into_iter().chain(cuts.iter().copied());
    begins.zip(ends).map(|(begin, end)| end - begin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans() -> Spans {
        Spans { share: 0.15, mean: 3.0, seed: 3, sentinels: (1000..1100).collect(), end: Some(0) }
    }

    #[test]
    fn what_is_cut_out_can_be_put_back() {
        for length in [2, 3, 7, 50, 511] {
            let tokens: Vec<u32> = (1..=length).collect();
            for number in 0..20 {
                let window = Window { tokens: &tokens, source: 0, number, start: 0, total: tokens.len() };
                let example = spans().example(window);
                let mut restored = Vec::new();
                for id in &example.source[..example.source.len() - 1] {
                    if *id < 1000 {
                        restored.push(*id);
                        continue;
                    }
                    let at = example.targets.iter().position(|other| other == id).unwrap();
                    restored.extend(example.targets[at + 1..].iter().take_while(|id| (1..1000).contains(*id)));
                }
                assert_eq!(restored, tokens, "length {length}");
                assert_eq!((example.source.last(), example.targets.last()), (Some(&0), Some(&0)));
            }
        }
    }

    #[test]
    fn shares_and_lengths_are_as_asked() {
        // T5's own numbers: 512 tokens of input come from a text of 568, of which 114 are in the target.
        let spans = spans();
        assert_eq!(spans.window(512), 568);
        assert_eq!(spans.plan(568), (85, 28));
        for context in 4..300 {
            let tokens: Vec<u32> = (1..=spans.window(context) as u32).collect();
            let window = Window { tokens: &tokens, source: 0, number: 1, start: 0, total: tokens.len() };
            assert!(spans.example(window).length() <= context, "{context}");
        }
    }
}
