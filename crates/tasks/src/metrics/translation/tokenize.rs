//! How BLEU cuts sentences into words. A score depends on it as much as on the translation.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::super::spaces::{is_space, words};

/// Where BLEU's words end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BleuTokenizer {
    /// The tokenizer of WMT (`mteval-v13a`): punctuation is parted from words, but for periods and commas within numbers.
    #[default]
    V13a,
    /// Chinese: every character of the script is a word, the rest as [`V13a`](Self::V13a).
    Chinese,
    /// Every character is a word.
    Character,
    /// `mteval-v14`'s international tokenization: punctuation and symbols as Unicode has them.
    International,
    /// None: the words are those between spaces.
    None,
}

impl BleuTokenizer {
    /// Its name in signatures: `13a`, `zh`, `char`, `intl`, `none`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V13a => "13a",
            Self::Chinese => "zh",
            Self::Character => "char",
            Self::International => "intl",
            Self::None => "none",
        }
    }

    /// The words of a sentence, one space apart or more.
    pub(super) fn tokenize(self, sentence: &str) -> Cow<'_, str> {
        match self {
            Self::V13a => western(&format!(" {} ", unescaped(sentence))).into(),
            Self::Chinese => {
                let mut apart = String::with_capacity(sentence.len() * 2);
                for character in sentence.trim_matches(is_space).chars() {
                    if is_chinese(character) {
                        apart.extend([' ', character, ' ']);
                    } else {
                        apart.push(character);
                    }
                }
                western(&apart).into()
            }
            Self::Character => {
                let mut apart = String::with_capacity(sentence.len() * 2);
                for character in sentence.chars() {
                    apart.extend([character, ' ']);
                }
                apart.into()
            }
            Self::International => international(sentence).into(),
            Self::None => sentence.into(),
        }
    }

    /// The words of a sentence.
    pub fn words(self, sentence: &str) -> Vec<String> {
        words(&self.tokenize(sentence)).map(str::to_owned).collect()
    }
}

/// A line of a file in SGML as text: without what stands for a skipped segment, with lines joined at hyphens, and the four
/// entities resolved in this order (so that `&amp;lt;` ends as `<`).
fn unescaped(sentence: &str) -> Cow<'_, str> {
    let mut sentence = Cow::Borrowed(sentence);
    let replacements =
        [("<skipped>", ""), ("-\n", ""), ("\n", " "), ("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")];
    for (from, to) in replacements {
        if sentence.contains(from) {
            sentence = sentence.replace(from, to).into();
        }
    }
    sentence
}

/// What [`western`] parts from words wherever it stands: ASCII's punctuation and space without the apostrophe, the
/// hyphen, the period and the comma.
fn is_separate(character: char) -> bool {
    character == ' ' || (character.is_ascii_punctuation() && !matches!(character, '\'' | '-' | '.' | ','))
}

/// The part of `mteval-v13a` that is for European languages. Each rule reads what the one before wrote, from left to
/// right, and a character that one match took is not looked at by the next: of `..` after a letter only the first is
/// parted by the first rule.
fn western(sentence: &str) -> String {
    static RULES: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
        let rule = |pattern| Regex::new(pattern).expect("a regular expression");
        [
            // A period or a comma that no digit precedes; that no digit follows; a hyphen that a digit precedes.
            (rule("([^0-9])([.,])"), "$1 $2 "),
            (rule("([.,])([^0-9])"), " $1 $2"),
            (rule("([0-9])-"), "$1 - "),
        ]
    });
    let mut text = String::with_capacity(sentence.len() + 16);
    for character in sentence.chars() {
        if is_separate(character) {
            text.extend([' ', character, ' ']);
        } else {
            text.push(character);
        }
    }
    for (rule, parts) in &*RULES {
        if let Cow::Owned(changed) = rule.replace_all(&text, *parts) {
            text = changed;
        }
    }
    text
}

fn international(sentence: &str) -> String {
    static RULES: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
        let rule = |pattern| Regex::new(pattern).expect("a regular expression");
        [
            // Punctuation that no number precedes; that no number follows; symbols.
            (rule(r"(\P{N})(\p{P})"), "$1 $2 "),
            (rule(r"(\p{P})(\P{N})"), " $1 $2"),
            (rule(r"(\p{S})"), " $1 "),
        ]
    });
    let mut text = sentence.to_owned();
    for (rule, parts) in &*RULES {
        if let Cow::Owned(changed) = rule.replace_all(&text, *parts) {
            text = changed;
        }
    }
    text
}

/// What sacreBLEU parts as Chinese. Two ranges of its list were meant for planes beyond the first, are written with four
/// digits and a fifth character, and so compare as U+2001 to U+2A6D, with all punctuation, arrows and mathematics of the
/// first plane: kept, since scores are told with them. Ideographs beyond the first plane are not parted.
fn is_chinese(character: char) -> bool {
    matches!(character,
        '\u{2001}'..='\u{2A6D}'
        | '\u{2E80}'..='\u{2FDF}'
        | '\u{2FF0}'..='\u{303F}'
        | '\u{3100}'..='\u{312F}'
        | '\u{31A0}'..='\u{31BF}'
        | '\u{31C0}'..='\u{31EF}'
        | '\u{3200}'..='\u{33FF}'
        | '\u{3400}'..='\u{4DB5}'
        | '\u{4E00}'..='\u{9FBB}'
        | '\u{F900}'..='\u{FA2D}'
        | '\u{FA30}'..='\u{FA6A}'
        | '\u{FA70}'..='\u{FAD9}'
        | '\u{FE10}'..='\u{FE1F}'
        | '\u{FE30}'..='\u{FE4F}'
        | '\u{FF00}'..='\u{FFEF}'
    )
}

#[cfg(test)]
mod tests {
    use super::BleuTokenizer;

    fn cut(tokenizer: BleuTokenizer, sentence: &str) -> String {
        tokenizer.words(sentence).join(" ")
    }

    #[test]
    fn numbers_stay_whole() {
        let sentence = "It costs $1,000.5 (or 10-20%), \"he\" said...";
        assert_eq!(cut(BleuTokenizer::V13a, sentence), "It costs $ 1,000.5 ( or 10 - 20 % ) , \" he \" said . . .");
        assert_eq!(
            cut(BleuTokenizer::International, sentence),
            "It costs $ 1,000.5 ( or 10-20 % ) , \" he \" said . . ."
        );
        assert_eq!(cut(BleuTokenizer::None, " a  b.\u{3000}c "), "a b. c");
        assert_eq!(cut(BleuTokenizer::V13a, "a &lt;b&gt; <skipped>&amp;quot; c-\nd"), "a < b > & quot ; cd");
    }

    #[test]
    fn chinese_is_cut_by_character() {
        assert_eq!(cut(BleuTokenizer::Chinese, "他在GPT-3里，3.5元。"), "他 在 GPT-3 里 ， 3.5 元 。");
        assert_eq!(cut(BleuTokenizer::Character, "a 他b"), "a 他 b");
    }

    #[test]
    fn nothing_is_no_words() {
        for tokenizer in [
            BleuTokenizer::V13a,
            BleuTokenizer::Chinese,
            BleuTokenizer::Character,
            BleuTokenizer::International,
            BleuTokenizer::None,
        ] {
            assert!(tokenizer.words(" \n\u{3000}").is_empty());
            assert!(!tokenizer.words("🙂‍↔️ שָׁלוֹם").is_empty());
        }
    }
}
