//! Things in text that usually are mistakes of the pipeline it came through.

use serde::{Deserialize, Serialize};

/// Characters above which a line is very long.
const LONG_LINE: usize = 10_000;

/// A kind of oddity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OddityKind {
    /// No text, or white space alone.
    EmptyDocument,
    /// A line of more than 10,000 characters.
    VeryLongLine,
    /// U+FFFD: text that was decoded wrongly before.
    ReplacementCharacter,
    /// HTML tags or entities.
    HtmlLeft,
    /// UTF-8 that was read as a one-byte encoding (`Ã©`, `â€™`).
    Mojibake,
    /// Control characters, which normalization drops.
    ControlCharacters,
    /// The marks that stand around messages in conversations of other models.
    ChatMarks,
}

impl OddityKind {
    /// What it is, in words.
    pub fn description(self) -> &'static str {
        match self {
            Self::EmptyDocument => "no text (they are left out)",
            Self::VeryLongLine => "lines of more than 10,000 characters",
            Self::ReplacementCharacter => "replacement characters (U+FFFD): decoded wrongly before",
            Self::HtmlLeft => "HTML tags or entities left in",
            Self::Mojibake => "mojibake: UTF-8 read as a one-byte encoding before",
            Self::ControlCharacters => "control characters (they are dropped)",
            Self::ChatMarks => "marks of a chat template within the text: a model would read them as its own",
        }
    }
}

const TAGS: [&str; 16] = [
    "</p>", "</div>", "</span>", "</a>", "</td>", "</li>", "<br>", "<br/>", "<br />", "<div ", "<span ", "<a href",
    "<script", "&nbsp;", "&quot;", "&amp;",
];
const MOJIBAKE: [&str; 14] =
    ["â€™", "â€œ", "â€\u{9d}", "â€“", "â€”", "Ã©", "Ã¨", "Ã¼", "Ã¶", "Ã¤", "Ã±", "Ã§", "ï»¿", "ï¿½"];

const CHAT_MARKS: [&str; 9] = [
    "<|im_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|assistant|>",
    "[INST]",
    "[/INST]",
];

/// The oddities of a document, each with the byte in it where the first one stands.
pub(super) fn oddities(text: &str) -> Vec<(OddityKind, usize)> {
    let mut found = Vec::new();
    if text.trim().is_empty() {
        return vec![(OddityKind::EmptyDocument, 0)];
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.len() > LONG_LINE && line.chars().nth(LONG_LINE).is_some() {
            found.push((OddityKind::VeryLongLine, start));
            break;
        }
        start += line.len();
    }
    let first_of = |patterns: &[&str]| patterns.iter().filter_map(|pattern| text.find(pattern)).min();
    if let Some(at) = text.find('\u{FFFD}') {
        found.push((OddityKind::ReplacementCharacter, at));
    }
    if text.contains(['<', '&'])
        && let Some(at) = first_of(&TAGS)
    {
        found.push((OddityKind::HtmlLeft, at));
    }
    if text.contains(['â', 'Ã', 'ï'])
        && let Some(at) = first_of(&MOJIBAKE)
    {
        found.push((OddityKind::Mojibake, at));
    }
    if let Some(at) = text.bytes().position(|byte| byte < 0x20 && !matches!(byte, b'\n' | b'\t' | b'\r')) {
        found.push((OddityKind::ControlCharacters, at));
    }
    if text.contains(['<', '['])
        && let Some(at) = first_of(&CHAT_MARKS)
    {
        found.push((OddityKind::ChatMarks, at));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_where_it_stands() {
        assert_eq!(oddities(" \n"), [(OddityKind::EmptyDocument, 0)]);
        assert_eq!(oddities("ab\u{FFFD}"), [(OddityKind::ReplacementCharacter, 2)]);
        assert_eq!(oddities("x<br>y"), [(OddityKind::HtmlLeft, 1)]);
        assert_eq!(oddities("donâ€™t"), [(OddityKind::Mojibake, 3)]);
        assert_eq!(oddities("a\u{1}"), [(OddityKind::ControlCharacters, 1)]);
        assert_eq!(oddities("a<|im_end|>"), [(OddityKind::ChatMarks, 1)]);
        assert_eq!(oddities(&format!("short\n{}", "x".repeat(10_001))), [(OddityKind::VeryLongLine, 6)]);
        assert_eq!(oddities("if a < b && c > d { naïve château }"), []);
    }
}
