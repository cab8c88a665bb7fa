//! Pairs and conversations as a model reads them, with what of them is learned.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::prepare::{ConversationWriter, examples};
use crate::read::Turn;
use crate::tokenizer::{END_OF_TEXT, Tokenizer};

/// Parts, learned or given, of one example that are shown.
const MOST_PARTS: usize = 24;

/// Pairs and conversations, of which one part is given and another learned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examples {
    /// Pairs of an input and a target.
    pub pairs: u64,
    /// Conversations.
    pub conversations: u64,
    /// Messages of all conversations.
    pub messages: u64,
    /// Characters of the examples as a model reads them, those of templates and special tokens included.
    pub characters: u64,
    /// Those of them that are learned.
    pub learned_characters: u64,
    /// Tokens that are learned, when a tokenizer was given.
    pub learned_tokens: Option<u64>,
    /// Conversations that the chat template does not take; training stops at the first.
    pub refused: u64,
    /// Why it does not take the first of them, with its place.
    pub first_refusal: Option<String>,
}

/// An example as a model reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) text: String,
    /// What is learned, in bytes, in order.
    pub(super) learned: Vec<Range<usize>>,
    /// Tokens of all of it and of what is learned.
    pub(super) tokens: Option<(u64, u64)>,
}

/// A pair, its sides cleaned.
pub(super) fn pair(given: &str, told: &str, tokenizer: Option<&Tokenizer>) -> Written {
    let end = tokenizer.map_or_else(
        || Some(END_OF_TEXT.to_owned()),
        |tokenizer| tokenizer.end_of_text().and_then(|end| tokenizer.token(end)),
    );
    let end = end.unwrap_or_default();
    let start = given.len() + end.len();
    let text = format!("{given}{end}{told}{end}");
    let tokens = tokenizer.map(|tokenizer| {
        let (ids, learned) = examples::pair(given, told, tokenizer);
        (ids.len() as u64, learned.iter().filter(|learned| **learned).count() as u64)
    });
    Written { learned: std::iter::once(start..text.len()).collect(), text, tokens }
}

/// A conversation; nothing where it has no answer, and a reason where the template does not take it.
pub(super) fn conversation(
    turns: &[Turn],
    writer: &ConversationWriter,
    tokenizer: Option<&Tokenizer>,
) -> Result<Option<Written>, String> {
    let Some(written) = examples::written(turns, writer)? else { return Ok(None) };
    let Some(tokenizer) = tokenizer else {
        return Ok(Some(Written { text: written.text, learned: written.answers, tokens: None }));
    };
    let tokens = examples::tokens(&written, tokenizer);
    let mut learned: Vec<Range<usize>> = Vec::new();
    let mut count = 0;
    let mut follows = false;
    for (token, is_learned) in &tokens {
        if *is_learned {
            count += 1;
            match learned.last_mut().filter(|_| follows) {
                Some(run) => run.end = run.end.max(token.end),
                None => learned.push(token.start..token.end),
            }
        }
        follows = *is_learned;
    }
    let counts = Some((tokens.len() as u64, count));
    Ok((count > 0).then_some(Written { text: written.text, learned, tokens: counts }))
}

impl Written {
    /// Characters in all and of what is learned.
    pub(super) fn characters(&self) -> (u64, u64) {
        let count = |text: &str| text.chars().count() as u64;
        (count(&self.text), self.parts().filter(|(learned, _)| *learned).map(|(_, part)| count(part)).sum())
    }

    /// The text in parts, each with whether it is learned; none is empty.
    fn parts(&self) -> impl Iterator<Item = (bool, &str)> {
        let mut at = 0;
        let rest = std::iter::once(self.text.len()..self.text.len());
        let parts = self.learned.iter().cloned().chain(rest).flat_map(move |run| {
            let end = run.end.max(at);
            let start = run.start.clamp(at, end);
            let given = (false, &self.text[at..start]);
            at = end;
            [given, (true, &self.text[start..end])]
        });
        parts.filter(|(_, part)| !part.is_empty())
    }

    /// The text with every part of more than `longest` characters shortened in its middle, and what is learned of it, in
    /// characters.
    pub(super) fn shortened(&self, longest: usize) -> (String, Vec<[u64; 2]>) {
        let mut shown = String::new();
        let mut learned: Vec<[u64; 2]> = Vec::new();
        let mut at = 0;
        for (number, (is_learned, part)) in self.parts().enumerate() {
            if number == MOST_PARTS {
                let left: usize = self.parts().skip(number).map(|(_, part)| part.chars().count()).sum();
                shown.push_str(&format!("[… {left} more characters]"));
                break;
            }
            let part = middle_out(part, longest);
            let end = at + part.chars().count() as u64;
            if is_learned {
                learned.push([at, end]);
            }
            shown.push_str(&part);
            at = end;
        }
        (shown, learned)
    }
}

/// A text of at most `longest` characters of its own: beginning and end of a longer one.
fn middle_out(text: &str, longest: usize) -> String {
    let count = text.chars().count();
    if count <= longest {
        return text.to_owned();
    }
    let (head, tail) = (longest - longest / 4, longest / 4);
    let at = |number: usize| text.char_indices().nth(number).map_or(text.len(), |(at, _)| at);
    format!("{}[… {} characters …]{}", &text[..at(head)], count - longest, &text[at(count - tail)..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, learned: &[Range<usize>]) -> Written {
        Written { text: text.to_owned(), learned: learned.to_vec(), tokens: None }
    }

    #[test]
    fn a_pair_ends_twice_and_its_target_is_learned() {
        let pair = pair("你好", "hello", None);
        assert_eq!(pair.text, "你好<|endoftext|>hello<|endoftext|>");
        assert_eq!(pair.characters(), (33, 18));
        assert_eq!(pair.shortened(100), (pair.text.clone(), vec![[15, 33]]));
    }

    #[test]
    fn long_parts_lose_their_middle_and_places_stay_right() {
        let whole = written("问问问问问问问问问问答答xy", std::slice::from_ref(&(30..36)));
        let (text, learned) = whole.shortened(4);
        assert_eq!((text.as_str(), &learned[..]), ("问问问[… 6 characters …]问答答xy", &[[22, 24]][..]));
        let characters: Vec<char> = text.chars().collect();
        assert_eq!(characters[22..24].iter().collect::<String>(), "答答");
        let many = written(&"ab".repeat(40), &(0..40).map(|at| 2 * at..2 * at + 1).collect::<Vec<_>>());
        let (text, learned) = many.shortened(4);
        assert!(text.ends_with("[… 56 more characters]") && learned.len() == 12, "{text} {learned:?}");
        assert_eq!(many.characters(), (80, 40));
    }
}
