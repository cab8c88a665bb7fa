//! Quality: the published filters, rule by rule, with the value that each rule looked at.
//!
//! A filter that only says "dropped" cannot be argued with. Here every rule of Gopher, C4 and FineWeb has a name, a
//! measure and a limit ([`Rule`]); a document keeps every value, dropped or not, so that other limits can be tried on the
//! records without reading the text again ([`Filters::judge`]). Verdicts are those of datatrove 0.10: the same order, the
//! same words, the same lines, the same sides of the limits. `benches/peers/datatrove_filters.py` compares them.
//!
//! One thing is done otherwise: texts without any word fail rules where datatrove would divide by zero.
//!
//! What a word is depends on the language ([`Segmentation`]). Chinese has no spaces, and rules made for English drop all of
//! it, so that [`Filters::adapt_chinese`] (on by default) asks other things of it: words may have one character; the stop
//! words are Chinese; a line of C4 may end with a Chinese mark, and has its words counted by jieba; a line is short from
//! 15 characters down.

mod addresses;
mod c4;
mod characters;
mod english;
mod fineweb;
mod gopher;
mod hashing;
mod lines;
mod repetition;
mod rules;
mod settings;
mod specials;
#[rustfmt::skip]
mod tables;
mod words;

use std::borrow::Cow;
use std::cell::RefCell;

pub use rules::{Measure, Preset, Rule, Side};
pub use settings::{Filters, Limit};
pub use words::Segmentation;

/// What the filters say of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged<'t> {
    /// The text as C4 leaves it; as it was where C4 is off or the text was dropped.
    pub text: Cow<'t, str>,
    /// Every value that the filters measured, dropped or not.
    pub values: Vec<(Measure, f64)>,
    /// The first rule that it fails; `None` where it is kept.
    pub verdict: Option<Rule>,
}

impl Judged<'_> {
    /// A value, where its filter is on.
    pub fn value(&self, measure: Measure) -> Option<f64> {
        self.values.iter().find(|(known, _)| *known == measure).map(|&(_, value)| value)
    }
}

/// Buffers that one thread uses for one text after another.
#[derive(Debug, Default)]
pub struct Workspace {
    words: Vec<words::Word>,
    scratch: words::Scratch,
    repetition: repetition::Buffers,
    c4: c4::Buffers,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

impl Filters {
    /// Measures and judges a text.
    pub fn apply<'t>(&self, text: &'t str, segmentation: Segmentation) -> Judged<'t> {
        WORKSPACE.with_borrow_mut(|workspace| self.apply_with(text, segmentation, workspace))
    }

    /// As [`Filters::apply`], with buffers of the caller.
    pub fn apply_with<'t>(&self, text: &'t str, segmentation: Segmentation, workspace: &mut Workspace) -> Judged<'t> {
        let Workspace { words, scratch, repetition, c4 } = workspace;
        let on = |preset| self.presets.contains(&preset);
        let mut values = Vec::with_capacity(Measure::ALL.len());
        words::split(text, segmentation, words, scratch);
        if on(Preset::GopherRepetition) {
            repetition::measure(text, characters::length(text), words, repetition, &mut values);
        }
        if on(Preset::GopherQuality) {
            gopher::measure(text, words, &self.stop_word_hashes(segmentation), &mut values);
        }
        let (mut left, mut left_words, mut first) = (Cow::Borrowed(text), words.len(), None);
        if on(Preset::C4) {
            let settings = self.c4(segmentation);
            let kept = c4::apply(text, words, segmentation, &settings, c4, scratch, &mut values);
            first = kept.first;
            // Later filters see what C4 leaves, of texts that it keeps.
            let mut rules = Rule::ALL.iter().filter(|rule| rule.preset() == Preset::C4);
            if !rules.any(|&rule| self.fails(rule, &values, segmentation)) {
                (left, left_words) = (kept.text, kept.words);
            }
        }
        if on(Preset::Fineweb) {
            let short = self.short_line(segmentation);
            fineweb::measure(&left, left_words, short, &mut repetition.counts, &mut values);
        }
        let mut verdict = self.judge(&values, segmentation);
        // Two rules drop a text at a line of it; of both, that of the first line is told.
        if verdict == Some(Rule::C4LoremIpsum) && self.fails(Rule::C4CurlyBracket, &values, segmentation) {
            verdict = first;
        }
        let text = if verdict.is_none() { left } else { Cow::Borrowed(text) };
        Judged { text, values, verdict }
    }
}

#[cfg(test)]
mod tests;
