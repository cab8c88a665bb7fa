//! Counting words, the whole of a corpus that the training of a tokenizer looks at.
//!
//! Counted here rather than in `tokenizers` for three reasons: the counts must not depend on the order in
//! which threads finish, memory must have a bound whatever the text, and the progress must be seen.

use std::collections::HashMap;

use rayon::prelude::*;
use tokenizers::{NormalizedString, Normalizer, PreTokenizer};
use tokenizers::{NormalizerWrapper, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizerWrapper};

use super::byte_level::{Words, to_byte_characters};
use crate::error::CorpusError;
use crate::words::WordSplit;

/// Distinct words held at once; above this, the rarest are forgotten. About a gigabyte at worst.
const MOST_WORDS: usize = 8 << 20;
/// Longer words are counted in parts of this many characters: no tokenizer learns from longer ones.
const LONGEST_WORD: usize = 64;
/// Text taken in one round, in bytes.
const ROUND: usize = 4 << 20;

/// How text is cut into words.
pub(super) enum Cutting {
    /// GPT-2's pattern, words in byte characters.
    ByteLevel,
    /// A normalizer and a pre-tokenizer of `tokenizers`.
    General(Option<NormalizerWrapper>, PreTokenizerWrapper),
}

impl Cutting {
    fn count(&self, text: &str, counts: &mut HashMap<String, u64>) -> Result<(), tokenizers::Error> {
        match self {
            Self::ByteLevel => {
                for word in Words::new(text) {
                    add(counts, word, 1);
                }
            }
            Self::General(normalizer, cutter) => {
                let mut normalized = NormalizedString::from(text);
                if let Some(normalizer) = normalizer {
                    normalizer.normalize(&mut normalized)?;
                }
                let mut words = PreTokenizedString::from(normalized);
                cutter.pre_tokenize(&mut words)?;
                for (word, _, _) in words.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
                    add(counts, word, 1);
                }
            }
        }
        Ok(())
    }
}

fn add(counts: &mut HashMap<String, u64>, word: &str, count: u64) {
    let mut rest = word;
    while !rest.is_empty() {
        let end = if rest.len() <= LONGEST_WORD {
            rest.len()
        } else {
            rest.char_indices().nth(LONGEST_WORD).map_or(rest.len(), |(end, _)| end)
        };
        let (part, after) = rest.split_at(end);
        match counts.get_mut(part) {
            Some(known) => *known += count,
            None => drop(counts.insert(part.to_owned(), count)),
        }
        rest = after;
    }
}

/// Counts the words of all texts, sorted by word. `progress` sees documents and bytes so far.
pub(super) fn count_words(
    cutting: &Cutting,
    texts: impl Iterator<Item = Result<String, CorpusError>>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<(String, u64)>, CorpusError> {
    let mut counts = count(&|text, counts| cutting.count(text, counts), texts, progress)?;
    if matches!(cutting, Cutting::ByteLevel) {
        counts = counts.into_iter().map(|(word, count)| (to_byte_characters(&word), count)).collect();
    }
    counts.sort_unstable();
    Ok(counts)
}

/// [`count_words`] of what [`WordSplit`] gives.
pub(crate) fn count_split_words(
    split: WordSplit,
    texts: impl Iterator<Item = Result<String, CorpusError>>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<(String, u64)>, CorpusError> {
    let count_one = |text: &str, counts: &mut HashMap<String, u64>| {
        split.words(&split.prepare(text)).for_each(|word| add(counts, word, 1));
        Ok(())
    };
    let mut counts = count(&count_one, texts, progress)?;
    counts.sort_unstable();
    Ok(counts)
}

type CountOne<'a> = dyn Fn(&str, &mut HashMap<String, u64>) -> Result<(), tokenizers::Error> + Sync + 'a;

/// What `count_one` counts, summed over all texts.
fn count(
    count_one: &CountOne,
    texts: impl Iterator<Item = Result<String, CorpusError>>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<(String, u64)>, CorpusError> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    let mut documents = 0;
    let mut bytes = 0;
    let mut texts = texts.peekable();
    while texts.peek().is_some() {
        let mut round = Vec::new();
        let mut length = 0;
        while length < ROUND
            && let Some(text) = texts.next()
        {
            let text = text?;
            length += text.len();
            round.push(text);
        }
        documents += round.len() as u64;
        bytes += length as u64;
        let parts = round.len().div_ceil(rayon::current_num_threads().max(1) * 2).max(1);
        let counted: Result<Vec<_>, tokenizers::Error> = round
            .par_chunks(parts)
            .map(|texts| {
                let mut counts = HashMap::new();
                for text in texts {
                    count_one(text, &mut counts)?;
                }
                Ok(counts)
            })
            .collect();
        let counted = counted.map_err(|error| CorpusError::tokenizer(None, error.to_string(), "report this text"))?;
        for part in counted {
            for (word, count) in part {
                match counts.get_mut(&word) {
                    Some(known) => *known += count,
                    None => drop(counts.insert(word, count)),
                }
            }
        }
        let mut rare = 1;
        while counts.len() > MOST_WORDS {
            counts.retain(|_, count| *count > rare);
            rare *= 2;
        }
        progress(documents, bytes);
    }
    Ok(counts.into_iter().collect())
}
