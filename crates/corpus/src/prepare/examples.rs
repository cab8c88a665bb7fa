//! What a model reads of a pair or a conversation, and what of it is learned.

use std::borrow::Cow;
use std::ops::Range;

use super::plan::{ConversationWriter, Marked};
use crate::clean::{NoText, Step, clean};
use crate::normalize::normalize;
use crate::read::{Document, Turn};
use crate::tokenizer::{TokenOffset, Tokenizer};

/// Token ids, and of each whether it is learned.
pub(crate) type Tokens = (Vec<u32>, Vec<bool>);

/// The text of a document, normalized and cleaned, or why there is none; of a pair, that of both sides.
pub(crate) fn text<'d>(document: &'d Document, steps: &[Step]) -> Result<Cow<'d, str>, NoText> {
    match document.target {
        Some(at) if !steps.is_empty() => {
            let (input, target) = document.text.split_at(at);
            Ok(Cow::Owned(format!("{}\n{}", clean(input, steps)?, clean(target, steps)?)))
        }
        _ => clean(&document.text, steps),
    }
}

/// The two sides of a pair, cleaned.
pub(crate) fn sides(text: &str, target: usize, steps: &[Step]) -> (String, String) {
    let (input, target) = text.split_at(target);
    let side = |text: &str| clean(text, steps).map_or_else(|_| String::new(), |text| text.trim().to_owned());
    (side(input), side(target))
}

/// The tokens of a pair: input and target, each with the end of text behind it. The target is learned, with its end.
pub(crate) fn pair(given: &str, told: &str, tokenizer: &Tokenizer) -> Tokens {
    let mut ids = tokenizer.encode(given);
    ids.extend(tokenizer.end_of_text());
    let given = ids.len();
    ids.extend(tokenizer.encode(told));
    ids.extend(tokenizer.end_of_text());
    let learned = (0..ids.len()).map(|at| at >= given).collect();
    (ids, learned)
}

/// The tokens of a conversation and which of them are answers; nothing where there is no answer.
pub(super) fn conversation(
    turns: &[Turn],
    tokenizer: &Tokenizer,
    writer: Option<&ConversationWriter>,
) -> Result<Option<Tokens>, String> {
    let writer = writer.ok_or("conversations need a chat template, and there is none")?;
    let Some(written) = written(turns, writer)? else { return Ok(None) };
    let (ids, learned) = learned_tokens(&written, tokenizer);
    Ok(learned.contains(&true).then_some((ids, learned)))
}

/// A conversation as its template writes it; nothing where there is no answer.
pub(crate) fn written(turns: &[Turn], writer: &ConversationWriter) -> Result<Option<Marked>, String> {
    if !turns.iter().any(|turn| turn.role == "assistant" && !turn.content.trim().is_empty()) {
        return Ok(None);
    }
    let turns: Vec<Turn> = turns
        .iter()
        .map(|turn| Turn { role: turn.role.clone(), content: normalize(&turn.content).trim().to_owned() })
        .collect();
    (writer.0)(&turns).map(Some)
}

/// The ids of a written conversation, special tokens of its template among them, and of each whether it is learned.
pub fn learned_tokens(written: &Marked, tokenizer: &Tokenizer) -> (Vec<u32>, Vec<bool>) {
    tokens(written, tokenizer).into_iter().map(|(token, learned)| (token.id, learned)).unzip()
}

/// The tokens of a written conversation, each with whether it is learned: where any of it is of an answer, as in
/// transformers. A token may begin with the space that a template sets before an answer.
pub(crate) fn tokens(written: &Marked, tokenizer: &Tokenizer) -> Vec<(TokenOffset, bool)> {
    tokenizer
        .encode_with_special_tokens_and_offsets(&written.text)
        .into_iter()
        .map(|token| {
            let of = |answer: &Range<usize>| {
                answer.contains(&token.start) || (token.start..token.end).contains(&answer.start)
            };
            let learned = written.answers.iter().any(of);
            (token, learned)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::{Framing, TokenizerKind, train_tokenizer};

    #[test]
    fn a_token_that_begins_before_an_answer_is_learned_with_it() {
        let text = "Question one Answer seven";
        let texts = (0..9).map(|_| Ok(text.to_owned()));
        let tokenizer = train_tokenizer(TokenizerKind::Bpe, 300, Framing::Plain, texts, &mut |_, _| {}).unwrap();
        let at = text.find("seven").unwrap();
        let written = Marked { text: text.to_owned(), answers: std::iter::once(at..text.len()).collect() };
        let learned: Vec<String> = tokens(&written, &tokenizer)
            .into_iter()
            .filter(|(_, learned)| *learned)
            .map(|(token, _)| text[token.start..token.end].to_owned())
            .collect();
        assert_eq!(learned, [" seven"]);
    }
}
