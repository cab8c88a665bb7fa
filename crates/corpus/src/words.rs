//! Words as people see them, for vectors of words: what stands between spaces and punctuation.

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;

use crate::error::CorpusError;
use crate::normalize::normalize;
use crate::tokenizer::count_split_words;

/// How text is cut into words.
///
/// Words end where Unicode has them end (UAX #29), and punctuation is left out: `don't` and `3.14` are one word each. Scripts
/// without spaces have no such places: of Chinese and Japanese kanji, every character is a word, unless the text was cut by
/// others and is split at its spaces alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WordSplit {
    /// Whether text is made lower-case first.
    pub lowercase: bool,
    /// Whether words are what stands between spaces, whatever it is.
    pub spaces: bool,
}

impl WordSplit {
    /// Text as it is split: in one spelling ([`normalize`]), in lower case if that is asked for.
    pub fn prepare<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = normalize(text);
        if self.lowercase && text.chars().any(char::is_uppercase) { Cow::Owned(text.to_lowercase()) } else { text }
    }

    /// The words of prepared text, in order.
    pub fn words<'a>(&self, prepared: &'a str) -> impl Iterator<Item = &'a str> {
        let apart = self.spaces.then(|| prepared.split_whitespace());
        let unicode = (!self.spaces).then(|| prepared.unicode_words());
        apart.into_iter().flatten().chain(unicode.into_iter().flatten())
    }
}

/// Counts the words of all texts; sorted by word. Words are forgotten, the rarest first, where there are more than eight
/// million, so that memory has a bound. `progress` sees documents and bytes so far.
pub fn count_words(
    split: WordSplit,
    texts: impl Iterator<Item = Result<String, CorpusError>>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<(String, u64)>, CorpusError> {
    count_split_words(split, texts, progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, lowercase: bool) -> Vec<String> {
        let split = WordSplit { lowercase, spaces: false };
        split.words(&split.prepare(text)).map(str::to_owned).collect()
    }

    #[test]
    fn words_end_at_spaces_and_punctuation() {
        assert_eq!(
            words("Don't pay 3.14 for (new) state-of-the-art e\u{301}clairs!", true),
            ["don't", "pay", "3.14", "for", "new", "state", "of", "the", "art", "éclairs"]
        );
        assert_eq!(words("Straße ÉCOLE", false), ["Straße", "ÉCOLE"]);
        assert_eq!(words("Привет, мир", true), ["привет", "мир"]);
        assert_eq!(words("-- … !", false), [""; 0]);
    }

    #[test]
    fn characters_are_words_where_no_spaces_are() {
        assert_eq!(words("红楼梦,GPT 真好。", true), ["红", "楼", "梦", "gpt", "真", "好"]);
    }

    #[test]
    fn text_that_was_cut_is_left_as_it_is() {
        let split = WordSplit { lowercase: false, spaces: true };
        assert_eq!(
            split.words(&split.prepare("红楼梦 ， new_york's\u{3000}x")).collect::<Vec<_>>(),
            ["红楼梦", "，", "new_york's", "x"]
        );
    }

    #[test]
    fn counts_are_sorted_and_whole() {
        let texts = ["B a b", "a\na c"].map(|text| Ok(text.to_owned()));
        let mut seen = (0, 0);
        let counts =
            count_words(WordSplit { lowercase: true, spaces: false }, texts.into_iter(), &mut |documents, bytes| {
                seen = (documents, bytes)
            });
        assert_eq!(counts.unwrap(), [("a".to_owned(), 3), ("b".to_owned(), 2), ("c".to_owned(), 1)]);
        assert_eq!(seen, (2, 10));
    }
}
