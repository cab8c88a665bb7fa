//! The first sentences of a text: the summary that is hard to beat where news begin with what matters (See et al., 2017).

/// Words after whose period a sentence goes on.
const ABBREVIATIONS: [&str; 36] = [
    "adm", "apr", "aug", "capt", "cf", "col", "corp", "dec", "dr", "e.g", "feb", "fig", "gen", "gov", "i.e", "inc",
    "jan", "jr", "lt", "ltd", "mr", "mrs", "ms", "mt", "nov", "oct", "op", "pp", "prof", "rep", "rev", "sen", "sept",
    "sr", "st", "vs",
];

/// The first `count` sentences of a text, a line each, as ROUGE-Lsum wants them.
pub fn lead(text: &str, count: usize) -> String {
    sentences(text).into_iter().take(count).collect::<Vec<_>>().join("\n")
}

/// The sentences of a text in English or Chinese, without the space around them; none is empty.
///
/// A sentence ends at the end of a line; after `。`, `！`, `？`, `｡`, `…`; and after `.`, `!` and `?` where space follows and
/// then no lower-case letter. Quotes and brackets that close belong to the sentence before them. A period does not end one
/// after an initial (`J. Smith`, `U.S.`) and after the usual abbreviations, so that one may now and then go on too long.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    for line in text.lines() {
        let mut start = 0;
        let mut characters = line.char_indices().peekable();
        while let Some((place, mark)) = characters.next() {
            if !matches!(mark, '.' | '!' | '?' | '。' | '！' | '？' | '｡' | '…') {
                continue;
            }
            // More marks, and what they stand within.
            let mut end = place + mark.len_utf8();
            let mut last = mark;
            while let Some(&(at, character)) = characters.peek() {
                if is_mark(character) {
                    last = character;
                } else if !is_closing(character) {
                    break;
                }
                end = at + character.len_utf8();
                characters.next();
            }
            let rest = &line[end..];
            let wide =
                matches!(last, '。' | '！' | '？' | '｡') || (last == '…' && !rest.starts_with(char::is_whitespace));
            let ends = if wide { !continues_wide(last, rest) } else { ends_western(&line[start..place], last, rest) };
            if ends {
                sentences.push(line[start..end].trim());
                start = end;
            }
        }
        sentences.push(line[start..].trim());
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

fn is_mark(character: char) -> bool {
    matches!(character, '.' | '!' | '?' | '。' | '！' | '？' | '｡' | '…')
}

fn is_closing(character: char) -> bool {
    matches!(character, '"' | '\'' | ')' | ']' | '”' | '’' | '»' | '」' | '』' | '）' | '》' | '】')
}

/// Whether an ellipsis stands within a sentence of Latin script.
fn continues_wide(last: char, rest: &str) -> bool {
    last == '…' && rest.starts_with(|next: char| next.is_lowercase() || next.is_ascii_punctuation() || next == '，')
}

fn ends_western(before: &str, mark: char, rest: &str) -> bool {
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return false;
    }
    if rest.trim_start().starts_with(char::is_lowercase) {
        return false;
    }
    if mark != '.' || rest.trim().is_empty() {
        return true;
    }
    let word = before.rsplit(|character: char| character.is_whitespace() || character == '(').next().unwrap_or("");
    let word = word.trim_start_matches(|character: char| !character.is_alphanumeric());
    let initial = word.rsplit('.').next().is_some_and(|last| {
        let mut letters = last.chars();
        letters.next().is_some_and(char::is_uppercase) && letters.next().is_none() && last != "I"
    });
    !initial && !ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::{lead, sentences};

    #[test]
    fn sentences_end_at_their_marks() {
        let text =
            "Mr. J. Smith paid $3.50 in the U.S. Senate. \"Why?\" he asked. \"So what!\" And I. Then (yes.) More… no";
        assert_eq!(
            sentences(text),
            [
                "Mr. J. Smith paid $3.50 in the U.S. Senate.",
                "\"Why?\" he asked.",
                "\"So what!\"",
                "And I.",
                "Then (yes.)",
                "More… no"
            ]
        );
    }

    #[test]
    fn chinese_needs_no_spaces() {
        assert_eq!(
            sentences("他说：“你好！”我问：为什么？是3.5元。……好吧\n完"),
            ["他说：“你好！”", "我问：为什么？", "是3.5元。……", "好吧", "完"]
        );
    }

    #[test]
    fn the_lead_is_a_line_a_sentence() {
        assert_eq!(lead("One. Two! Three? Four.", 3), "One.\nTwo!\nThree?");
        assert_eq!(lead("一。二。", 3), "一。\n二。");
        assert_eq!(lead("", 3), "");
        assert_eq!(lead(" \n\n. \u{200f}שלום. 🙂", 9), ".\n\u{200f}שלום.\n🙂");
        assert_eq!(lead("One.", 0), "");
    }
}
