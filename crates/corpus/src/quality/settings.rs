//! Which filters are on, and where their rules draw the line.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::c4;
use super::gopher::{CHINESE_STOP_WORDS, ENGLISH_STOP_WORDS};
use super::hashing::hash;
use super::rules::{Measure, Preset, Rule, Side};
use super::words::Segmentation;

/// Where a rule draws the line. In a recipe: a number, `true` for the published one, `false` for none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Limit {
    /// The rule is off.
    Off,
    /// As it was published.
    #[default]
    Published,
    /// Here.
    At(f64),
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Off => serializer.serialize_bool(false),
            Self::Published => serializer.serialize_bool(true),
            Self::At(limit) => serializer.serialize_f64(*limit),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LimitVisitor;
        impl Visitor<'_> for LimitVisitor {
            type Value = Limit;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number of at least 0, true for the published limit, or false for none")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Limit, E> {
                Ok(if on { Limit::Published } else { Limit::Off })
            }

            fn visit_f64<E: Error>(self, limit: f64) -> Result<Limit, E> {
                if limit.is_finite() && limit >= 0.0 {
                    return Ok(Limit::At(limit));
                }
                Err(E::invalid_value(serde::de::Unexpected::Float(limit), &self))
            }

            fn visit_i64<E: Error>(self, limit: i64) -> Result<Limit, E> {
                self.visit_f64(limit as f64)
            }

            fn visit_u64<E: Error>(self, limit: u64) -> Result<Limit, E> {
                self.visit_f64(limit as f64)
            }
        }
        deserializer.deserialize_any(LimitVisitor)
    }
}

/// The filters that documents go through, in the order of [`Preset::ALL`]. The default is all four as they were published.
///
/// ```toml
/// presets = ["gopher_quality", "c4"]
/// [limits]
/// gopher_min_words = 20
/// c4_terminal_punctuation = false
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    /// Those that are on.
    pub presets: Vec<Preset>,
    /// Limits other than the published ones.
    pub limits: BTreeMap<Rule, Limit>,
    /// The words of `gopher_stop_words`; without any, those of the language.
    pub stop_words: Vec<String>,
    /// C4 judges sentences instead of lines.
    pub c4_by_sentence: bool,
    /// Code points of what `fineweb_short_lines` takes for a short line; 30 as published, for Chinese half of it.
    pub short_line: Option<usize>,
    /// Lets texts pass `fineweb_line_punctuation` where no line at all ends with a mark.
    pub allow_unpunctuated: bool,
    /// Asks Chinese what makes sense of a script without spaces. Otherwise the published rules hold, under which nearly all
    /// Chinese text is dropped: its words are shorter than three characters, and it has none of the English stop words.
    pub adapt_chinese: bool,
}

impl Default for Filters {
    fn default() -> Self {
        Self {
            presets: Preset::ALL.to_vec(),
            limits: BTreeMap::new(),
            stop_words: Vec::new(),
            c4_by_sentence: false,
            short_line: None,
            allow_unpunctuated: false,
            adapt_chinese: true,
        }
    }
}

const SHORT_LINE: usize = 30;

impl Filters {
    /// Filters of which only these are on.
    pub fn only(presets: &[Preset]) -> Self {
        Self { presets: presets.to_vec(), ..Self::default() }
    }

    fn adapts(&self, segmentation: Segmentation) -> bool {
        self.adapt_chinese && segmentation == Segmentation::Chinese
    }

    /// Where a rule draws the line; `None` where it is off.
    pub fn limit(&self, rule: Rule, segmentation: Segmentation) -> Option<f64> {
        match self.limits.get(&rule).copied().unwrap_or_default() {
            Limit::Off => None,
            // Words of Chinese have one or two characters.
            Limit::Published if rule == Rule::GopherMinMeanWordLength && self.adapts(segmentation) => None,
            Limit::Published => Some(rule.published()),
            Limit::At(limit) => Some(limit),
        }
    }

    /// The first rule that values fail, in the order of the filters. Texts need not be read again to ask what other limits
    /// would do, but for C4, whose rules for lines change the text that is measured.
    pub fn judge(&self, values: &[(Measure, f64)], segmentation: Segmentation) -> Option<Rule> {
        Rule::ALL.iter().copied().find(|&rule| self.fails(rule, values, segmentation))
    }

    /// True where values are on the wrong side of a rule that is on and judges documents.
    pub(super) fn fails(&self, rule: Rule, values: &[(Measure, f64)], segmentation: Segmentation) -> bool {
        if rule.is_of_lines() || !self.presets.contains(&rule.preset()) {
            return false;
        }
        let value = values.iter().find(|(known, _)| *known == rule.measure());
        let (Some(limit), Some(&(_, value))) = (self.limit(rule, segmentation), value) else { return false };
        if rule == Rule::FinewebLinePunctuation && self.allow_unpunctuated && value == 0.0 {
            return false;
        }
        match rule.side() {
            Side::Below => value < limit,
            Side::Above => value > limit,
        }
    }

    pub(super) fn c4(&self, segmentation: Segmentation) -> c4::Settings {
        let limit = |rule| self.limit(rule, segmentation);
        let on = |rule| limit(rule).is_some();
        c4::Settings {
            long_word: limit(Rule::C4LongWord),
            citations: on(Rule::C4Citation),
            terminal_punctuation: on(Rule::C4TerminalPunctuation),
            line_words: limit(Rule::C4LineWords),
            javascript: on(Rule::C4Javascript),
            policy: on(Rule::C4Policy),
            lorem_ipsum: on(Rule::C4LoremIpsum),
            curly_bracket: on(Rule::C4CurlyBracket),
            by_sentence: self.c4_by_sentence,
            chinese: self.adapts(segmentation),
        }
    }

    pub(super) fn short_line(&self, segmentation: Segmentation) -> usize {
        // A Chinese sentence has about half the characters of its English translation.
        self.short_line.unwrap_or(if self.adapts(segmentation) { SHORT_LINE / 2 } else { SHORT_LINE })
    }

    pub(super) fn stop_word_hashes(&self, segmentation: Segmentation) -> Vec<u64> {
        let published = if self.adapts(segmentation) { CHINESE_STOP_WORDS } else { ENGLISH_STOP_WORDS };
        if self.stop_words.is_empty() {
            return published.iter().map(|word| hash(word.as_bytes())).collect();
        }
        self.stop_words.iter().map(|word| hash(word.as_bytes())).collect()
    }
}
