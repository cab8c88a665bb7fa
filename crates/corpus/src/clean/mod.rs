//! Cleaning: named steps, each a pure function of a text.
//!
//! What a model is to learn from is rarely what a file holds: a page has tags, a small vocabulary has no room for capitals
//! and punctuation. A recipe names [`Step`]s, which are taken in its order on every document, between [`normalize`] and
//! the tokenizer; what stands in records (lengths, hashes, copies) is of the text after them. The functions know nothing
//! of each other and keep no state, so that any chain of them is a function of the text too.

mod chinese;
mod control;
mod forms;
mod letters;
mod mojibake;
mod script;
mod tags;
mod width;
mod words;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use control::control;
pub use forms::{nfc, nfkc};
pub use letters::{letters, lowercase};
pub use mojibake::mojibake;
pub use script::{simplified, traditional};
pub use tags::strip_tags;
pub use width::width;
pub use words::{Language, split_words, stem, stop_words};

pub(crate) use chinese::cut_chinese;

use crate::normalize::normalize;

/// One step of cleaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Step {
    /// [`mojibake()`]
    Mojibake,
    /// [`strip_tags`]
    StripTags,
    /// [`control()`]
    Control,
    /// [`nfc`]
    Nfc,
    /// [`nfkc`]
    Nfkc,
    /// [`width()`]
    Width,
    /// [`simplified`]
    Simplified,
    /// [`traditional`]
    Traditional,
    /// [`letters`]
    Letters,
    /// [`lowercase`]
    Lowercase,
    /// [`split_words`]
    SplitWords,
    /// [`stop_words()`] of one language, or of both.
    StopWords(Option<Language>),
    /// [`stem`]
    Stem,
}

impl Step {
    /// Every step, in the order in which most recipes would name those that they take.
    pub const ALL: [Self; 15] = [
        Self::Mojibake,
        Self::StripTags,
        Self::Control,
        Self::Nfc,
        Self::Nfkc,
        Self::Width,
        Self::Simplified,
        Self::Traditional,
        Self::Letters,
        Self::Lowercase,
        Self::SplitWords,
        Self::StopWords(None),
        Self::StopWords(Some(Language::English)),
        Self::StopWords(Some(Language::Chinese)),
        Self::Stem,
    ];

    /// What a recipe calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mojibake => "mojibake",
            Self::StripTags => "strip_tags",
            Self::Control => "control",
            Self::Nfc => "nfc",
            Self::Nfkc => "nfkc",
            Self::Width => "width",
            Self::Simplified => "simplified",
            Self::Traditional => "traditional",
            Self::Letters => "letters",
            Self::Lowercase => "lowercase",
            Self::SplitWords => "split_words",
            Self::StopWords(None) => "stop_words",
            Self::StopWords(Some(Language::English)) => "stop_words:english",
            Self::StopWords(Some(Language::Chinese)) => "stop_words:chinese",
            Self::Stem => "stem",
        }
    }

    /// Takes the step on a text.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Mojibake => mojibake(text),
            Self::StripTags => strip_tags(text),
            Self::Control => control(text),
            Self::Nfc => nfc(text),
            Self::Nfkc => nfkc(text),
            Self::Width => width(text),
            Self::Simplified => simplified(text),
            Self::Traditional => traditional(text),
            Self::Letters => Cow::Owned(letters(text)),
            Self::Lowercase => Cow::Owned(lowercase(text)),
            Self::SplitWords => Cow::Owned(split_words(text)),
            Self::StopWords(language) => Cow::Owned(stop_words(text, language)),
            Self::Stem => Cow::Owned(stem(text)),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Step {
    type Err = String;

    /// The step of this name, or the names that there are and the nearest of them.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|step| step.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(|step| format!("\"{step}\""));
            let plain = text.to_lowercase().replace([' ', '-'], "_");
            let distance = |step: &Self| strsim::damerau_levenshtein(&plain, step.name());
            let nearest = Self::ALL.into_iter().min_by_key(distance);
            let near = nearest.filter(|step| distance(step) <= (step.name().len() / 3).max(1));
            let hint = near.map(|step| format!("; did you mean \"{step}\"?")).unwrap_or_default();
            format!("steps of {}{hint}", names.join(", "))
        })
    }
}

impl TryFrom<String> for Step {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Step> for String {
    fn from(step: Step) -> Self {
        step.name().to_owned()
    }
}

/// Why a document has nothing to learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoText {
    /// It is blank as it was read.
    Blank,
    /// This step left nothing of it.
    After(Step),
    /// It is a conversation without an answer.
    NoAnswer,
}

impl fmt::Display for NoText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => formatter.write_str("no text"),
            Self::After(step) => write!(formatter, "nothing left after {step}"),
            Self::NoAnswer => formatter.write_str("no answer to learn"),
        }
    }
}

/// Normalizes a text and takes the steps in order.
///
/// # Errors
/// Where nothing but white space is left, and what left it so.
pub fn clean<'t>(text: &'t str, steps: &[Step]) -> Result<Cow<'t, str>, NoText> {
    let mut text = normalize(text);
    if text.trim().is_empty() {
        return Err(NoText::Blank);
    }
    for &step in steps {
        let applied = step.apply(&text).into_owned();
        // A step may take a letter from the accent behind it, or lower one into two characters.
        let respelled = match normalize(&applied) {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => Some(text),
        };
        text = Cow::Owned(respelled.unwrap_or(applied));
        if text.trim().is_empty() {
            return Err(NoText::After(step));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
